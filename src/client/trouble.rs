//! Why a request was not served, in words that say what to do.

use std::{io, time::Duration};

use serde::Deserialize;
use thiserror::Error;

use super::Answer;

/// Longer texts of strangers are cut, in characters.
const LONGEST: usize = 500;

/// Why a request was not served.
#[derive(Clone, Debug, Error)]
pub enum Trouble {
    /// There was no answer, or none of use. Trying again may help.
    #[error("{text}")]
    Unreachable {
        /// What happened, and what to do.
        text: String,
        /// Whether the request may have been served.
        is_sent: bool,
        /// Whether somebody said there that it is too early, such as a server that is full.
        is_answered: bool,
        /// For how long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The server refused the request, which has changed nothing.
    #[error("{text}")]
    Refused {
        /// What the server says.
        text: String,
        /// Which refusal it is; empty if a stranger answered.
        code: String,
        /// Which start of the server answered.
        instance: Option<u64>,
    },
    /// There will never be an answer, for instance as the certificate of the server is not trusted.
    #[error("{0}")]
    Hopeless(String),
}

/// A problem document, as far as it matters here.
#[derive(Deserialize)]
struct Problem {
    detail: String,
    code: String,
}

impl Trouble {
    pub(super) fn no_answer(url: &str, error: &ureq::Error, patience: Duration) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidData,
            UnexpectedEof,
        };
        const BROKEN: [io::ErrorKind; 4] =
            [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof];
        const REMEDY: &str = "start one with `throttle`, or name it with --url";
        let text = match error {
            ureq::Error::Io(error) if error.kind() == ConnectionRefused => {
                format!("no server at {url}: {REMEDY}")
            }
            ureq::Error::HostNotFound => {
                format!("no server at {url}, for nobody knows that name: {REMEDY}")
            }
            ureq::Error::Timeout(_) => {
                let patience = humantime::format_duration(whole_ms(patience));
                format!("no answer from {url} within {patience}")
            }
            // That is how certificates are complained of, and what is no TLS at all.
            ureq::Error::Io(error) if error.kind() == InvalidData => {
                let is_plain = error.to_string().contains("InvalidContentType");
                let remedy = if is_plain { "; does it speak plain http://?" } else { "" };
                return Trouble::Hopeless(format!("no TLS connection to {url}: {error}{remedy}"));
            }
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::Pem(_) => {
                return Trouble::Hopeless(format!("no TLS connection to {url}: {error}"));
            }
            ureq::Error::Http(_) | ureq::Error::BadUri(_) => {
                return Trouble::Hopeless(format!("cannot ask {url}: {error}"));
            }
            ureq::Error::BodyExceedsLimit(_) => {
                return Trouble::stranger(url, "it does not end");
            }
            ureq::Error::Io(error) if BROKEN.contains(&error.kind()) => {
                format!("the connection to {url} broke")
            }
            error => format!("no answer from {url}: {error}"),
        };
        let is_sent = match error {
            ureq::Error::Io(error) => error.kind() != ConnectionRefused,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => false,
            ureq::Error::Timeout(timeout) => {
                !matches!(timeout, ureq::Timeout::Resolve | ureq::Timeout::Connect)
            }
            _ => true,
        };
        Trouble::Unreachable { text, is_sent, is_answered: false, retry_after: None }
    }

    /// What an answer means that is not good, from the server at `url`.
    pub fn refused(url: &str, answer: Answer) -> Self {
        let problem = answer.is_problem.then(|| answer.json::<Problem>()).flatten();
        let (text, code) = problem.map_or_else(
            || (shorten(&answer.body), String::new()),
            |Problem { detail, code }| (detail, code),
        );
        let Answer { status, instance, retry_after, .. } = answer;
        let is_passing = matches!(status, 408 | 429 | 500 | 502..);
        if is_passing {
            let text = format!("{url} answered {status}: {text}");
            // What a gateway says of itself tells nothing of the server behind it.
            let is_answered = instance.is_some() || retry_after.is_some();
            let is_sent = instance.is_none();
            return Trouble::Unreachable { text, is_sent, is_answered, retry_after };
        }
        if code.is_empty() {
            return Trouble::stranger(url, &format!("{status}: {text}"));
        }
        let text = match code.as_str() {
            "unauthorized" => {
                format!("{text}; set THROTTLE_ADMIN_TOKEN to the `admin.token` of {url}")
            }
            "forbidden" => format!(
                "{text}; or configure an `admin.token` there, and set THROTTLE_ADMIN_TOKEN to it"
            ),
            _ => text,
        };
        Trouble::Refused { text, code, instance }
    }

    /// A request that could not even be sent.
    pub fn not_sent(text: String) -> Self {
        Trouble::Unreachable { text, is_sent: false, is_answered: false, retry_after: None }
    }

    /// Something answers there that does not speak like a server of ours.
    pub fn stranger(url: &str, answered: &str) -> Self {
        let answered = shorten(answered);
        let text = format!("unexpected answer from {url}, is that a Throttle server? {answered}");
        Trouble::Refused { text, code: String::new(), instance: None }
    }

    /// For how long the server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Trouble::Unreachable { retry_after, .. } => *retry_after,
            Trouble::Refused { .. } | Trouble::Hopeless(_) => None,
        }
    }

    /// Whether it was something else that answered there, such as a gateway.
    pub fn is_of_stranger(&self) -> bool {
        self.is("")
    }

    /// Whether the server refused it for this reason.
    pub fn is(&self, reason: &str) -> bool {
        matches!(self, Trouble::Refused { code, .. } if code == reason)
    }
}

fn whole_ms(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The first line of what may be a whole page.
fn shorten(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}
