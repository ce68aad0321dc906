//! The shapes of answers: a line of text or a JSON value; and how a large one is handed out.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    http::header::HeaderValue,
    web::Bytes,
};
use serde::Serialize;

use crate::in_flight::Entered;

/// The media type of all plain texts.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A larger body is handed to the connection in pieces of this size.
const PIECE: usize = 32 * 1024;

/// 200 with plain text.
pub fn text(text: &'static str) -> HttpResponse {
    HttpResponse::Ok().content_type(TEXT).body(text)
}

/// 200 with a JSON value.
pub fn json<T: Serialize + ?Sized>(value: &T) -> HttpResponse {
    HttpResponse::Ok().json(value)
}

/// Keeps the request counted as in flight until its answer is on its way. A small one is written as
/// soon as the handler returns; a large one goes in pieces, as fast as its reader takes them.
pub fn count_until_written(response: HttpResponse, entered: Entered) -> HttpResponse {
    if !matches!(response.body().size(), BodySize::Sized(size) if size > PIECE as u64) {
        return response;
    }
    response.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) => BoxBody::new(Pieces { bytes, _entered: entered }),
        Err(body) => body,
    })
}

struct Pieces {
    bytes: Bytes,
    _entered: Entered,
}

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let size = self.bytes.len().min(PIECE);
        let piece = self.bytes.split_to(size);
        Poll::Ready((size > 0).then_some(Ok(piece)))
    }
}
