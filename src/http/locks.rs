//! `PUT` and `DELETE /peers/{id}/{semaphore}`: acquire and release one lock.

use std::rc::Rc;

use actix_web::dev::ServiceRequest;

use super::{
    Answer, Api,
    answer::Touched,
    asks::{Patience, query_duration},
    body,
    error::Refusal,
    path,
};
use crate::semaphore::{Asking, Terms};

/// Acquires a lock: 200, or 202 where it is pending and the client's `block_for` is over.
///
/// # Errors
/// Those of [`crate::state::State::acquire`]; [`Refusal::Withdrawn`]; all that can be wrong with
/// the request.
pub fn acquire(
    api: &Rc<Api>,
    request: &ServiceRequest,
    id: &str,
    semaphore: &str,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let id = path::peer_id(id)?;
    let semaphore = path::name(semaphore)?;
    let [block_for, expires_in, queue] =
        path::query(request.query_string(), ["block_for", "expires_in", "queue"])?;
    let patience = Patience::of(block_for, queue)?;
    let expires_in = expires_in.map(|text| query_duration("expires_in", &text)).transpose()?;
    let count = body::parse_integer(body, "the count, a JSON integer such as `1`")?;

    let asking = Asking::Lock((&semaphore, count));
    let terms = Terms { expires_in, may_queue: patience.may_queue };
    let asked = api.state.acquire(id, asking, terms, patience.may_park())?;
    Ok(patience.answer(api, asked))
}

/// Releases a lock, or cancels it where it is pending.
///
/// # Errors
/// Those of [`crate::semaphore::Leases::release`], [`Refusal::BadPeerId`],
/// [`Refusal::BadEncoding`], [`Refusal::BadQuery`].
pub fn release(
    api: &Api,
    request: &ServiceRequest,
    id: &str,
    semaphore: &str,
) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let expires_in = api.state.release(path::peer_id(id)?, &path::name(semaphore)?)?;
    Ok(Touched::lease(expires_in).text("Ok").into())
}
