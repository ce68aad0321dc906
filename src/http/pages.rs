//! What a visitor sees: the page, for those with a browser, or a greeting; version, icon, and the
//! page that is not there.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    dev::ServiceRequest,
    http::header::{self, Accept, Header, Quality},
};

use super::{Answer, answer};

const NOT_FOUND: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
    <title>Not found - Throttle</title></head>\n<body><h1>Not found</h1>\
    <p>This page does not exist.</p></body>\n</html>\n";

/// The page loads nothing but what this server has, and runs nothing that stands in it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers the page for people, where HTML is preferred, as browsers do; otherwise a greeting.
#[utoipa::path(
    get, path = "/", operation_id = "index", tag = "page",
    responses((
        status = 200, description = "The page, or `Hello from Throttle!`.",
        content((String = "text/plain", example = "Hello from Throttle!"), (String = "text/html")),
    )),
)]
pub fn index(request: &ServiceRequest) -> Answer {
    let mut response = match prefers_html(request) {
        true => part("text/html; charset=utf-8", include_str!("dashboard/index.html")),
        false => answer::text("Hello from Throttle!"),
    };
    response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("accept"));
    response.into()
}

/// Answers the looks of the page.
#[utoipa::path(
    get, path = "/dashboard.css", operation_id = "style", tag = "page",
    responses((status = 200, description = "Its looks.", body = String, content_type = "text/css")),
)]
pub fn style() -> Answer {
    part("text/css; charset=utf-8", include_str!("dashboard/dashboard.css")).into()
}

/// Answers the script of the page.
#[utoipa::path(
    get, path = "/dashboard.js", operation_id = "script", tag = "page",
    responses((
        status = 200, description = "Its script.",
        body = String, content_type = "text/javascript",
    )),
)]
pub fn script() -> Answer {
    part("text/javascript; charset=utf-8", include_str!("dashboard/dashboard.js")).into()
}

/// Part of the page. Asked for each time, so that it fits the server after an update.
fn part(content_type: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(text)
}

/// Whether the request names `text/html`, and nothing as plain text that it would like as much.
fn prefers_html(request: &ServiceRequest) -> bool {
    let Ok(accept) = Accept::parse(request) else { return false };
    let quality = |essence: &str| {
        let named = accept.iter().filter(|range| range.item.essence_str() == essence);
        named.map(|range| range.quality).max().unwrap_or(Quality::MIN)
    };
    quality("text/html") > quality("text/plain")
}

/// Answers the version of the server.
#[utoipa::path(
    get, path = "/version", operation_id = "version", tag = "monitoring",
    responses((status = 200, description = "The version alone.", body = String, example = "1.2.3")),
)]
pub fn version() -> Answer {
    answer::text(env!("CARGO_PKG_VERSION")).into()
}

/// Answers an icon.
#[utoipa::path(
    get, path = "/favicon.ico", operation_id = "favicon", tag = "page",
    responses((status = 200, description = "The icon.", content_type = "image/x-icon")),
)]
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
