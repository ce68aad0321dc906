//! Request bodies: read as a whole, up to a limit, and parsed as JSON with errors that help.

use actix_web::{
    body::{BodyStream, to_bytes_limited},
    dev::{Payload, ServiceRequest},
    http::header,
    web::Bytes,
};
use serde::de::DeserializeOwned;

use super::error::Refusal;
use crate::nearest;

/// No body of this protocol comes close to it.
const LIMIT: usize = 64 * 1024;

/// Reads a body to its end, also where nobody wants it: an unread one would cost the connection.
///
/// # Errors
/// [`Refusal::BodyTooLarge`]; [`Refusal::BadBody`] where the connection broke off or the framing is
/// wrong.
pub async fn read(payload: Payload) -> Result<Bytes, Refusal> {
    if matches!(payload, Payload::None) {
        return Ok(Bytes::new());
    }
    match to_bytes_limited(BodyStream::new(payload), LIMIT).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(Refusal::BadBody {
            reason: error.to_string(),
            expected: "a body that is sent to its end",
        }),
        Err(_) => Err(Refusal::BodyTooLarge { limit: LIMIT }),
    }
}

/// Parses a body as JSON. `expected` shows a right one to whoever sent a wrong one.
///
/// # Errors
/// [`Refusal::NotJson`] unless the request declares its body as JSON; [`Refusal::BadBody`].
pub fn parse<T: DeserializeOwned>(
    request: &ServiceRequest,
    body: &[u8],
    expected: &'static str,
) -> Result<T, Refusal> {
    check_content_type(request)?;
    serde_json::from_slice(body).map_err(|error| {
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
    if declared == mime::APPLICATION_JSON.as_ref() {
        return Ok(());
    }
    let declared = String::from_utf8_lossy(declared.as_bytes());
    let is_json = declared.parse::<mime::Mime>().is_ok_and(|media_type| {
        let is_plain =
            media_type.subtype() == mime::JSON && media_type.type_() == mime::APPLICATION;
        is_plain || media_type.suffix() == Some(mime::JSON)
    });
    if is_json { Ok(()) } else { Err(Refusal::NotJson { found: format!("`{declared}`") }) }
}
