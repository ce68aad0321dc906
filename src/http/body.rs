//! Request bodies: read as a whole, up to a limit, and parsed as JSON with errors that help.

use std::{
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage,
    body::{BodyStream, MessageBody},
    dev::{Payload, ServiceRequest},
    error::PayloadError,
    http::header,
    web::Bytes,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Sleep, sleep};

use super::{Limits, error::Refusal};
use crate::{fields, nearest};

/// Reads a body to its end, also where nobody wants it: an unread one would cost the connection.
///
/// What is left unread stays with the request, and so does what was refused.
///
/// # Errors
/// [`Refusal::NotJson`] for a body that is not declared as JSON, whether anybody wants it or not;
/// [`Refusal::BodyTooLarge`]; [`Refusal::BodyTooSlow`]; [`Refusal::BodyBrokenOff`];
/// [`Refusal::BadBody`] where the framing is wrong, or chunks break off.
pub async fn read(request: &mut ServiceRequest, limits: &Limits) -> Result<Bytes, Refusal> {
    let payload = request.take_payload();
    let length = declared_length(request);
    // Where an upgrade is asked for, actix would hand on all that follows as if it were a body.
    let is_framed = length.is_some() || request.headers().contains_key(header::TRANSFER_ENCODING);
    if matches!(payload, Payload::None) || !is_framed {
        return Ok(Bytes::new());
    }
    let mut reading = Reading::new(payload, limits, length.is_some());
    let read = match length {
        Some(length) if length > limits.max_body as u64 => Err(reading.too_large()),
        _ => poll_fn(|context| reading.poll(context)).await,
    };
    let accepted = read.and_then(|body| match body.is_empty() {
        true => Ok(body),
        false => check_content_type(request).map(|()| body),
    });
    if accepted.is_err() {
        request.set_payload(reading.payload);
    }
    accepted
}

/// A body that is being read. By hand, for each request carries this along while it is parked.
struct Reading<'a> {
    payload: Payload,
    limits: &'a Limits,
    /// Nearly all bodies come in one piece, which is handed on without a copy.
    first: Bytes,
    /// All pieces, where there are more.
    all: Vec<u8>,
    /// Whether its length was said beforehand.
    is_measured: bool,
    was_polled: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<'a> Reading<'a> {
    fn new(payload: Payload, limits: &'a Limits, is_measured: bool) -> Self {
        let (first, all) = (Bytes::new(), Vec::new());
        Reading { payload, limits, first, all, is_measured, was_polled: false, timer: None }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Refusal>> {
        loop {
            match pin!(BodyStream::new(&mut self.payload)).poll_next(context) {
                Poll::Ready(Some(Ok(piece))) => self.add(piece)?,
                // actix says so of chunks that are none as well.
                Poll::Ready(Some(Err(PayloadError::Incomplete(_)))) if self.is_measured => {
                    return Poll::Ready(Err(Refusal::BodyBrokenOff));
                }
                Poll::Ready(Some(Err(error))) => {
                    let expected = "a body that is sent to its end";
                    let reason = error.to_string();
                    return Poll::Ready(Err(Refusal::BadBody { reason, expected }));
                }
                Poll::Ready(None) if self.all.is_empty() => {
                    return Poll::Ready(Ok(mem::take(&mut self.first)));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(mem::take(&mut self.all).into())),
                Poll::Pending => return self.poll_timer(context).map(Err),
            }
        }
    }

    fn add(&mut self, piece: Bytes) -> Result<(), Refusal> {
        if self.all.len().max(self.first.len()) + piece.len() > self.limits.max_body {
            return Err(self.too_large());
        }
        if self.first.is_empty() {
            self.first = piece;
            return Ok(());
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&piece);
        Ok(())
    }

    /// The first look at a body comes too early: actix hands on what it has received of it only
    /// after that, which is nearly always all of it. So the timer is set at the second look.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> Poll<Refusal> {
        if !mem::replace(&mut self.was_polled, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let limit = self.limits.body_timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(context).map(|()| Refusal::BodyTooSlow { limit })
    }

    fn too_large(&self) -> Refusal {
        Refusal::BodyTooLarge { limit: self.limits.max_body }
    }
}

/// The length of the body as the head has it. actix has refused what is no number.
fn declared_length(request: &ServiceRequest) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Parses a body as a JSON object. `expected` shows a right one to whoever sent a wrong one.
///
/// # Errors
/// [`Refusal::BadBody`].
pub fn parse<T: DeserializeOwned>(body: &[u8], expected: &'static str) -> Result<T, Refusal> {
    explain(body, expected, |json| {
        let object = fields::named(&mut *json)?;
        json.end().map(|()| object)
    })
}

/// Parses a body as a JSON integer.
///
/// # Errors
/// [`Refusal::BadBody`].
pub fn parse_integer(body: &[u8], expected: &'static str) -> Result<i64, Refusal> {
    explain(body, expected, |json| {
        let fields::Integer(number) = Deserialize::deserialize(&mut *json)?;
        json.end().map(|()| number)
    })
}

type Json<'a> = serde_json::Deserializer<serde_json::de::SliceRead<'a>>;

fn explain<'a, T>(
    body: &'a [u8],
    expected: &'static str,
    parse: impl FnOnce(&mut Json<'a>) -> serde_json::Result<T>,
) -> Result<T, Refusal> {
    parse(&mut serde_json::Deserializer::from_slice(body)).map_err(|error| {
        let reason = match body {
            [] => "it is empty".to_owned(),
            _ => nearest::suggest(error.to_string()),
        };
        Refusal::BadBody { reason, expected }
    })
}

/// Accepts `application/json` and `…+json`, with parameters or without.
///
/// A browser lets a page of another site send such a body only after asking the server, which never
/// agrees; so no such page can act here.
fn check_content_type(request: &ServiceRequest) -> Result<(), Refusal> {
    let Some(declared) = request.headers().get(header::CONTENT_TYPE) else {
        return Err(Refusal::NotJson { found: "the request declares none".to_owned() });
    };
    if declared == "application/json" {
        return Ok(());
    }
    let declared = String::from_utf8_lossy(declared.as_bytes());
    let essence = declared.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().ends_with("+json")
    {
        return Ok(());
    }
    Err(Refusal::NotJson { found: format!("`{declared}`") })
}
