//! The one place that turns a refusal into a status and a text, and logs it.
//!
//! Bodies are plain text, which published clients read, or a problem document (RFC 9457) where the
//! request accepts `application/problem+json`.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    dev::ServiceRequest,
    http::{
        StatusCode,
        header::{self, Accept, Header},
    },
};
use log::{Level, debug, log_enabled};
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::refusals::Code;
use crate::{metrics::Metrics, semaphore::Error, state::AskError};

/// The media type of RFC 9457.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// When a client shall try again that met a limit. Nobody knows when there is room again.
const RETRY_AFTER_SECONDS: u64 = 5;

/// In characters. Nobody reads on.
const LONGEST_TEXT: usize = 1_000;

/// Why a request was refused: one variant for each reason. A refusal changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The pure room refused.
    #[error(transparent)]
    Semaphore(#[from] Error),
    /// No request can be parked any more.
    #[error(
        "Limit `max_waiters` reached: {max} requests are waiting already. Try again later, or \
         without `block_for`."
    )]
    TooManyWaiters {
        /// How many may wait.
        max: usize,
    },
    /// Nobody can listen to events any more.
    #[error("there are {max} listeners already. Try again later.")]
    TooManyListeners {
        /// How many may listen.
        max: usize,
    },
    /// The configuration file is missing or bad.
    #[error("nothing has changed: {reason}")]
    BadConfiguration {
        /// What is wrong with it, and where.
        reason: String,
    },
    /// An administrative route was used without the token.
    #[error("this needs the token of the configuration: send `Authorization: Bearer TOKEN`")]
    Unauthorized,
    /// An administrative route was used from elsewhere, and no token is configured.
    #[error(
        "{reason}; only requests from the server's own machine may do this, unless `[admin] token` \
         is configured"
    )]
    Forbidden {
        /// How that is known.
        reason: &'static str,
    },
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
    /// The body did not arrive.
    #[error("the body did not arrive within {limit:?}")]
    BodyTooSlow {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The connection broke off in the body. That says nothing about the request, so the status is
    /// one after which clients try again.
    #[error("the connection broke off before the body had arrived")]
    BodyBrokenOff,
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

/// A problem document (RFC 9457). `type` is `about:blank`, so `title` is the phrase of the status.
#[derive(Serialize, ToSchema)]
pub struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    /// What the plain text would say.
    detail: &'a str,
    #[schema(value_type = Code)]
    code: &'a str,
}

impl Refusal {
    /// The answer to a refused request; logs and counts the refusal.
    pub fn respond(&self, asker: &Asker, metrics: &Metrics) -> HttpResponse {
        let (status, code) = self.status_and_code();
        metrics.count_refusal(code);
        if matches!(self, Refusal::NotFound) {
            metrics.count_404();
        }
        // Not the text, which may hold a piece of a body.
        debug!(
            status = status.as_u16(), code;
            "{} refused with {}: {code}", asker.request, status.as_u16()
        );
        let detail = shortened(self.to_string());
        let mut response = HttpResponse::build(status);
        match self {
            Refusal::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, *allow));
            }
            Refusal::Unauthorized => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
            }
            // What is left of the body would be taken for the next request.
            Refusal::BodyTooLarge { .. } | Refusal::BodyTooSlow { .. } | Refusal::BodyBrokenOff => {
                response.force_close();
            }
            _ => {}
        }
        if asker.accepts_problem {
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
            _ => response.content_type(super::answer::TEXT).body(detail),
        }
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Refusal::Semaphore(error) => of_semaphore(error),
            Refusal::TooManyWaiters { .. } => (StatusCode::SERVICE_UNAVAILABLE, "too_many_waiters"),
            Refusal::TooManyListeners { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners")
            }
            Refusal::BadConfiguration { .. } => (StatusCode::CONFLICT, "bad_configuration"),
            Refusal::Withdrawn => (StatusCode::CONFLICT, "withdrawn"),
            Refusal::BadPeerId { .. } => (StatusCode::BAD_REQUEST, "bad_peer_id"),
            Refusal::BadEncoding { .. } => (StatusCode::BAD_REQUEST, "bad_encoding"),
            Refusal::BadQuery { .. } => (StatusCode::BAD_REQUEST, "bad_query"),
            Refusal::BadBody { .. } => (StatusCode::BAD_REQUEST, "bad_body"),
            Refusal::NotJson { .. } => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Refusal::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Refusal::BodyTooSlow { .. } | Refusal::BodyBrokenOff => {
                (StatusCode::REQUEST_TIMEOUT, "body_too_slow")
            }
            Refusal::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Refusal::Forbidden { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            Refusal::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Refusal::MethodNotAllowed { .. } => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
            }
        }
    }
}

