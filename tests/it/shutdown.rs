//! Signals: parked requests are answered, the exit code is 0, and nothing holds it up.
#![cfg(unix)]

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{eventually, read_to_end},
    server::Server,
};

#[test]
fn parked_requests_are_answered_and_the_exit_code_is_zero() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::with_max(1);
        let holder = server.new_peer();
        server.acquire(holder, "A", 1);
        let parked: Vec<_> = (0..10)
            .map(|_| {
                let (client, peer) = (server.clone(), server.new_peer());
                let path = format!("/peers/{peer}/A?block_for=30s");
                let parked = thread::spawn(move || client.put(&path, "1"));
                eventually("it is pending", || !server.is_acquired(peer));
                parked
            })
            .collect();

        server.signal(signal);

        for parked in parked {
            let answer = parked.join().unwrap();
            assert_eq!(202, answer.status, "{signal}");
            assert_eq!(Some("close"), answer.header("connection"), "{signal}");
        }
        assert_eq!(Some(0), server.wait().code(), "{signal}");
    }
}

#[test]
fn half_sent_requests_and_idle_connections_do_not_hold_it_up() {
    let mut server = Server::with_max(1);
    let body_is_missing =
        b"POST /new_peer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                            Content-Length: 100\r\n\r\n{";
    let half_sent = [&b"GET /vers"[..], body_is_missing, b""].map(|bytes| server.raw(bytes));
    server.assert_serves("A");
    let start = Instant::now();

    server.signal("TERM");

    assert_eq!(Some(0), server.wait().code());
    // Not a speed test: the actix default would be 30 s, and our own grace 5 s.
    assert!(start.elapsed().as_secs() < 4, "{:?}", start.elapsed());
    half_sent.into_iter().for_each(|stream| drop(read_to_end(stream)));
}

/// The answer is larger than what the sockets take at once, and its reader is slow: the server must
/// not end before the last piece is on its way.
#[test]
fn answer_that_is_being_written_is_finished() {
    let names: String =
        (0..1_000).map(|number| format!("{}{number} = 1\n", "x".repeat(200))).collect();
    let mut server = Server::start(&format!("[semaphores]\n{names}"));
    assert!(server.get("/metrics").body.len() > 8_000_000);
    let probes = ["ready", "granting"].map(|health| (health, server.raw(b"")));
    let stream = server.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is being written", || stream.peek(&mut [0]).is_ok_and(|count| count > 0));

    server.signal("TERM");
    for (health, mut probe) in probes {
        eventually("requests on open connections are answered, and told of the shutdown", || {
            write!(probe, "GET /health/{health} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = [0; 1024];
            let count = probe.read(&mut answer).unwrap();
            let answer = String::from_utf8_lossy(&answer[..count]);
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("connection: close")
        });
    }

    // Time enough to end in, for a server that did not wait for this reader.
    thread::sleep(Duration::from_millis(400));
    let text = read_to_end(stream);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next();
    assert_eq!(length, Some(body.len().to_string().as_str()));
    assert_eq!(Some(0), server.wait().code());
}

/// A shutdown takes a few milliseconds, so the two signals must be there together: they are sent
/// while the process is stopped.
#[test]
fn second_signal_ends_at_once() {
    let mut server = Server::with_max(1);
    server.assert_serves("A");

    for signal in ["STOP", "TERM", "INT", "CONT"] {
        server.signal(signal);
    }

    let code = server.wait().code();
    assert!([Some(130), Some(143)].contains(&code), "the code of the second signal: {code:?}");
}
