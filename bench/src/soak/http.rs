//! Requests and answers, as the soak needs them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{engine::Reply, wire::Protocol};

/// An answer to somebody who asks alone comes by then.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// A request that is put together.
#[derive(Clone, Debug)]
pub struct Sent {
    method: &'static str,
    target: String,
    body: Option<String>,
    content_type: &'static str,
    headers: String,
}

impl Sent {
    /// A request without a body.
    pub fn new(method: &'static str, target: &str) -> Self {
        Sent {
            method,
            target: target.to_owned(),
            body: None,
            content_type: "application/json",
            headers: String::new(),
        }
    }

    /// With this body.
    pub fn body(self, body: &str) -> Self {
        Sent { body: Some(body.to_owned()), ..self }
    }

    /// With this body.
    pub fn json(self, body: &Value) -> Self {
        self.body(&body.to_string())
    }

    /// With the body declared as this.
    pub fn content_type(self, content_type: &'static str) -> Self {
        Sent { content_type, ..self }
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    /// As it goes over the wire.
    pub fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let Sent { method, target, body, content_type, headers } = self;
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n{headers}");
        match body {
            None => format!("{head}\r\n"),
            Some(body) => format!(
                "{head}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        }
        .into_bytes()
    }

    /// What it asks, as messages name it.
    pub fn line(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        format!("{} {} {body}", self.method, self.target)
    }

    /// Sends it over a connection of its own, and returns status and body.
    ///
    /// # Errors
    /// Where there is no whole answer in time.
    pub fn alone(&self, address: SocketAddr) -> Result<(u16, Vec<u8>)> {
        self.over(&mut TcpStream::connect(address)?)
    }

    /// Sends it over a connection that may be used again afterwards.
    ///
    /// # Errors
    /// As [`Sent::alone`].
    pub fn over(&self, stream: &mut TcpStream) -> Result<(u16, Vec<u8>)> {
        stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
        stream.write_all(&self.bytes(stream.peer_addr()?))?;
        let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let count = stream.read(&mut buffer).with_context(|| self.line())?;
            ensure!(count > 0, "{}: the connection was closed", self.line());
            answer.extend_from_slice(&buffer[..count]);
            if let Some(framed) = Protocol::Http.frame(&answer)? {
                return Ok((framed.code, answer[framed.body].to_vec()));
            }
        }
    }

    /// As [`Sent::alone`], where the answer must be 200.
    ///
    /// # Errors
    /// Where it is not.
    pub fn ok(&self, address: SocketAddr) -> Result<Vec<u8>> {
        let (code, body) = self.alone(address)?;
        let said = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        ensure!(code == 200, "{}: {code} {said}", self.line());
        Ok(body)
    }
}

/// A duration as the server reads it.
pub fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// The token that an answer carries.
pub fn token(reply: &Reply<'_>) -> Option<u64> {
    let head = std::str::from_utf8(reply.head).ok()?;
    let values = head.lines().filter_map(|line| line.split_once(':'));
    let mut tokens = values.filter(|(name, _)| name.eq_ignore_ascii_case("throttle-token"));
    tokens.next()?.1.trim().parse().ok()
}

/// The code of a refusal that was answered as a problem document; empty for anything else.
pub fn code(reply: &Reply<'_>) -> String {
    let problem: Value = serde_json::from_slice(reply.body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}
