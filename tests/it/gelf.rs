//! Log messages as Graylog gets them, beside those on standard error.

use std::{
    collections::HashMap,
    io::Read,
    net::UdpSocket,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::{client::eventually, server::Server};

/// Takes messages as Graylog does.
struct Graylog {
    socket: UdpSocket,
    /// Pieces of messages that have not arrived as a whole, by the message's id.
    pieces: HashMap<[u8; 8], Vec<Option<Vec<u8>>>>,
    chunks: usize,
}

impl Graylog {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Graylog { socket, pieces: HashMap::new(), chunks: 0 }
    }

    /// The configuration of a server that logs here.
    fn table(&self, more: &str) -> String {
        let port = self.socket.local_addr().unwrap().port();
        format!("[logging.gelf]\nhost = \"127.0.0.1\"\nport = {port}\n{more}\n")
    }

    /// The next message.
    fn next(&mut self) -> Value {
        loop {
            let mut datagram = [0; 65_536];
            let length = self.socket.recv(&mut datagram).unwrap();
            assert!(length <= 8_192, "{length}");
            let Some(payload) = self.whole(&datagram[..length]) else { continue };
            let mut json = String::new();
            GzDecoder::new(&*payload).read_to_string(&mut json).unwrap();
            return serde_json::from_str(&json).unwrap();
        }
    }

    /// The payload of a message once its last piece has come.
    fn whole(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        if !datagram.starts_with(&[0x1e, 0x0f]) {
            return Some(datagram.to_vec());
        }
        self.chunks += 1;
        let (head, piece) = datagram.split_at(12);
        let id: [u8; 8] = head[2..10].try_into().unwrap();
        let (number, count) = (usize::from(head[10]), usize::from(head[11]));
        let pieces = self.pieces.entry(id).or_insert_with(|| vec![None; count]);
        assert_eq!(count, pieces.len());
        assert!(pieces[number].replace(piece.to_vec()).is_none(), "each comes once");
        let payload: Vec<_> = pieces.iter().flatten().flatten().copied().collect();
        let is_whole = pieces.iter().all(Option::is_some);
        is_whole.then(|| self.pieces.remove(&id)).map(|_| payload)
    }

    /// The next message with this text in it.
    fn next_with(&mut self, text: &str) -> Value {
        loop {
            let message = self.next();
            if message["short_message"].as_str().unwrap().contains(text) {
                return message;
            }
        }
    }
}

