//! Requests through the real handlers, one after the other, to a server in which time passes only
//! when a step says so.
//!
//! The bytes are lines, one a step: `METHOD TARGET`, then headers, then the body, all of them with
//! tabs between; or `wait SECONDS`; or `leave`, which hangs up on the oldest of the requests that
//! are parked. The lines `window` and `token` before all others start the server in another way.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    str,
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_http::{Request, h1};
use actix_service::{Service, fn_service};
use actix_web::{
    App,
    body::{BodySize, BoxBody, MessageBody, to_bytes},
    dev::{Payload, ServiceResponse},
    http::{
        Method, Uri,
        header::{self, HeaderName, HeaderValue},
    },
    rt::task::JoinHandle,
    test::init_service,
    web::Bytes,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use throttle::http::serve;
use tokio::{
    task::{spawn_local, yield_now},
    time::{sleep, timeout},
};

use crate::{
    answered::Answered,
    books::Books,
    metrics,
    server::{self, Server, Start, settle},
};

/// More steps show nothing that fewer do not.
const MOST_STEPS: usize = 64;

/// In seconds.
const LONGEST_WAIT: u64 = 900;

/// Sends all of it; in the end, the server shuts down.
pub fn run(bytes: &[u8]) {
    server::run(async {
        let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
        let mut start = Start::default();
        while let Some(line) = lines.next_if(|line| [&b"window"[..], b"token"].contains(line)) {
            match line {
                b"window" => start.has_window = true,
                _ => start.has_token = true,
            }
        }
        let mut visitors = Visitors::of(Server::start(start)).await;
        for line in lines.take(MOST_STEPS) {
            visitors.step(line).await;
        }
        visitors.look_around().await;
        visitors.see_it_shut_down().await;
    });
}

/// What handles requests.
type Handler = Rc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = ServiceResponse>>>>;

/// All who have to do with one server.
struct Visitors {
    server: Server,
    handler: Handler,
    /// The parked ones, oldest first.
    parked: VecDeque<Asked>,
    streams: Vec<BoxBody>,
}

impl Visitors {
    async fn of(server: Server) -> Self {
        let api = server.api.clone();
        let app =
            App::new().default_service(fn_service(move |request| serve(api.clone(), request)));
        let service = Rc::new(init_service(app).await);
        let handler = move |request| -> Pin<Box<dyn Future<Output = _>>> {
            let answer = service.call(request);
            Box::pin(async { answer.await.expect("refusals are answers too") })
        };
        Visitors { server, handler: Rc::new(handler), parked: VecDeque::new(), streams: Vec::new() }
    }

    async fn step(&mut self, line: &[u8]) {
        let seconds = line.strip_prefix(b"wait ").and_then(|text| str::from_utf8(text).ok());
        if let Some(seconds) = seconds.and_then(|text| text.parse::<u64>().ok()) {
            sleep(Duration::from_secs(seconds.min(LONGEST_WAIT))).await;
        } else if line == b"leave" {
            if let Some(oldest) = self.parked.pop_front() {
                oldest.task.abort();
            }
        } else if let Some(request) = request(line) {
            self.send(request).await;
        }
        settle().await;
        self.see_to_parked().await;
        self.read_streams();
    }

    /// Sends a request. Whoever only looks, and whoever is refused, changes nothing.
    async fn send(&mut self, request: Request) -> Option<Answered> {
        let only_looks = [Method::GET, Method::HEAD].contains(request.method());
        let is_reload = request.path().trim_matches('/') == "reload";
        let state = self.server.api.state.clone();
        let before = Books::of(&state);

        let answer = (self.handler)(request);
        let asked = Asked::begin(answer);
        settle().await;
        // A thread reads the file. Time would pass if nobody had anything to do meanwhile.
        while is_reload && !asked.task.is_finished() {
            yield_now().await;
        }
        if !asked.task.is_finished() {
            self.parked.push_back(asked);
            return None;
        }
        let (answered, stream) = asked.end().await;
        if only_looks || answered.is_refusal() {
            assert_eq!(before, Books::of(&state), "{answered:?} changes nothing");
        }
        self.streams.extend(stream);
        Some(answered)
    }

    async fn see_to_parked(&mut self) {
        let parked = self.parked.drain(..);
        let (done, parked): (Vec<_>, Vec<_>) = parked.partition(|asked| asked.task.is_finished());
        self.parked = parked.into();
        for asked in done {
            asked.end().await;
        }
    }

    /// Takes what there is of each stream, which consists of whole events.
    fn read_streams(&mut self) {
        self.streams.retain_mut(|stream| {
            loop {
                match polled(stream) {
                    Poll::Ready(Some(bytes)) => check_events(str::from_utf8(&bytes).unwrap()),
                    Poll::Ready(None) => return false,
                    Poll::Pending => return true,
                }
            }
        });
    }

    /// All that can be looked at is there under its name, however odd that is.
    async fn look_around(&mut self) {
        let books = Books::of(&self.server.api.state);
        let all: BTreeSet<_> = books.semaphores.iter().map(|it| it.name.to_string()).collect();
        for name in &all {
            let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
            let shown = self.look(&format!("/semaphores/{encoded}")).await;
            assert_eq!(shown["name"], **name);
        }
        let peers = self.look("/peers/").await;
        assert_eq!(Some(books.peers.len()), peers.as_array().map(Vec::len));
        for peer in &books.peers {
            let shown = self.look(&format!("/peers/{}", peer.id.0)).await;
            assert_eq!(shown["id"], peer.id.0);
            let names = |map: &str| shown[map].as_object().map(|map| map.keys().count());
            assert_eq!(Some(peer.acquired.len()), names("acquired"));
            assert_eq!(Some(peer.pending.len()), names("pending"));
        }
        self.look("/history").await;
        let metrics = self.get("/metrics").await;
        let metrics = String::from_utf8(metrics.body).unwrap();
        assert_eq!(all, metrics::semaphores_in(&metrics));
    }

    async fn look(&mut self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).await.body).unwrap()
    }

    async fn get(&mut self, path: &str) -> Answered {
        let request = request(format!("GET {path}").as_bytes()).unwrap();
        let answered = self.send(request).await.expect("nobody waits to look");
        assert!(!answered.is_refusal(), "{path}: {answered:?}");
        answered
    }

    /// Nobody is kept waiting then, nor held in flight.
    async fn see_it_shut_down(mut self) {
        self.server.api.in_flight.start_draining();
        self.server.api.state.shut_down();
        settle().await;
        self.see_to_parked().await;
        assert!(self.parked.is_empty(), "{} requests wait", self.parked.len());
        self.read_streams();
        assert!(self.streams.is_empty(), "{} streams go on", self.streams.len());
        let drained = self.server.api.in_flight.drain(Duration::from_secs(60));
        assert!(timeout(Duration::from_secs(30), drained).await.is_ok(), "a request is in flight");
        assert_eq!(0, self.server.api.state.overview().waiters);
    }
}

