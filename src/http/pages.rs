//! What a visitor sees: the page, for those with a browser, or a greeting; version, icon, and the
//! page that is not there.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    dev::ServiceRequest,
    http::header::{self, Accept, Header, Quality},
};

use super::{Answer, answer, error::Refusal, openapi::refusals};

const NOT_FOUND: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
    <title>Not found - Throttle</title></head>\n<body><h1>Not found</h1>\
    <p>This page does not exist.</p></body>\n</html>\n";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page: the name, the media type, and what is in it.
const PARTS: [(&str, &str, &str); 6] = [
    ("dashboard.css", CSS, include_str!("dashboard/dashboard.css")),
    ("dashboard.js", SCRIPT, include_str!("dashboard/dashboard.js")),
    ("drawer.js", SCRIPT, include_str!("dashboard/drawer.js")),
    ("list.js", SCRIPT, include_str!("dashboard/list.js")),
    ("server.js", SCRIPT, include_str!("dashboard/server.js")),
    ("words.js", SCRIPT, include_str!("dashboard/words.js")),
];

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
        true => page(HTML, include_str!("dashboard/index.html")),
        false => answer::text("Hello from Throttle!"),
    };
    response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("accept"));
    response.into()
}

/// Answers a file of the page: its looks, or one of its scripts.
#[utoipa::path(
    get, path = "/dashboard/{file}", operation_id = "part", tag = "page",
    params(("file" = String, Path, description = "The file's name.", example = "dashboard.css")),
    responses(
        (
            status = 200, description = "The file.",
            content((String = "text/css"), (String = "text/javascript")),
        ),
        refusals::Part,
    ),
)]
pub fn part(file: &str) -> Result<Answer, Refusal> {
    let part = PARTS.iter().find(|(name, ..)| *name == file);
    let (_, content_type, text) = part.ok_or(Refusal::NotFound)?;
    Ok(page(content_type, text).into())
}

/// The page, or a file of it. Asked for each time, so that it fits the server after an update.
fn page(content_type: &'static str, text: &'static str) -> HttpResponse {
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
    response.content_type(HTML).body(NOT_FOUND)
}