/// Has a peer expire that holds permits of this semaphore.
fn expire_holder(server: &Server, semaphore: &str, count: i64) -> u64 {
    let peer = server.new_peer();
    assert_eq!(200, server.acquire(peer, semaphore, count));
    assert_eq!(200, server.put(&format!("/peers/{peer}"), r#"{"expires_in":"0s"}"#).status);
    peer
}

#[test]
fn start_is_logged_to_both() {
    let mut graylog = Graylog::new();
    let levels = "level = \"info\"\n[logging.stderr]\nlevel = \"info\"";
    let before = now();
    let server = Server::start(&graylog.table(levels));

    for (level, number, target, text) in [
        ("INFO ", 6, "throttle", "Hello From Throttle"),
        ("WARN ", 4, "throttle", "No semaphores configured."),
        ("INFO ", 6, "throttle::litter_collection", "Start litter collection with interval: 300s"),
    ] {
        let message = graylog.next_with(text);

        assert_eq!("1.1", message["version"]);
        assert_eq!("throttle", message["host"]);
        assert_eq!(text, message["short_message"]);
        assert_eq!(number, message["level"]);
        assert_eq!(target, message["_target"]);
        assert!(message["_pid"].is_u64() && message["_line"].is_u64(), "{message}");
        assert!(message["_file"].as_str().unwrap().ends_with(".rs"), "{message}");
        assert!(message["_module"].as_str().unwrap().starts_with("throttle::"), "{message}");
        let timestamp = message["timestamp"].as_f64().unwrap();
        assert!((before - 1.0..now() + 1.0).contains(&timestamp), "{message}");
        // Without the key-values, as ever.
        let line = format!("{level} {target}] {text}\n");
        eventually(&line, || server.stderr().contains(&line));
    }
}

fn now() -> f64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

#[test]
fn values_are_fields_and_numbers_are_numbers() {
    let mut graylog = Graylog::new();
    let table = graylog.table("name = \"berlin\"\nlevel = \"Debug\"");
    let server = Server::start(&format!("[semaphores]\nA = 3\n{table}"));

    let start = graylog.next_with("Hello From Throttle");
    assert_eq!("127.0.0.1", start["_address"]);
    assert_eq!(0, start["_port"]);
    assert_eq!("berlin", start["host"]);
    let collection = graylog.next_with("Start litter collection");
    assert_eq!(300.0, collection["_interval_seconds"]);

    let peer = expire_holder(&server, "A", 2);
    let expired = graylog.next_with(&format!("expired peer {peer}, held 2 of `A`"));
    assert_eq!(peer, expired["_peer"]);
    assert_eq!(1, expired["_locks"]);

    server.put("/peers/7/B", "\"secret\"");
    let refused = graylog.next_with("PUT /peers/7/B refused");
    assert_eq!(400, refused["_status"]);
    assert_eq!("bad_body", refused["_code"]);
    assert!(!refused.to_string().contains("secret"), "never a body: {refused}");
}

#[test]
fn each_sink_has_its_level() {
    let mut graylog = Graylog::new();
    let configuration = graylog.table("level = \"debug\"");
    let quiet = Server::start_with(&configuration, |command| command.env("THROTTLE_LOG", "off"));
    quiet.get("/remainder?semaphore=B");
    graylog.next_with("refused with 400");
    assert!(!quiet.stderr().contains("throttle]"), "{}", quiet.stderr());

    let mut graylog = Graylog::new();
    let configuration = graylog.table("level = \"warn\"");
    let verbose =
        Server::start_with(&configuration, |command| command.env("THROTTLE_LOG", "debug"));
    let line = "refused with 400: unknown_semaphore";
    verbose.get("/remainder?semaphore=B");
    eventually(line, || verbose.stderr().contains(line));
    let first = graylog.next();
    assert_eq!("No semaphores configured.", first["short_message"]);
    graylog.socket.set_nonblocking(true).unwrap();
    assert!(graylog.socket.recv(&mut [0; 1]).is_err(), "nothing below the level");
}

/// Errors to actix; nobody has to act.
#[test]
fn strangers_who_do_not_speak_http_are_not_logged() {
    let mut graylog = Graylog::new();
    let configuration = graylog.table("level = \"trace\"");
    let server = Server::start(&configuration);

    crate::client::read_to_end(server.raw(b"\x16\x03\x01 nonsense\r\n\r\n"));
    server.get("/remainder?semaphore=B");

    loop {
        let message = graylog.next();
        let target = message["_target"].as_str().unwrap();
        assert!(!target.starts_with("actix_http::h1::dispatcher"), "{message}");
        if message["short_message"].as_str().unwrap().contains("refused with") {
            break;
        }
    }
}

#[test]
fn long_message_comes_in_chunks() {
    let name = incompressible(20_000);
    let mut graylog = Graylog::new();
    let configuration = format!("[semaphores]\n{name} = 1\n{}", graylog.table(""));
    let server = Server::start(&configuration);

    let peer = expire_holder(&server, &name, 1);

    let message = graylog.next_with("expired peer");
    let text = message["short_message"].as_str().unwrap();
    let held_for = text.strip_prefix(&format!("expired peer {peer}, held 1 of `{name}` for "));
    assert!(held_for.is_some_and(|it| humantime::parse_duration(it).is_ok()), "{held_for:?}");
    assert!(graylog.chunks > 1, "{}", graylog.chunks);
}

/// Letters and digits in no order; a xorshift generator.
fn incompressible(length: usize) -> String {
    let letters: Vec<_> = ('0'..='9').chain('A'..='Z').chain('a'..='z').collect();
    let mut state = 88_172_645_463_325_252_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        letters[(state >> 32) as usize % letters.len()]
    };
    (0..length).map(|_| draw()).collect()
}

#[test]
fn graylog_that_is_not_there_neither_stops_nor_slows_the_server_and_is_reported_once() {
    // It takes datagrams of one sender only, and refuses ours.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    deaf.connect("127.0.0.1:9").unwrap();
    // DNS allows 63 letters in a row, so no name server is asked.
    let unknown = "x".repeat(64);
    for (host, port) in
        [("127.0.0.1", deaf.local_addr().unwrap().port()), (unknown.as_str(), 12201)]
    {
        let table = format!("host = \"{host}\"\nport = {port}\nlevel = \"debug\"");
        let configuration = format!("[semaphores]\nA = 1\n[logging.gelf]\n{table}\n");
        let server = Server::start(&configuration);
        let report = format!("cannot send log messages to Graylog at `{host}`, port {port}: ");
        let start = Instant::now();

        for _ in 0..100 {
            assert_eq!(400, server.get("/remainder?semaphore=B").status);
            server.assert_serves("A");
        }

        // Not a speed test: one wait for a name server alone would take longer.
        assert!(start.elapsed().as_secs() < 4, "{:?}", start.elapsed());
        eventually(&report, || server.stderr().contains(&report));
        // For as long as names are resolved anew.
        std::thread::sleep(Duration::from_millis(1_100));
        expire_holder(&server, "A", 1);
        eventually("it is on standard error", || server.stderr().contains("expired peer"));
        assert_eq!(1, server.stderr().matches("Graylog").count(), "{}", server.stderr());
    }
}

#[cfg(unix)]
#[test]
fn what_is_logged_at_the_end_arrives() {
    let mut graylog = Graylog::new();
    let mut server = Server::start(&graylog.table("level = \"info\""));

    server.signal("TERM");

    let message = graylog.next_with("SIGTERM received, shutting down");
    assert_eq!("SIGTERM", message["_signal"]);
    assert_eq!(Some(0), server.wait().code());
}
