//! Who listens to `GET /events`, as a browser does: one event after the other.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    time::Instant,
};

use serde_json::Value;

use crate::client::{Client, PATIENCE};

/// A stream of events.
pub struct Listener {
    pub status: u16,
    /// All lines of the head, in lower case.
    pub head: String,
    stream: BufReader<TcpStream>,
    /// What was received and not looked at yet.
    text: String,
    /// The id up to which all was seen.
    pub last_id: String,
    /// Whether the server has ended the answer as HTTP wants it.
    pub is_whole: bool,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: String,
    pub kind: String,
    pub data: Value,
}

impl Event {
    /// Which semaphore, and whose lock.
    pub fn lock(&self) -> (&str, &str, u64) {
        let semaphore = self.data["semaphore"].as_str().unwrap();
        (&self.kind, semaphore, self.data["peer"].as_u64().unwrap())
    }

    /// How many things had happened before, and this one.
    pub fn number(&self) -> u64 {
        self.id.rsplit_once('-').unwrap().1.parse().unwrap()
    }
}

impl Listener {
    /// Has begun to listen when this returns.
    pub fn at(client: &Client, path: &str) -> Self {
        Listener::with(client, path, "")
    }

    /// Goes on after the event of that id.
    pub fn after(client: &Client, last_event_id: &str) -> Self {
        Listener::with(client, "/events", &format!("Last-Event-ID: {last_event_id}\r\n"))
    }

    fn with(client: &Client, path: &str, header: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n");
        let mut stream = BufReader::new(client.raw(request.as_bytes()));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(0, stream.read_line(&mut head).unwrap(), "{head}");
        }
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let (text, last_id) = (String::new(), String::new());
        Listener { status, head, stream, text, last_id, is_whole: false }
    }

    /// The next event; `None` at the end of the stream.
    pub fn next(&mut self) -> Option<Event> {
        let start = Instant::now();
        loop {
            let message = self.message()?;
            // A quiet stream goes on for ever.
            assert!(start.elapsed() < PATIENCE, "no event comes, only {message}");
            let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name));
            let Some(data) = field("data: ") else { continue };
            return Some(Event {
                id: self.last_id.clone(),
                kind: field("event: ").unwrap().to_owned(),
                data: serde_json::from_str(data).unwrap(),
            });
        }
    }

    /// The next event, which must be there.
    pub fn event(&mut self) -> Event {
        self.next().unwrap_or_else(|| panic!("the stream has ended"))
    }

    /// The next events up to the first of that kind, that one included.
    pub fn until(&mut self, kind: &str) -> Vec<Event> {
        let mut events = vec![self.event()];
        while events.last().unwrap().kind != kind {
            events.push(self.event());
        }
        events
    }

    /// The next message, also one that is no event.
    pub fn message(&mut self) -> Option<String> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                let id = message.lines().find_map(|line| line.strip_prefix("id: "));
                self.last_id = id.map_or_else(|| self.last_id.clone(), str::to_owned);
                self.text = rest;
                return Some(message);
            }
            let chunk = self.chunk()?;
            self.text.push_str(&chunk);
        }
    }

    fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.stream.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).unwrap();
        self.is_whole = size == 0;
        chunk.truncate(size);
        (size > 0).then(|| String::from_utf8(chunk).unwrap())
    }
}
