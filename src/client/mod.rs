//! Requests to a server, for the subcommands: one request, one answer. No policy: it holds nothing,
//! renews nothing and repeats nothing. Nothing here is used by the server.

mod answer;
mod server_url;
mod trouble;

use std::{sync::Arc, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::{
    Agent,
    http::Request as HttpRequest,
    tls::{RootCerts, TlsConfig},
};

pub use self::{answer::Answer, server_url::ServerUrl, trouble::Trouble};
use crate::clock;

/// How long an answer may take, beyond what the server was asked to wait.
pub const REPLY: Duration = Duration::from_secs(10);

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Whoever answers more than this is no server of ours, in bytes. Lists are longer.
const LONGEST: u64 = 64 << 10;
const LONGEST_LIST: u64 = 256 << 20;

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Refusals come with a code then.
const ACCEPTED: &str = "application/problem+json, */*";

const USER_AGENT: &str = concat!("throttle/", env!("CARGO_PKG_VERSION"));

/// The way to one server. Cheap to clone, for threads; connections are kept and shared.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    server: Arc<ServerUrl>,
    admin_token: Option<Arc<str>>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    path: String,
    body: Option<Value>,
    is_administrative: bool,
}

impl Client {
    /// Of this server. Nothing is sent yet.
    pub fn new(server: ServerUrl) -> Self {
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(crypto)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A server inside one's network is not reached by way of a proxy to the outside.
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(USER_AGENT)
            .accept(ACCEPTED)
            .tls_config(tls)
            .build();
        Client { agent: config.new_agent(), server: Arc::new(server), admin_token: None }
    }

    /// The same, with the token of its configuration for administrative requests.
    pub fn with_admin_token(self, token: Option<String>) -> Self {
        Client { admin_token: token.map(Arc::from), ..self }
    }

    /// Where it is, as people may read it.
    pub fn url(&self) -> &str {
        self.server.base()
    }

    /// Where it is, with credentials, for another process.
    pub fn url_with_credentials(&self) -> &str {
        self.server.given()
    }

    /// Sends a request once, and waits for its answer for `patience` at most.
    ///
    /// # Errors
    /// [`Trouble`]. The request may have been served all the same where there was no answer.
    pub fn send(&self, request: &Request, patience: Duration) -> Result<Answer, Trouble> {
        let sent_at = clock::since_boot();
        let response = self
            .exchange(request, patience)
            .map_err(|error| Trouble::no_answer(self.url(), &error, patience))?;
        let longest = if request.method == "GET" { LONGEST_LIST } else { LONGEST };
        let answer = Answer::read(response, sent_at, longest);
        let answer = answer.map_err(|error| Trouble::no_answer(self.url(), &error, patience))?;
        if answer.is_good() { Ok(answer) } else { Err(Trouble::refused(self.url(), answer)) }
    }

    fn exchange(
        &self,
        request: &Request,
        patience: Duration,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let url = format!("{}{}", self.server.base(), request.path);
        let mut builder = HttpRequest::builder().method(request.method).uri(url);
        let admin_token = self.admin_token.as_ref().filter(|_| request.is_administrative);
        let bearer = admin_token.map(|token| format!("Bearer {token}"));
        if let Some(authorization) = bearer.as_deref().or(self.server.authorization()) {
            builder = builder.header("Authorization", authorization);
        }
        if request.body.is_some() {
            builder = builder.header("Content-Type", "application/json");
        }
        let body = request.body.as_ref().map(Value::to_string).unwrap_or_default();
        let http = builder.body(body)?;
        let http = self
            .agent
            .configure_request(http)
            .timeout_global(Some(patience))
            .timeout_connect(Some(CONNECT.min(patience)))
            // A DELETE has no body as a rule.
            .allow_non_standard_methods(true)
            .build();
        self.agent.run(http)
    }
}

impl Request {
    /// A request whose path consists of these parts, each of which is encoded by itself.
    pub fn new<'a>(
        method: &'static str,
        segments: impl IntoIterator<Item = impl ToString + 'a>,
    ) -> Self {
        let mut path = String::new();
        for segment in segments {
            path.push('/');
            encode(&segment.to_string(), &mut path);
        }
        Request { method, path, body: None, is_administrative: false }
    }

    /// The same, with a further parameter.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        encode(&value.to_string(), &mut self.path);
        self
    }

    /// The same, with this body.
    pub fn body(self, body: Value) -> Self {
        Request { body: Some(body), ..self }
    }

    /// The same, one that only administrators may send.
    pub fn administrative(self) -> Self {
        Request { is_administrative: true, ..self }
    }
}

/// Percent-encodes a part of a path or a query; dots that would mean a place in a path, too.
fn encode(text: &str, path: &mut String) {
    match text.bytes().all(|byte| byte == b'.') {
        true => path.push_str(&text.replace('.', "%2E")),
        false => path.extend(utf8_percent_encode(text, RESERVED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_reach_their_semaphore() {
        let path = |name: &str| Request::new("GET", ["semaphores", name]).path;

        assert_eq!("/semaphores/A", path("A"));
        assert_eq!("/semaphores/a%2Fb%20%2541%C3%A4%3F", path("a/b %41ä?"));
        assert_eq!("/semaphores/%2E%2E", path(".."));
        assert_eq!("/semaphores/v1.2", path("v1.2"));
    }

    #[test]
    fn parameters_are_encoded() {
        let request = Request::new("GET", ["remainder"]).with("semaphore", "a&b").with("limit", 5);

        assert_eq!("/remainder?semaphore=a%26b&limit=5", request.path);
    }
}
