//! `GET /remainder?semaphore=A`: how many permits are left.

use actix_web::dev::ServiceRequest;

use super::{Answer, Api, answer, error::Refusal, openapi::refusals, path};

/// Answers how many permits of a semaphore are left.
///
/// That is max minus acquired: negative while a restore or a smaller max over-commits it.
#[utoipa::path(
    get, path = "/remainder", operation_id = "remainder", tag = "semaphores",
    params(("semaphore" = String, Query, description = "The semaphore's name.")),
    responses(
        (
            status = 200,
            description = "Max minus acquired.",
            body = i64, content_type = "application/json",
        ),
        refusals::Remainder,
    ),
)]
pub fn remainder(api: &Api, request: &ServiceRequest) -> Result<Answer, Refusal> {
    let [semaphore] = path::query(request.query_string(), ["semaphore"])?;
    let Some(semaphore) = semaphore else {
        let reason = "parameter `semaphore` is missing, expected `?semaphore=NAME`".to_owned();
        return Err(Refusal::BadQuery { reason });
    };
    Ok(answer::json(&api.state.remainder(&semaphore)?).into())
}
