//! `GET /health`, for those who watch the process; `GET /health/ready`, for those who route
//! requests to it; `GET /health/granting`, for those who wonder why nobody gets a lock.

use std::time::Duration;

use actix_web::{HttpResponse, http::header};

use super::{Answer, Api, answer, duration};

/// Answers as long as the process does.
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "monitoring",
    responses((status = 200, description = "It does.", body = String, example = "Ok")),
)]
pub fn alive() -> Answer {
    answer::text("Ok").into()
}

/// Says whether requests are served.
///
/// A server that recovers is ready: its peers must reach it to be restored.
#[utoipa::path(
    get, path = "/health/ready", operation_id = "ready", tag = "monitoring",
    responses(
        (status = 200, description = "They are.", body = String, example = "Ok"),
        (
            status = 503, description = "The server shuts down.",
            body = String, example = "Shutting down",
        ),
    ),
)]
pub fn ready(api: &Api) -> Answer {
    if api.state.is_shutting_down() {
        return unavailable("Shutting down".to_owned(), None);
    }
    answer::text("Ok").into()
}

/// Says whether locks are granted.
#[utoipa::path(
    get, path = "/health/granting", operation_id = "granting", tag = "monitoring",
    responses(
        (status = 200, description = "They are.", body = String, example = "Ok"),
        (
            status = 503,
            description = "They are not, for the reason that the text names: the server shuts \
                           down, or waits for peers to be restored, then with `Retry-After`.",
            body = String, headers(("Retry-After")),
        ),
    ),
)]
pub fn granting(api: &Api) -> Answer {
    if api.state.is_shutting_down() {
        return unavailable("Shutting down".to_owned(), None);
    }
    let Some(left) = api.state.recovery_left() else { return answer::text("Ok").into() };
    let text = format!(
        "Recovering: no lock is granted for another {}, so that peers of the time before the \
         restart can be restored first",
        duration::milliseconds(left)
    );
    unavailable(text, Some(left))
}

fn unavailable(text: String, left: Option<Duration>) -> Answer {
    let mut response = HttpResponse::ServiceUnavailable();
    if let Some(left) = left {
        response.insert_header((header::RETRY_AFTER, left.as_secs() + 1));
    }
    response.content_type(answer::TEXT).body(text).into()
}
