//! The connections of those who listen to `GET /events`: how long they stand, and how many.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{client::eventually, listener::Listener, server::Server};

const LISTEN: &[u8] = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n";

/// There are never more of them.
const MOST: usize = 100;

/// Whether the server listens to one more, who hangs up at once.
fn is_room(server: &Server) -> bool {
    Listener::at(server, "/events").status == 200
}

/// Reads until the head of an answer has come.
fn head(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    while !head.contains("\r\n\r\n") {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(0, count, "{head}");
        head.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    head
}

#[cfg(unix)]
#[test]
fn shutdown_ends_the_stream_and_is_not_held_up_by_it() {
    let mut server = Server::with_max(1);
    let mut listeners = [(); 5].map(|()| Listener::at(&server, "/events"));
    server.assert_serves("A");
    for listener in &mut listeners {
        let events = [listener.event(), listener.event()];
        assert_eq!(["granted", "released"], events.each_ref().map(|event| event.kind.as_str()));
    }
    let start = Instant::now();

    server.signal("TERM");

    assert_eq!(Some(0), server.wait().code());
    // Not a speed test: the grace is 5 s.
    assert!(start.elapsed().as_secs() < 4, "{:?}", start.elapsed());
    for listener in &mut listeners {
        assert!(listener.next().is_none());
        assert!(listener.is_whole, "the answer has its end");
    }
}

#[test]
fn listeners_are_bounded_and_those_who_hang_up_are_forgotten() {
    let server = Server::with_max(1);
    let mut all: Vec<_> = (0..MOST).map(|_| Listener::at(&server, "/events")).collect();
    assert!(all.iter().all(|listener| listener.status == 200));

    let refused = server.get("/events");

    assert_eq!(503, refused.status);
    assert_eq!("there are 100 listeners already. Try again later.", refused.body);
    assert_eq!(Some("5"), refused.header("retry-after"));
    let counted = "throttle_refused_total{reason=\"too_many_listeners\"} 1\n";
    assert!(server.get("/metrics").body.contains(counted));
    server.assert_serves("A");
    assert_eq!("granted", all[0].event().kind, "the others go on");
    drop(all);
    eventually("there is room again", || is_room(&server));
    let again: Vec<_> = (0..MOST - 1).map(|_| Listener::at(&server, "/events")).collect();
    eventually("for all of them", || is_room(&server));
    assert!(again.iter().all(|listener| listener.status == 200));
}

/// What it does not take is not kept for it without end, and others do not feel it.
#[test]
fn listener_who_does_not_read_holds_nobody_up() {
    let name = "x".repeat(40_000);
    let server = Server::start(&format!("[semaphores]\n{name} = 1"));
    let mut lazy = Listener::at(&server, "/events");

    // More than the sockets take.
    for _ in 0..150 {
        server.assert_serves(&name);
    }

    for number in 1..=300 {
        assert_eq!(number, lazy.event().number(), "it can still catch up");
    }
}

/// The head of the answer comes, and nothing else: the connection is free for the next request.
#[test]
fn head_of_the_stream_does_not_hang() {
    let server = Server::with_max(1);
    let mut stream = server.raw(b"HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let head = head(&mut stream).to_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");

    stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();

    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the next request is answered");
    assert!(answer.ends_with(env!("CARGO_PKG_VERSION")), "{answer}");
    let all: Vec<_> = (0..MOST).map(|_| Listener::at(&server, "/events").status).collect();
    assert!(all.iter().all(|status| *status == 200), "it takes no place");
}

/// One long look at a server on which nothing happens: the connection stands for longer than a
/// head may take, the listener is told so, and a sample of the history is taken now and then.
#[test]
fn quiet_stream_is_kept_alive() {
    let server = Server::start("[semaphores]\nA = 2\n[limits]\nheader_timeout = \"1s\"");
    let (client, start) = (server.clone(), Instant::now());
    server.acquire(server.new_peer(), "A", 1);
    let history = thread::spawn(move || {
        let mut history = client.json("/history");
        eventually("the second sample", || {
            thread::sleep(Duration::from_millis(20));
            history = client.json("/history");
            history["peers"].as_array().unwrap().len() == 2
        });
        (history, start.elapsed())
    });
    let mut listener = Listener::at(&server, "/events");
    let first = listener.message().unwrap();

    let quiet = listener.message().unwrap();

    assert!((14..20).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(!quiet.contains("data:") && !quiet.contains("event:"), "no event: {quiet}");
    assert!(first.ends_with(&listener.last_id), "{first} {quiet}");
    server.assert_serves("A");
    assert_eq!("granted", listener.event().kind);
    assert_eq!("released", listener.event().kind);
    let (history, second_sample) = history.join().unwrap();
    assert!((8..13).contains(&second_sample.as_secs()), "{second_sample:?}");
    let curve = &history["semaphores"]["A"];
    assert_eq!(
        json!([1, 1, 0]),
        json!([history["peers"][1], curve["acquired"][1], curve["pending"][1]])
    );
    for list in [&history["peers"], &history["waiters"], &curve["acquired"], &curve["pending"]] {
        assert_eq!(2, list.as_array().unwrap().len(), "{history}");
    }
}

/// A request that follows on the same connection waits for the end of the stream, which hanging up
/// brings about.
#[test]
fn hanging_up_ends_the_stream_whatever_was_sent_meanwhile() {
    let server = Server::with_max(1);
    let streams: Vec<_> = (0..MOST)
        .map(|_| {
            let mut stream = server.raw(LISTEN);
            head(&mut stream);
            stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream
        })
        .collect();
    assert!(!is_room(&server));

    drop(streams);

    eventually("there is room again", || is_room(&server));
}
