//! Signals: parked requests are answered, the exit code is 0, and nothing holds it up.
#![cfg(unix)]

use std::{thread, time::Instant};

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
            assert_eq!(202, parked.join().unwrap().status, "{signal}");
        }
        assert_eq!(Some(0), server.wait().code(), "{signal}");
    }
}

#[test]
fn half_sent_requests_and_idle_connections_do_not_hold_it_up() {
    let mut server = Server::with_max(1);
    let body_is_missing = b"POST /new_peer HTTP/1.1\r\nContent-Type: application/json\r\n\
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

#[test]
fn no_connection_is_accepted_any_more() {
    let mut server = Server::with_max(1);

    server.signal("TERM");
    server.wait();

    assert!(server.try_send("GET", "/health", &[], "").is_err());
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
