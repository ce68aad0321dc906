//! What a server answers, or whoever else listens there, as the subcommands read it.
//!
//! The bytes are an answer as it comes over the wire, its body without any framing.

use std::time::Duration;

use httparse::{EMPTY_HEADER, Response, Status};
use serde_json::Value;
use throttle::client::{Answer, Trouble};
use ureq::{Body, http};

const URL: &str = "http://localhost:8000";

/// Whoever answers as much, in bytes, is no server of ours.
const LONGEST: u64 = 1_000;

/// Reads the answer, and says what it means.
pub fn run(bytes: &[u8]) {
    let Some((response, body)) = response(bytes) else { return };
    let is_too_long = body.len() as u64 >= LONGEST;
    let answer = match Answer::read(response, Duration::ZERO, LONGEST) {
        Ok(answer) => answer,
        Err(error) => return assert!(is_too_long, "{error}"),
    };
    assert!(!is_too_long);
    assert_eq!(String::from_utf8_lossy(body), answer.body);
    let json = serde_json::from_slice::<Value>(body).ok();
    // What is no text is no JSON either, but a letter that replaces it may stand in some.
    assert!(json.is_none() || json == answer.json::<Value>());
    if !answer.is_good() {
        check_trouble(answer);
    }
}

fn response(bytes: &[u8]) -> Option<(http::Response<Body>, &[u8])> {
    let mut headers = [EMPTY_HEADER; 16];
    let mut head = Response::new(&mut headers);
    let Ok(Status::Complete(length)) = head.parse(bytes) else { return None };
    let mut response = http::Response::builder().status(head.code?);
    for header in head.headers.iter() {
        response = response.header(header.name, header.value);
    }
    let body = &bytes[length..];
    Some((response.body(Body::builder().data(body)).ok()?, body))
}

/// Whatever came, it is told in a few words, and a refusal is told from a failure.
fn check_trouble(answer: Answer) {
    let (status, body, is_problem) = (answer.status, answer.body.clone(), answer.is_problem);
    let trouble = Trouble::refused(URL, answer.clone());
    let text = trouble.to_string();
    assert!(!text.is_empty());
    match &trouble {
        Trouble::Unreachable { retry_after, is_answered, is_sent, .. } => {
            assert!(matches!(status, 408 | 429 | 500 | 502..), "{status}");
            assert_eq!(&answer.retry_after, retry_after);
            assert_eq!(answer.instance.is_some() || retry_after.is_some(), *is_answered);
            assert_eq!(answer.instance.is_none(), *is_sent);
        }
        Trouble::Refused { code, .. } => {
            let says = |key| serde_json::from_str::<Value>(&body).ok()?[key].as_str().map(str::len);
            assert!(code.is_empty() || is_problem && says("code") == Some(code.len()), "{code}");
            assert_eq!(code.is_empty(), trouble.is_of_stranger());
        }
        Trouble::Hopeless(_) => panic!("there was an answer"),
    }
    if !is_problem {
        assert!(text.chars().count() < 1_000, "{text}");
    }
}
