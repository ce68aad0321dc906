//! `GET /metrics`: what Prometheus scrapes.

use actix_web::{HttpResponse, http::header};

use super::{Answer, Api};
use crate::metrics::Levels;

/// Version 0.0.4 of the Prometheus text format, which every scraper reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics as they are now.
pub fn metrics(api: &Api) -> Answer {
    let (peers, waiters) = api.state.peers_and_waiters();
    let text = api.metrics.render(&Levels {
        semaphores: api.state.semaphores(),
        peers,
        waiters,
        is_recovering: api.state.recovery_left().is_some(),
        log_dropped: api.log.dropped(),
    });
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, TEXT_FORMAT)).body(text).into()
}
