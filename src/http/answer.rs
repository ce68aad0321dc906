//! The two shapes of a successful answer: a line of text, or a JSON value.

use actix_web::HttpResponse;
use serde::Serialize;

/// 200 with plain text.
pub fn text(text: &'static str) -> HttpResponse {
    HttpResponse::Ok().content_type(mime::TEXT_PLAIN_UTF_8).body(text)
}

/// 200 with a JSON value.
pub fn json<T: Serialize + ?Sized>(value: &T) -> HttpResponse {
    HttpResponse::Ok().json(value)
}
