//! What must hold of every answer, whatever was asked.

use std::str;

use actix_web::http::{
    StatusCode,
    header::{self, HeaderMap},
};
use serde_json::Value;

/// The statuses that the server has, by itself.
const STATUSES: [u16; 12] = [200, 202, 400, 401, 403, 404, 405, 408, 409, 413, 415, 503];

/// A text of a refusal is no longer, in characters, its ellipsis included.
const LONGEST_TEXT: usize = 1_001;

/// An answer that is there as a whole.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body; empty for a stream.
    pub body: Vec<u8>,
}

impl Answered {
    /// Whether the request was refused, or could not be served.
    pub fn is_refusal(&self) -> bool {
        self.status.as_u16() >= 400
    }

    /// Checks all that can be said of it without knowing what was asked.
    pub fn check(&self) {
        assert!(STATUSES.contains(&self.status.as_u16()), "{self:?}");
        assert_eq!(1, self.headers.get_all("throttle-instance").count(), "{self:?}");
        if self.is_refusal() {
            self.check_refusal();
        } else if self.content_type() == "application/json" {
            serde_json::from_slice::<Value>(&self.body).expect("an answer is the JSON it claims");
        }
        if let Some(lease) = self.headers.get("throttle-expires-in") {
            let ms = lease.to_str().ok().and_then(|lease| lease.strip_suffix("ms"));
            assert!(ms.is_some_and(|ms| ms.parse::<u64>().is_ok()), "{self:?}");
        }
    }

    fn content_type(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap())
    }

    /// It says why, in a form that it names, and what to do about it.
    fn check_refusal(&self) {
        let text = str::from_utf8(&self.body).expect("a refusal is text");
        assert!(!text.trim().is_empty(), "{self:?}");
        let detail = match self.content_type() {
            "application/problem+json" => {
                let problem: Value = serde_json::from_str(text).expect("a problem is JSON");
                assert_eq!(problem["status"], self.status.as_u16(), "{self:?}");
                assert!(problem["code"].as_str().is_some_and(|code| !code.is_empty()), "{self:?}");
                problem["detail"].as_str().expect("a problem has its detail").to_owned()
            }
            "text/plain; charset=utf-8" => text.to_owned(),
            "text/html; charset=utf-8" => {
                return assert_eq!(StatusCode::NOT_FOUND, self.status, "{self:?}");
            }
            _ => panic!("{self:?}"),
        };
        assert!(detail.chars().count() <= LONGEST_TEXT, "{self:?}");
        let remedy = match self.status.as_u16() {
            401 => header::WWW_AUTHENTICATE,
            405 => header::ALLOW,
            503 => header::RETRY_AFTER,
            _ => return,
        };
        assert!(self.headers.contains_key(remedy), "{self:?}");
    }
}
