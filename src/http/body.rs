//! Request bodies: read as a whole, up to a limit, and parsed as JSON with errors that help.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
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
/// What is left unread stays with the request.
///
/// # Errors
/// [`Refusal::NotJson`] for a body that is not declared as JSON, whether anybody wants it or not;
/// [`Refusal::BodyTooLarge`]; [`Refusal::BodyTooSlow`]; [`Refusal::BadBody`] where the connection
/// broke off or the framing is wrong.
pub async fn read(request: &mut ServiceRequest, limits: &Limits) -> Result<Bytes, Refusal> {
    let mut payload = request.take_payload();
    let length = declared_length(request);
    // Where an upgrade is asked for, actix would hand on all that follows as if it were a body.
    let is_framed = length.is_some() || request.headers().contains_key(header::TRANSFER_ENCODING);
    if matches!(payload, Payload::None) || !is_framed {
        return Ok(Bytes::new());
    }
    let Limits { max_body, body_timeout, .. } = *limits;
    let all = match length {
        Some(length) if length > max_body as u64 => Some(Ok(None)),
        _ => within(body_timeout, pin!(collect(&mut payload, max_body))).await,
    };
    let refusal = match all {
        Some(Ok(Some(bytes))) => {
            if !bytes.is_empty() {
                check_content_type(request)?;
            }
            return Ok(bytes);
        }
        Some(Ok(None)) => Refusal::BodyTooLarge { limit: max_body },
        Some(Err(error)) => {
            let expected = "a body that is sent to its end";
            Refusal::BadBody { reason: error.to_string(), expected }
        }
        None => Refusal::BodyTooSlow { limit: body_timeout },
    };
    request.set_payload(payload);
    Err(refusal)
}

/// All of a body, or `None` if that is longer than `max` bytes. Nearly all bodies come in one
/// piece, which is handed on without a copy.
async fn collect(payload: &mut Payload, max: usize) -> Result<Option<Bytes>, PayloadError> {
    let mut stream = pin!(BodyStream::new(payload));
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(piece) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
        let piece = piece?;
        if all.len().max(first.len()) + piece.len() > max {
            return Ok(None);
        }
        if first.is_empty() {
            first = piece;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&piece);
    }
    Ok(Some(if all.is_empty() { first } else { all.into() }))
}

/// What comes out of `future`, unless that takes longer than `limit`.
///
/// The first look at a body comes too early: actix hands on what it has received of it only after
/// that, which is nearly always all of it. So the timer is set at the second look.
async fn within<F: Future>(limit: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut polls = 0;
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        polls += 1;
        if polls == 1 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
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
    let declared = String::from_utf8_lossy(declared.as_bytes());
    let essence = declared.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().ends_with("+json")
    {
        return Ok(());
    }
    Err(Refusal::NotJson { found: format!("`{declared}`") })
}
