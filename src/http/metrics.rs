//! `GET /metrics`: what Prometheus scrapes.

use actix_web::{HttpResponse, http::header};

use super::{Answer, Api};

/// Version 0.0.4 of the Prometheus text format, which every scraper reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers the metrics, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "monitoring",
    responses((
        status = 200,
        description = "Version 0.0.4 of the Prometheus text format.",
        body = String, content_type = "text/plain",
    )),
)]
pub fn metrics(api: &Api) -> Answer {
    let text = api.metrics.render(&api.state.overview(), &api.log.dropped());
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, TEXT_FORMAT)).body(text).into()
}
