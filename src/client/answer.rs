//! What a server answered, as far as a subcommand wants to know.

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::{Body, http::Response};

use crate::clock;

/// An answer, of whatever status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The whole text.
    pub body: String,
    /// When the request was sent, a time of [`crate::clock::since_boot`]: a lease that it renews
    /// begins then at the earliest.
    pub sent_at: Duration,
    /// When the answer was there, a time of the same clock.
    pub received_at: Duration,
    /// What is left of the lease of the peer, from some moment before that on.
    pub expires_in: Option<Duration>,
    /// The fencing token of a grant.
    pub token: Option<u64>,
    /// Which start of the server answers.
    pub instance: Option<u64>,
    /// For how long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether the body is a problem document (RFC 9457).
    pub is_problem: bool,
}

impl Answer {
    /// Reads an answer to its end, if that is fewer than `longest` bytes away. `sent_at` is when
    /// the request was sent, a time of [`crate::clock::since_boot`].
    ///
    /// # Errors
    /// Where the body breaks off, or is as long as that.
    pub fn read(
        response: Response<Body>,
        sent_at: Duration,
        longest: u64,
    ) -> Result<Self, ureq::Error> {
        let (parts, mut body) = response.into_parts();
        let header = |name: &str| parts.headers.get(name)?.to_str().ok();
        let number = |name: &str| header(name)?.parse::<u64>().ok();
        let expires_in = header("throttle-expires-in").and_then(|text| text.strip_suffix("ms"));
        let content_type = header("content-type").unwrap_or_default();
        let is_problem = content_type.starts_with("application/problem+json");
        let bytes = body.with_config().limit(longest).read_to_vec()?;
        // ureq would replace what is no UTF-8 only in what calls itself text.
        let text = String::from_utf8(bytes);
        let text = text.unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        Ok(Answer {
            status: parts.status.as_u16(),
            body: text,
            sent_at,
            received_at: clock::since_boot(),
            expires_in: expires_in.and_then(|ms| ms.parse().ok()).map(Duration::from_millis),
            token: number("throttle-token"),
            instance: number("throttle-instance"),
            retry_after: number("retry-after").map(Duration::from_secs),
            is_problem,
        })
    }

    /// Whether the request was served.
    pub fn is_good(&self) -> bool {
        matches!(self.status, 200 | 202)
    }

    /// What the body says in JSON; `None` where it says something else.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_that_is_no_text_is_read_all_the_same() {
        let response = Response::builder().status(502).header("content-type", "application/x");
        let response = response.body(Body::builder().data(b"bad \xff gateway")).unwrap();

        let answer = Answer::read(response, Duration::ZERO, 100).unwrap();

        assert_eq!((502, "bad \u{fffd} gateway"), (answer.status, &*answer.body));
    }
}
