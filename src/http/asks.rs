//! What the routes that ask for locks have in common: for how long a request may wait, and how it
//! is answered.

use std::{
    borrow::Cow,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use actix_web::{HttpResponse, http::StatusCode};
use utoipa::{IntoParams, IntoResponses};

use super::{
    Answer, Api, LaterAnswer, answer::Touched, duration, error::Refusal, openapi::values, path,
};
use crate::{
    semaphore::{Error, PeerId, Progress},
    state::Asked,
    waiting::{Outcome, Waiter},
};

/// A wait is polled when it starts, when it ends, and when its client sends something meanwhile.
const MOST_POLLS: u32 = 1_000;

/// How a request would wait for what it asks for.
#[derive(Clone, Copy, Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Patience {
    /// How long the server may park the request until the ask is granted, at most
    /// `limits.max_block_for`. Without it the answer comes at once.
    #[param(value_type = Option<values::Duration>)]
    pub block_for: Duration,
    /// Whether the ask may wait; it may, unless this is `false`. Then it is granted at once, or
    /// refused with 409.
    #[param(rename = "queue", value_type = Option<bool>)]
    pub may_queue: bool,
}

/// How an ask is answered, for the document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "`acquired` and `pending` make the answers themselves")]
pub enum Answers {
    /// All that was asked for is acquired, if anything was. The body is the peer's id.
    #[response(status = 200, headers(("Throttle-Expires-In"), ("Throttle-Token")))]
    Acquired(values::PeerId),
    /// The ask is pending: `block_for` is over, or the server shuts down. The body is the peer's
    /// id.
    #[response(status = 202, headers(("Throttle-Expires-In")))]
    Pending(values::PeerId),
}

impl Patience {
    /// Reads the query parameters `block_for` and `queue`.
    ///
    /// # Errors
    /// [`Refusal::BadQuery`].
    pub fn of(
        block_for: Option<Cow<'_, str>>,
        queue: Option<Cow<'_, str>>,
    ) -> Result<Self, Refusal> {
        let block_for =
            block_for.map_or(Ok(Duration::ZERO), |text| query_duration("block_for", &text))?;
        let may_queue = queue.map_or(Ok(true), |text| path::boolean("queue", &text))?;
        Ok(Patience { block_for, may_queue })
    }

    /// Whether the request may be parked.
    pub fn may_park(self) -> bool {
        self.may_queue && !self.block_for.is_zero()
    }

    /// Answers an ask: 200, or 202 where it is pending and the time to wait for it is over. The
    /// body is the id of the peer.
    pub fn answer(self, api: &Rc<Api>, asked: Asked) -> Answer {
        let Asked { peer, expires_in, progress } = asked;
        match progress {
            Progress::Acquired(token) => acquired(peer, Touched { expires_in, token }).into(),
            Progress::Pending(None) => pending(peer, expires_in).into(),
            Progress::Pending(Some(waiter)) => {
                let block_for = self.block_for.min(api.limits.max_block_for);
                Answer::Later(wait(api.clone(), waiter, block_for, peer))
            }
        }
    }
}

/// Reads a duration out of a query.
///
/// # Errors
/// [`Refusal::BadQuery`].
pub fn query_duration(name: &str, text: &str) -> Result<Duration, Refusal> {
    duration::parse(text)
        .map_err(|reason| Refusal::BadQuery { reason: format!("`{name}`: {reason}") })
}

/// Parks the request until its ask ends, but no longer than `block_for`.
///
/// A block, for an `async fn` would keep its arguments twice; this is what a parked request takes.
fn wait(api: Rc<Api>, mut waiter: Waiter, block_for: Duration, peer: PeerId) -> LaterAnswer {
    Box::pin(async move {
        let outcome = unless_flooded(pin!(waiter.outcome(block_for))).await;
        drop(waiter);
        match outcome {
            Outcome::Acquired { token, expires_in } => {
                Ok(acquired(peer, Touched { expires_in, token: Some(token) }))
            }
            // The lease may have been renewed meanwhile, or have ended this very moment.
            Outcome::StillPending => {
                let (_, expires_in) = api.state.is_acquired(peer)?;
                Ok(pending(peer, expires_in))
            }
            Outcome::Withdrawn => Err(Refusal::Withdrawn),
            Outcome::PeerGone => Err(Error::UnknownPeer.into()),
        }
    })
}

/// Ends a wait whose connection is flooded with further requests: while its buffer is full, actix
/// polls the parked one without end, which would keep a core busy until the wait is over.
fn unless_flooded<F>(mut wait: Pin<&mut F>) -> impl Future<Output = Outcome>
where
    F: Future<Output = Outcome>,
{
    let mut polls = 0;
    poll_fn(move |context| {
        polls += 1;
        if polls > MOST_POLLS {
            return Poll::Ready(Outcome::StillPending);
        }
        wait.as_mut().poll(context)
    })
}

fn acquired(peer: PeerId, touched: Touched) -> HttpResponse {
    touched.number(StatusCode::OK, peer.0)
}

fn pending(peer: PeerId, expires_in: Duration) -> HttpResponse {
    Touched::lease(expires_in).number(StatusCode::ACCEPTED, peer.0)
}
