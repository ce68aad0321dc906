//! `GET /health`, for those who watch the process, and `GET /health/ready`, for those who route
//! requests to it.

use actix_web::HttpResponse;

use super::{Answer, answer};
use crate::state::State;

/// 200 for as long as the process answers at all.
pub fn alive() -> Answer {
    answer::text("Ok").into()
}

/// 200 while requests are served, 503 once the server shuts down.
pub fn ready(state: &State) -> Answer {
    if state.is_shutting_down() {
        let mut response = HttpResponse::ServiceUnavailable();
        return response.content_type(answer::TEXT).body("Shutting down").into();
    }
    answer::text("Ok").into()
}
