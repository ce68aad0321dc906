//! The shapes of answers: a line of text or a JSON value; and how a large one is handed out.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use serde::Serialize;
use smallvec::SmallVec;

use super::duration;
use crate::{
    in_flight::{Entered, InFlight},
    semaphore::Token,
    watch::Answering,
};

/// Tells one start of the server from another. All answers carry it.
pub const INSTANCE: HeaderName = HeaderName::from_static("throttle-instance");

/// What is left of the lease.
const EXPIRES_IN: HeaderName = HeaderName::from_static("throttle-expires-in");

/// The fencing token of a grant.
const TOKEN: HeaderName = HeaderName::from_static("throttle-token");

/// The media type of all plain texts.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The media type of all JSON values.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A larger body is handed to the connection in pieces of this size.
const PIECE: usize = 32 * 1024;

/// 200 with plain text.
pub fn text(text: &'static str) -> HttpResponse {
    with_body(StatusCode::OK, TEXT, text)
}

/// 200 with a JSON value.
pub fn json<T: Serialize + ?Sized>(value: &T) -> HttpResponse {
    HttpResponse::Ok().content_type(JSON).json(value)
}

/// What an answer says about the peer that a request was about.
#[derive(Clone, Copy, Debug)]
pub struct Touched {
    /// What is left of its lease.
    pub expires_in: Duration,
    /// The token of what it was granted.
    pub token: Option<Token>,
}

impl Touched {
    /// Says nothing but what is left of the lease.
    pub fn lease(expires_in: Duration) -> Self {
        Touched { expires_in, token: None }
    }

    /// 200 with plain text.
    pub fn text(self, text: &'static str) -> HttpResponse {
        self.mark(with_body(StatusCode::OK, TEXT, text))
    }

    /// 200 with a JSON value.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> HttpResponse {
        self.mark(json(value))
    }

    /// A JSON integer.
    pub fn number(self, status: StatusCode, number: u64) -> HttpResponse {
        self.mark(with_body(status, JSON, itoa::Buffer::new().format(number).to_owned()))
    }

    fn mark(self, mut response: HttpResponse) -> HttpResponse {
        let headers = response.headers_mut();
        // Appending is cheaper than replacing what is not there.
        headers.append(EXPIRES_IN, value(duration::whole_milliseconds(self.expires_in), "ms"));
        if let Some(token) = self.token {
            headers.append(TOKEN, value(token.number(), ""));
        }
        response
    }
}

/// A number and its unit, written by hand: this is on the way of every request.
#[expect(clippy::expect_used, reason = "digits and letters are always a header value")]
fn value(number: u64, unit: &str) -> HeaderValue {
    let mut digits = itoa::Buffer::new();
    let mut text = SmallVec::<[u8; 24]>::from_slice(digits.format(number).as_bytes());
    text.extend_from_slice(unit.as_bytes());
    HeaderValue::from_bytes(&text).expect("digits and letters")
}

/// On the way of every request, hence without a builder.
fn with_body(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl MessageBody + 'static,
) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, BoxBody::new(body));
    response.headers_mut().append(header::CONTENT_TYPE, content_type);
    response
}

/// Keeps the request in flight, and its connection open, until its answer is on its way. A small
/// one is written as soon as the handler returns; a large one goes in pieces, as fast as its reader
/// takes them.
pub fn in_flight_until_written(
    response: HttpResponse,
    entered: &Entered<&InFlight>,
    answering: Option<Answering>,
) -> HttpResponse {
    match response.body().size() {
        BodySize::Sized(size) if size > PIECE as u64 => {
            keep_until_written(response, (entered.to_owned(), answering))
        }
        // It ends when the server shuts down, which need not wait for it.
        BodySize::Stream => {
            response.map_body(|_, body| BoxBody::new(Keeping { body, _kept: answering }))
        }
        _ => response,
    }
}

/// A stream, and what is dropped after its end.
struct Keeping<K> {
    body: BoxBody,
    _kept: K,
}

impl<K: Unpin> MessageBody for Keeping<K> {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

/// Drops something only after the last piece of an answer was taken.
pub fn keep_until_written(response: HttpResponse, kept: impl Unpin + 'static) -> HttpResponse {
    response.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) => BoxBody::new(Pieces { bytes, _kept: kept }),
        Err(body) => body,
    })
}

struct Pieces<K> {
    bytes: Bytes,
    _kept: K,
}

impl<K: Unpin> MessageBody for Pieces<K> {
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::{io::duplex, task::LocalSet};

    use super::*;
    use crate::watch::{Allowed, Watch};

    /// A body without end, on which nothing comes.
    struct Silence;

    impl MessageBody for Silence {
        type Error = Infallible;

        fn size(&self) -> BodySize {
            BodySize::Stream
        }

        fn poll_next(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Bytes, Infallible>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn connection_counts_as_being_answered_for_as_long_as_a_stream_lasts() {
        let second = Duration::from_secs(1);
        let answering = async {
            let watch = Watch::start(Allowed { head: second, idle: second });
            let connection = watch.over(duplex(64).0).connection();
            let before = Rc::strong_count(&connection);
            let in_flight = InFlight::default();

            let response = HttpResponse::with_body(StatusCode::OK, BoxBody::new(Silence));
            let answering = Some(connection.answer());
            let response = in_flight_until_written(response, &in_flight.enter(), answering);

            assert_eq!(before + 1, Rc::strong_count(&connection), "it is not closed as idle");
            drop(response);
            assert_eq!(before, Rc::strong_count(&connection));
        };
        LocalSet::new().run_until(answering).await;
    }
}
