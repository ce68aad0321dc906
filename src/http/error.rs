//! The one place that turns a refusal into a status and a text, and logs it.
//!
//! Bodies are plain text, which published clients read, or a problem document (RFC 9457) where the
//! request accepts `application/problem+json`.

use actix_web::{
    HttpResponse,
    dev::ServiceRequest,
    http::{
        StatusCode,
        header::{self, Accept, Header},
    },
};
use log::debug;
use serde::Serialize;
use thiserror::Error;

use crate::semaphore;

/// The media type of RFC 9457.
const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was refused: one variant for each reason. A refusal changed nothing.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The pure room refused.
    #[error(transparent)]
    Semaphore(#[from] semaphore::Error),
    /// The lock that the request waited for was cancelled or shrunk by another one.
    #[error("Lock was withdrawn.")]
    Withdrawn,
    /// The id in the path is no `u64`.
    #[error("`{found}` is not a peer id, expected an integer from 0 to {max}", max = u64::MAX)]
    BadPeerId {
        /// The path segment.
        found: String,
    },
    /// A name is not UTF-8 after percent-decoding.
    #[error("`{found}` is not UTF-8 after percent-decoding, expected a name in UTF-8")]
    BadEncoding {
        /// The text as it was sent.
        found: String,
    },
    /// The query has an unknown, repeated or missing parameter.
    #[error("invalid query: {reason}")]
    BadQuery {
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// The body is not what the route expects.
    #[error("invalid body: {reason}; expected {expected}")]
    BadBody {
        /// What is wrong, and where.
        reason: String,
        /// An example of a right body.
        expected: &'static str,
    },
    /// The body is declared as something else than JSON, or not declared at all.
    #[error("unsupported media type: {found}; send the header `Content-Type: application/json`")]
    NotJson {
        /// What was declared.
        found: String,
    },
    /// The body is too long.
    #[error("the body exceeds the limit of {limit} bytes")]
    BodyTooLarge {
        /// What is accepted.
        limit: usize,
    },
    /// The route does not exist.
    #[error("no such page")]
    NotFound,
    /// The route exists, but not for this method.
    #[error("method not allowed, use one of: {allow}")]
    MethodNotAllowed {
        /// The methods of this route.
        allow: &'static str,
    },
}

/// A problem document. `type` is `about:blank`, so `title` is the phrase of the status.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// Names the reason for programs; an extension member.
    code: &'a str,
}

impl Refusal {
    /// The answer to a refused request; logs the refusal.
    pub fn respond(&self, accepts_problem: bool) -> HttpResponse {
        let (status, code) = self.status_and_code();
        let detail = self.to_string();
        debug!("refused with {}: {detail}", status.as_u16());
        let mut response = HttpResponse::build(status);
        if let Refusal::MethodNotAllowed { allow } = self {
            response.insert_header((header::ALLOW, *allow));
        }
        if accepts_problem {
            let problem = Problem {
                r#type: "about:blank",
                title: status.canonical_reason().unwrap_or_default(),
                status: status.as_u16(),
                detail: &detail,
                code,
            };
            return response.insert_header((header::CONTENT_TYPE, PROBLEM_JSON)).json(problem);
        }
        match self {
            Refusal::NotFound => super::pages::not_found(response),
            _ => response.content_type(mime::TEXT_PLAIN_UTF_8).body(detail),
        }
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        use semaphore::Error;
        match self {
            Refusal::Semaphore(error) => match error {
                Error::UnknownPeer => (StatusCode::BAD_REQUEST, "unknown_peer"),
                Error::UnknownSemaphore => (StatusCode::BAD_REQUEST, "unknown_semaphore"),
                Error::BadNames { .. } => (StatusCode::BAD_REQUEST, "bad_names"),
                Error::CountBelowOne { .. } => (StatusCode::BAD_REQUEST, "count_below_one"),
                Error::CountAboveMax { .. } => (StatusCode::CONFLICT, "count_above_max"),
                Error::LevelViolation { .. } => (StatusCode::CONFLICT, "level_violation"),
                Error::Grow { .. } => (StatusCode::CONFLICT, "grow"),
                Error::PartlyLocked { .. } => (StatusCode::CONFLICT, "partly_locked"),
                Error::AlreadyPending { .. } => (StatusCode::CONFLICT, "already_pending"),
                Error::RestoreConflict => (StatusCode::CONFLICT, "restore_conflict"),
                Error::RestoreOverflow { .. } => (StatusCode::CONFLICT, "restore_overflow"),
            },
            Refusal::Withdrawn => (StatusCode::CONFLICT, "withdrawn"),
            Refusal::BadPeerId { .. } => (StatusCode::BAD_REQUEST, "bad_peer_id"),
            Refusal::BadEncoding { .. } => (StatusCode::BAD_REQUEST, "bad_encoding"),
            Refusal::BadQuery { .. } => (StatusCode::BAD_REQUEST, "bad_query"),
            Refusal::BadBody { .. } => (StatusCode::BAD_REQUEST, "bad_body"),
            Refusal::NotJson { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Refusal::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Refusal::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Refusal::MethodNotAllowed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
            }
        }
    }
}

/// Whether the request lists `application/problem+json` as acceptable, by that very name.
pub fn accepts_problem(request: &ServiceRequest) -> bool {
    if !request.headers().contains_key(header::ACCEPT) {
        return false;
    }
    Accept::parse(request).is_ok_and(|accept| {
        accept.iter().any(|range| {
            range.item.essence_str() == PROBLEM_JSON && range.quality > header::Quality::MIN
        })
    })
}