fn of_semaphore(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::UnknownPeer => (StatusCode::BAD_REQUEST, "unknown_peer"),
        Error::UnknownSemaphore => (StatusCode::BAD_REQUEST, "unknown_semaphore"),
        Error::BadNames { .. } => (StatusCode::BAD_REQUEST, "bad_names"),
        Error::CountBelowOne { .. } => (StatusCode::BAD_REQUEST, "count_below_one"),
        Error::LeaseTooLong { .. } => (StatusCode::BAD_REQUEST, "lease_too_long"),
        Error::BadToken { .. } => (StatusCode::BAD_REQUEST, "bad_token"),
        Error::TokenWithoutLock { .. } => (StatusCode::BAD_REQUEST, "token_without_lock"),
        Error::CountAboveMax { .. } => (StatusCode::CONFLICT, "count_above_max"),
        Error::LevelViolation { .. } => (StatusCode::CONFLICT, "level_violation"),
        Error::Grow { .. } => (StatusCode::CONFLICT, "grow"),
        Error::PartlyLocked { .. } => (StatusCode::CONFLICT, "partly_locked"),
        Error::AlreadyPending { .. } => (StatusCode::CONFLICT, "already_pending"),
        Error::WouldWait { .. } => (StatusCode::CONFLICT, "would_wait"),
        Error::PeerExists { .. } => (StatusCode::CONFLICT, "peer_exists"),
        Error::Revoked { .. } => (StatusCode::CONFLICT, "revoked"),
        Error::RestoreConflict => (StatusCode::CONFLICT, "restore_conflict"),
        Error::RestoreOverflow { .. } => (StatusCode::CONFLICT, "restore_overflow"),
        Error::TooManySemaphores { .. } => (StatusCode::SERVICE_UNAVAILABLE, "too_many_semaphores"),
        Error::TooManyPeers { .. } => (StatusCode::SERVICE_UNAVAILABLE, "too_many_peers"),
    }
}

impl From<AskError> for Refusal {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Semaphore(error) => Refusal::Semaphore(error),
            AskError::TooManyWaiters { max } => Refusal::TooManyWaiters { max },
        }
    }
}

/// What must be known of a request to refuse it, also after its head was let go.
pub struct Asker {
    accepts_problem: bool,
    /// Method and path, which name peer and semaphore; empty unless refusals are logged.
    request: String,
}

impl Asker {
    /// Of this request.
    pub fn of(request: &ServiceRequest) -> Self {
        let request_line = || format!("{} {}", request.method(), shortened(request.path().into()));
        Asker {
            accepts_problem: is_problem_accepted(request),
            request: if log_enabled!(Level::Debug) { request_line() } else { String::new() },
        }
    }
}

/// Whether the request lists `application/problem+json` as acceptable, by that very name.
fn is_problem_accepted(request: &ServiceRequest) -> bool {
    if !request.headers().contains_key(header::ACCEPT) {
        return false;
    }
    Accept::parse(request).is_ok_and(|accept| {
        accept.iter().any(|range| {
            range.item.essence_str() == PROBLEM_JSON && range.quality > header::Quality::MIN
        })
    })
}

/// Cuts a text that quotes what a client sent, and that may therefore be of any length.
fn shortened(text: String) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
