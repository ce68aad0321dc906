//! Bytes on a connection, through actix's own parser and the real handlers.
//!
//! The bytes are what a client sends, all at once; or, where the first is a control character, in
//! pieces of so many bytes. Then it waits for a while, and hangs up.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use actix_service::{Service, ServiceFactory};
use actix_web::rt::task::JoinHandle;
use httparse::{EMPTY_HEADER, Response, Status, parse_chunk_size};
use throttle::{
    server::protocol,
    watch::{Allowed, Watch},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf, duplex, split},
    task::spawn_local,
    time::{sleep, timeout},
};

use crate::server::{self, Server, Start, settle};

/// As much as a socket takes.
const BUFFER: usize = 64 * 1024;

/// Nobody waits for a client that takes nothing for longer; nor is a connection that was hung up
/// open for longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the server answers by itself, and what actix answers for it.
const STATUSES: [u16; 14] = [100, 200, 202, 400, 401, 403, 404, 405, 408, 409, 413, 415, 431, 503];

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends all of it. Whoever comes afterwards is served.
pub fn run(bytes: &[u8]) {
    server::run(async {
        let server = Server::start(Start::default());
        let (piece, bytes) = match bytes {
            [first @ 1..0x20, rest @ ..] if ![b'\r', b'\n'].contains(first) => {
                (usize::from(*first), rest)
            }
            _ => (BUFFER, bytes),
        };
        let answers = talk(&server, bytes.chunks(piece)).await;
        let may_lack_body = bytes.windows(5).any(|window| window == b"HEAD ");
        check_answers(&answers, may_lack_body);
        assert_eq!(0, server.api.state.overview().waiters);
        let drained = server.api.in_flight.drain(Duration::from_secs(60));
        assert!(timeout(Duration::from_secs(30), drained).await.is_ok(), "a request is in flight");

        let served = talk(&server, [HEALTH].into_iter()).await;
        let served = String::from_utf8(served).unwrap();
        assert!(
            served.starts_with("HTTP/1.1 200 OK\r\n") && served.ends_with("\r\n\r\nOk"),
            "{served}"
        );
    });
}

/// Returns all that was answered.
async fn talk<'a>(server: &Server, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut client = Client::connect(server).await;
    for piece in pieces {
        client.send(piece).await;
        settle().await;
    }
    // Longer than a body may take, and shorter than a request may be parked.
    sleep(Duration::from_secs(15)).await;
    client.hang_up().await
}

struct Client {
    writer: WriteHalf<DuplexStream>,
    reader: JoinHandle<()>,
    answers: Rc<RefCell<Vec<u8>>>,
    connection: JoinHandle<()>,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        let (ours, theirs) = duplex(BUFFER);
        let service = protocol(server.api.clone(), server.header_timeout).new_service(()).await;
        let service = service.expect("a service is made of what is there");
        let allowed = Allowed { head: server.header_timeout, idle: Duration::from_secs(600) };
        let watch = Watch::start(allowed);
        let address = SocketAddr::from(([127, 0, 0, 1], 50_000));
        let connection = spawn_local(async move {
            // That it broke off is no trouble of the server.
            let _ = service.call((watch.over(theirs), Some(address))).await;
        });
        let (mut reading, writer) = split(ours);
        let answers = Rc::new(RefCell::new(Vec::new()));
        let sink = answers.clone();
        let reader = spawn_local(async move {
            let mut buffer = vec![0; BUFFER];
            while let Ok(count @ 1..) = reading.read(&mut buffer).await {
                sink.borrow_mut().extend_from_slice(&buffer[..count]);
            }
        });
        Client { writer, reader, answers, connection }
    }

    /// A server that hangs up takes no more.
    async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(PATIENCE, self.writer.write_all(bytes)).await;
        let _ = sent.expect("the server reads on, or hangs up");
    }

    async fn hang_up(mut self) -> Vec<u8> {
        let _ = timeout(PATIENCE, self.writer.shutdown()).await.expect("it takes no time");
        let ended = timeout(PATIENCE, self.connection).await.expect("the connection ends");
        ended.expect("no connection panics");
        timeout(PATIENCE, self.reader).await.expect("the answers end").unwrap();
        self.answers.take()
    }
}

/// One good answer after the other, the last of which may break off if its end is not known.
fn check_answers(mut answers: &[u8], may_lack_body: bool) {
    while !answers.is_empty() {
        let mut headers = [EMPTY_HEADER; 32];
        let mut head = Response::new(&mut headers);
        let parsed = head.parse(answers).unwrap_or_else(|error| panic!("{error}: {answers:?}"));
        let Status::Complete(length) = parsed else { panic!("half a head: {answers:?}") };
        let status = head.code.unwrap();
        assert!(STATUSES.contains(&status), "{status}");
        let header = |name: &str| {
            let mut found = head.headers.iter().filter(|it| it.name.eq_ignore_ascii_case(name));
            let value = found.next().map(|header| str::from_utf8(header.value).unwrap());
            assert!(found.next().is_none(), "`{name}` stands there twice");
            value
        };
        let body = &answers[length..];
        answers = match (header("content-length"), header("transfer-encoding")) {
            _ if status == 100 => body,
            _ if may_lack_body && (body.is_empty() || body.starts_with(b"HTTP/1.")) => body,
            (Some(length), None) => &body[length.parse::<usize>().unwrap()..],
            (None, Some("chunked")) => behind_chunks(body),
            (length, encoding) => panic!("{status}: length {length:?}, {encoding:?}"),
        };
    }
}

/// What comes after the last chunk; nothing, if there is none.
fn behind_chunks(mut body: &[u8]) -> &[u8] {
    while let Ok(Status::Complete((start, size))) = parse_chunk_size(body) {
        let end = start + size as usize;
        assert_eq!(b"\r\n", &body[end..end + 2], "a chunk ends where it says");
        body = &body[end + 2..];
        if size == 0 {
            return body;
        }
    }
    assert!(body.is_empty(), "no chunk: {body:?}");
    body
}
