//! What a visitor with a browser sees: greeting, version, icon, and the page that is not there.

use actix_web::{HttpResponse, HttpResponseBuilder, http::header};

use super::{Answer, answer};

const NOT_FOUND: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
    <title>Not found - Throttle</title></head>\n<body><h1>Not found</h1>\
    <p>This page does not exist.</p></body>\n</html>\n";

/// `GET /`.
pub fn greeting() -> Answer {
    answer::text("Hello from Throttle!").into()
}

/// `GET /version`: the version alone.
pub fn version() -> Answer {
    answer::text(env!("CARGO_PKG_VERSION")).into()
}

/// `GET /favicon.ico`.
pub fn favicon() -> Answer {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "image/x-icon"))
        .insert_header((header::CACHE_CONTROL, "max-age=86400"))
        .body(&include_bytes!("favicon.ico")[..])
        .into()
}

/// The page for all paths that do not exist.
pub fn not_found(mut response: HttpResponseBuilder) -> HttpResponse {
    response.content_type("text/html; charset=utf-8").body(NOT_FOUND)
}