/// A request that is being answered.
struct Asked {
    task: JoinHandle<(Answered, Option<BoxBody>)>,
}

impl Asked {
    fn begin(answer: impl Future<Output = ServiceResponse> + 'static) -> Self {
        let task = spawn_local(async move {
            let (_, response) = answer.await.into_parts();
            let (head, body) = response.into_parts();
            let (body, stream) = match body.size() {
                BodySize::Stream => (Bytes::new(), Some(body)),
                _ => (to_bytes(body).await.unwrap(), None),
            };
            let (status, headers) = (head.status(), head.headers().clone());
            (Answered { status, headers, body: body.into() }, stream)
        });
        Asked { task }
    }

    async fn end(self) -> (Answered, Option<BoxBody>) {
        let (answered, stream) = self.task.await.expect("no request panics");
        answered.check();
        (answered, stream)
    }
}

/// The request that a line describes. A body is declared as JSON unless a header says otherwise.
fn request(line: &[u8]) -> Option<Request> {
    let mut parts: VecDeque<_> = line.split(|byte| *byte == b'\t').collect();
    let mut first = parts.pop_front()?.splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(first.next()?).ok()?;
    let uri = Uri::try_from(first.next()?).ok()?;
    let body = parts.pop_back().map(Bytes::copy_from_slice);
    let mut request = match &body {
        None => Request::new(),
        Some(body) => {
            let (_, mut payload) = h1::Payload::create(true);
            payload.unread_data(body.clone());
            Request::with_payload(Payload::from(payload))
        }
    };
    let head = request.head_mut();
    (head.method, head.uri) = (method, uri);
    head.peer_addr = Some(SocketAddr::from(([127, 0, 0, 1], 50_000)));
    for header in parts {
        let colon = header.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&header[..colon]).ok()?;
        let value = HeaderValue::from_bytes(header[colon + 1..].trim_ascii()).ok()?;
        head.headers.append(name, value);
    }
    if let Some(body) = body {
        let length = HeaderValue::from(body.len());
        head.headers.insert(header::CONTENT_LENGTH, length);
        if !head.headers.contains_key(header::CONTENT_TYPE) {
            let json = HeaderValue::from_static("application/json");
            head.headers.insert(header::CONTENT_TYPE, json);
        }
    }
    Some(request)
}

fn polled(stream: &mut BoxBody) -> Poll<Option<Bytes>> {
    let mut context = Context::from_waker(Waker::noop());
    let polled = Pin::new(stream).poll_next(&mut context);
    polled.map(|piece| piece.transpose().expect("a stream does not fail"))
}

/// Each of them ends with a blank line.
fn check_events(text: &str) {
    assert!(text.ends_with("\n\n"), "a piece of an event: {text}");
    text.split("\n\n").flat_map(str::lines).for_each(check_line);
}

/// A line of an event, as the standard has it.
fn check_line(line: &str) {
    let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line}"));
    match field {
        "retry" => assert!(value.parse::<u32>().is_ok(), "{line}"),
        "id" => assert!(value.starts_with("4711-"), "{line}"),
        "event" => assert!(value.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}"),
        "data" => assert!(serde_json::from_str::<Value>(value).is_ok_and(|it| it.is_object())),
        _ => panic!("{line}"),
    }
}
