//! `GET /health`, for those who watch the process; `GET /health/ready`, for those who route
//! requests to it; `GET /health/granting`, for those who wonder why nobody gets a lock.

use std::time::Duration;

use actix_web::{HttpResponse, http::header};

use super::{Answer, Api, answer, duration};

/// 200 for as long as the process answers at all.
pub fn alive() -> Answer {
    answer::text("Ok").into()
}

/// 200 while requests are served, 503 once the server shuts down. A server that recovers is ready:
/// its peers must reach it to be restored.
pub fn ready(api: &Api) -> Answer {
    if api.state.is_shutting_down() {
        return unavailable("Shutting down".to_owned(), None);
    }
    answer::text("Ok").into()
}

/// 200 while locks are granted; else 503 with the reason, and how long it lasts.
pub fn granting(api: &Api) -> Answer {
    if api.state.is_shutting_down() {
        return unavailable("Shutting down".to_owned(), None);
    }
    let Some(left) = api.state.overview().recovery_left else { return answer::text("Ok").into() };
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
