//! Where an answer ends, in each of the protocols that the servers speak.

pub mod postgres;
pub mod redis;

use std::ops::Range;

use anyhow::{Context, Result, bail};

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, answers with a length.
    Http,
    /// Redis' RESP, version 2.
    Redis,
    /// PostgreSQL's frontend/backend protocol, version 3.
    Postgres,
}

/// One whole answer at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Framed {
    /// 200 and so on.
    pub code: u16,
    /// Where what it says lies.
    pub body: Range<usize>,
    /// Where it ends.
    pub end: usize,
}

impl Protocol {
    /// Finds the end of an answer; `None` where that is still to come.
    ///
    /// # Errors
    /// Where the bytes are no answer in this protocol.
    pub fn frame(self, bytes: &[u8]) -> Result<Option<Framed>> {
        match self {
            Protocol::Http => http(bytes),
            Protocol::Redis => redis::frame(bytes),
            Protocol::Postgres => postgres::frame(bytes),
        }
    }

    /// What is sent on a new connection, and answered, before its first request; often nothing.
    pub fn greeting(self) -> &'static [u8] {
        match self {
            Protocol::Http | Protocol::Redis => &[],
            Protocol::Postgres => postgres::STARTUP,
        }
    }
}

fn http(bytes: &[u8]) -> Result<Option<Framed>> {
    let mut headers = [httparse::EMPTY_HEADER; 24];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    let code = response.code.context("an answer without a status")?;
    let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length: usize = match length {
        Some(header) => std::str::from_utf8(header.value)?.trim().parse()?,
        None => {
            // A gateway gives its errors in chunks; what they say must not be lost.
            let text = String::from_utf8_lossy(&bytes[head..]);
            bail!("an answer {code} without a Content-Length: {text}")
        }
    };
    let end = head + length;
    Ok((bytes.len() >= end).then_some(Framed { code, body: head..end, end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_answer_ends_where_its_length_says() {
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nOk";

        for end in 0..answer.len() {
            assert_eq!(None, Protocol::Http.frame(&answer[..end]).unwrap());
        }
        let framed = Protocol::Http.frame(answer).unwrap().unwrap();
        assert_eq!(
            (202, &b"Ok"[..], answer.len()),
            (framed.code, &answer[framed.body], framed.end)
        );
    }
}
