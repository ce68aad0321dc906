//! `PUT` and `DELETE /peers/{id}/{semaphore}`: acquire and release one lock.

use std::rc::Rc;

use actix_web::dev::ServiceRequest;

use super::{
    Answer, Api,
    answer::Touched,
    asks::{self, Patience, query_duration},
    body,
    error::Refusal,
    openapi::{parameters, refusals, values},
    path,
};
use crate::semaphore::{Asking, Terms};

/// Acquires a lock.
///
/// The same again changes nothing, keeps the place in the queue, and answers whether this lock is
/// acquired. A smaller count makes the lock smaller, and hands on what becomes free. A larger count
/// is refused.
#[utoipa::path(
    put, path = "/peers/{id}/{semaphore}", operation_id = "acquire", tag = "locks",
    params(
        parameters::Peer, parameters::Semaphore, Patience,
        (
            "expires_in" = Option<values::Duration>, Query,
            description = "Renews the lease, as a heartbeat does.",
        ),
    ),
    request_body(content = values::Count, content_type = "application/json"),
    responses(asks::Answers, refusals::Acquire),
)]
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
/// With a pending lock, the whole ask is withdrawn that it is part of. Where there is no such lock,
/// nothing happens.
#[utoipa::path(
    delete, path = "/peers/{id}/{semaphore}", operation_id = "release", tag = "locks",
    params(parameters::Peer, parameters::Semaphore),
    responses(
        (
            status = 200,
            description = "The peer has no such lock any more.",
            body = String, headers(("Throttle-Expires-In")), example = json!("Ok"),
        ),
        refusals::Release,
    ),
)]
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
