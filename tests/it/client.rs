//! HTTP as the tests speak it: exact paths and bodies out, status and text back.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;
use ureq::{
    Agent,
    http::{HeaderMap, Request},
};

/// No answer takes longer; a test that waits for one fails then.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a server answered.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and body, which is what most tests look at.
    pub fn pair(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

/// Speaks to one server. Cheap to clone, for threads.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: SocketAddr,
    agent: Agent,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE))
            .build();
        Client { address, agent: config.new_agent() }
    }

    /// Sends any request. An empty body is not sent.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let uri = format!("http://{}{path}", self.address);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = if body.is_empty() && method != "POST" && method != "PUT" {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(body.to_owned()).unwrap())
        };
        let (parts, mut body) = response.unwrap().into_parts();
        // Metrics of many semaphores are longer than what ureq takes by default.
        let body = body.with_config().limit(u64::MAX).read_to_vec().unwrap();
        let body = String::from_utf8_lossy(&body).into_owned();
        Response { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], "")
    }

    pub fn delete(&self, path: &str) -> Response {
        self.send("DELETE", path, &[], "")
    }

    pub fn put(&self, path: &str, json: &str) -> Response {
        self.send("PUT", path, &[("Content-Type", "application/json")], json)
    }

    pub fn post(&self, path: &str, json: &str) -> Response {
        self.send("POST", path, &[("Content-Type", "application/json")], json)
    }

    /// What a path shows.
    pub fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(200, response.status, "{path}: {}", response.body);
        assert_eq!(Some("application/json"), response.header("content-type"), "{path}");
        serde_json::from_str(&response.body).unwrap()
    }

    /// Names of all semaphores, as they are listed.
    pub fn names(&self) -> Vec<String> {
        let listed = self.json("/semaphores");
        let names = listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
        names.map(str::to_owned).collect()
    }

    /// Sets a semaphore by hand.
    pub fn adjust(&self, semaphore: &str, json: &str) {
        let response = self.put(&format!("/semaphores/{semaphore}"), json);
        assert_eq!(200, response.status, "{}", response.body);
    }

    /// Makes a peer whose lease outlives any test.
    pub fn new_peer(&self) -> u64 {
        self.new_peer_for("1h")
    }

    pub fn new_peer_for(&self, expires_in: &str) -> u64 {
        let response = self.post("/new_peer", &format!(r#"{{"expires_in":"{expires_in}"}}"#));
        assert_eq!(200, response.status, "{}", response.body);
        response.body.parse().unwrap()
    }

    /// Asks for a lock and returns the status.
    pub fn acquire(&self, peer: u64, semaphore: &str, count: i64) -> u16 {
        self.put(&format!("/peers/{peer}/{semaphore}"), &count.to_string()).status
    }

    pub fn remainder(&self, semaphore: &str) -> i64 {
        self.get(&format!("/remainder?semaphore={semaphore}")).body.parse().unwrap()
    }

    pub fn is_acquired(&self, peer: u64) -> bool {
        self.get(&format!("/peers/{peer}/is_acquired")).body.parse().unwrap()
    }

    /// A whole lock cycle: proves that the server still serves.
    pub fn assert_serves(&self, semaphore: &str) {
        let peer = self.new_peer();
        assert_eq!(200, self.acquire(peer, semaphore, 1));
        assert_eq!((200, "\"Peer released\""), self.delete(&format!("/peers/{peer}")).pair());
    }

    /// Sends these very bytes on a connection of their own.
    pub fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    }
}

/// Reads until the server closes the connection, or breaks it off.
pub fn read_to_end(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Polls until `condition` holds; fails the test if that takes too long.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let mut polls = 0;
    while !condition() {
        polls += 1;
        assert!(polls < 3_000, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
