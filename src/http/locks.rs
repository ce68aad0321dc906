//! `PUT` and `DELETE /peers/{id}/{semaphore}`: acquire and release one lock.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use actix_web::{HttpResponse, dev::ServiceRequest};

use super::{Answer, answer, body, duration, error::Refusal, path};
use crate::{
    semaphore::{Error, PeerId},
    state::{Asked, State},
    waiting::{Outcome, Waiter},
};

/// No request is parked for longer. Whoever means to wait for longer asks again, and keeps its
/// place in the queue.
const MAX_BLOCK_FOR: Duration = Duration::from_secs(60 * 60);

/// A wait is polled when it starts, when it ends, and when its client sends something meanwhile.
const MOST_POLLS: u32 = 1_000;

/// Acquires a lock: 200, or 202 where it is pending and the client's `block_for` is over.
///
/// # Errors
/// Those of [`crate::semaphore::Leases::acquire`]; [`Refusal::Withdrawn`]; all that can be wrong
/// with the request.
pub fn acquire(
    state: &Arc<State>,
    request: &ServiceRequest,
    id: &str,
    semaphore: &str,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let id = path::peer_id(id)?;
    let semaphore = path::name(semaphore)?;
    let [block_for, expires_in] = path::query(request.query_string(), ["block_for", "expires_in"])?;
    let block_for =
        block_for.map_or(Ok(Duration::ZERO), |text| query_duration("block_for", &text))?;
    let expires_in = expires_in.map(|text| query_duration("expires_in", &text)).transpose()?;
    let count = body::parse_integer(body, "the count, a JSON integer such as `1`")?;

    let may_park = !block_for.is_zero();
    match state.acquire(id, &[(&semaphore, count)], expires_in, may_park)? {
        Asked::Acquired => Ok(acquired(id).into()),
        Asked::Pending => Ok(pending(id).into()),
        Asked::Parked(waiter) => {
            Ok(Answer::Later(Box::pin(wait(waiter, block_for.min(MAX_BLOCK_FOR), id))))
        }
    }
}

/// Releases a lock, or cancels it where it is pending.
///
/// # Errors
/// Those of [`crate::semaphore::Leases::release`], [`Refusal::BadPeerId`],
/// [`Refusal::BadEncoding`], [`Refusal::BadQuery`].
pub fn release(
    state: &State,
    request: &ServiceRequest,
    id: &str,
    semaphore: &str,
) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    state.release(path::peer_id(id)?, &path::name(semaphore)?)?;
    Ok(answer::text("Ok").into())
}

/// Parks the request until its ask ends, but no longer than `block_for`.
async fn wait(waiter: Waiter, block_for: Duration, id: PeerId) -> Result<HttpResponse, Refusal> {
    // Boxed, for a future that is handed on by value lies in each one that it passes through.
    match unless_flooded(Box::pin(waiter.outcome(block_for))).await {
        Outcome::Acquired => Ok(acquired(id)),
        Outcome::StillPending => Ok(pending(id)),
        Outcome::Withdrawn => Err(Refusal::Withdrawn),
        Outcome::PeerGone => Err(Error::UnknownPeer.into()),
    }
}

/// Ends a wait whose connection is flooded with further requests: while its buffer is full, actix
/// polls the parked one without end, which would keep a core busy until the wait is over.
async fn unless_flooded(mut wait: impl Future<Output = Outcome> + Unpin) -> Outcome {
    let mut polls = 0;
    poll_fn(|context| {
        polls += 1;
        if polls > MOST_POLLS {
            return Poll::Ready(Outcome::StillPending);
        }
        Pin::new(&mut wait).poll(context)
    })
    .await
}

fn acquired(id: PeerId) -> HttpResponse {
    answer::json(&id.0)
}

fn pending(id: PeerId) -> HttpResponse {
    HttpResponse::Accepted().json(id.0)
}

fn query_duration(name: &str, text: &str) -> Result<Duration, Refusal> {
    duration::parse(text)
        .map_err(|reason| Refusal::BadQuery { reason: format!("`{name}`: {reason}") })
}
