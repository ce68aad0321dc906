//! `GET /remainder?semaphore=A`: how many permits are left.

use actix_web::dev::ServiceRequest;

use super::{Answer, Api, answer, error::Refusal, path};

/// Max minus acquired; negative while a restore over-commits the semaphore.
pub fn remainder(api: &Api, request: &ServiceRequest) -> Result<Answer, Refusal> {
    let [semaphore] = path::query(request.query_string(), ["semaphore"])?;
    let Some(semaphore) = semaphore else {
        let reason = "parameter `semaphore` is missing, expected `?semaphore=NAME`".to_owned();
        return Err(Refusal::BadQuery { reason });
    };
    Ok(answer::json(&api.state.remainder(&semaphore)?).into())
}
