//! No input stops the server: each request is answered or dropped cleanly, while the lock cycles of
//! another client go on.

use std::{
    io::{Read, Write},
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    client::{Client, eventually, read_to_end},
    server::Server,
};

/// Runs lock cycles in the background while `attack` lasts, and checks that there was at least one.
fn while_serving(server: &Server, attack: impl FnOnce()) {
    let is_over = Arc::new(AtomicBool::new(false));
    let (client, until) = (Client::clone(server), is_over.clone());
    let other = thread::spawn(move || {
        let mut cycles = 0;
        while !until.load(Ordering::Relaxed) {
            client.assert_serves("other");
            cycles += 1;
        }
        cycles
    });

    attack();

    is_over.store(true, Ordering::Relaxed);
    assert!(other.join().unwrap() > 0);
    server.assert_serves("other");
    let log = server.stderr();
    assert!(!log.contains("panicked"), "{log}");
}

fn server() -> Server {
    Server::start("[semaphores]\nA = 9223372036854775807\nB = 1\nother = 1\n")
}

#[test]
fn endless_durations_saturate() {
    let server = server();

    while_serving(&server, || {
        for endless in ["18446744073709551615m", "86400000000000000ms"] {
            server.new_peer_for(endless);
        }
        let endless = "18446744073709551615s";
        let peer = server.new_peer_for(endless);
        let path = format!("/peers/{peer}/B?block_for={endless}&expires_in={endless}");
        assert_eq!(200, server.put(&path, "1").status);
        let body = format!(r#"{{"expires_in":"{endless}"}}"#);
        assert_eq!(200, server.put(&format!("/peers/{peer}"), &body).status);
        let body = format!(r#"{{"expires_in":"{endless}","peer_id":7,"acquired":{{}}}}"#);
        assert_eq!(200, server.post("/restore", &body).status);
        assert!(server.is_acquired(peer));
        for overflow in ["18446744073709551616s", "18446744073709551615years", "1e400s"] {
            let body = format!(r#"{{"expires_in":"{overflow}"}}"#);
            assert_eq!(400, server.post("/new_peer", &body).status, "{overflow}");
        }
        assert_eq!(200, server.post("/new_peer", r#"{"expires_in":"0s"}"#).status);
    });
}

#[test]
fn waiting_for_ever_is_no_trouble() {
    let server = server();
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "B", 1);
    let client = server.clone();
    let path = format!("/peers/{waiting}/B?block_for=18446744073709551615s");

    let parked = thread::spawn(move || client.put(&path, "1"));
    while_serving(&server, || {
        eventually("it is pending", || !server.is_acquired(waiting));
        server.delete(&format!("/peers/{holder}"));
    });

    assert_eq!(200, parked.join().unwrap().status);
}

#[test]
fn counts_of_the_whole_range_are_answered() {
    let server = server();

    while_serving(&server, || {
        let peers = [(); 3].map(|()| server.new_peer());
        for (peer, expected) in peers.into_iter().zip([200, 202, 202]) {
            assert_eq!(expected, server.acquire(peer, "A", i64::MAX));
        }
        for (count, expected) in [
            ("-9223372036854775808", 400),
            ("-9223372036854775809", 400),
            ("9223372036854775808", 400),
            ("1e308", 400),
            ("-0", 400),
            ("null", 400),
        ] {
            let response = server.put(&format!("/peers/{}/B", peers[0]), count);
            assert_eq!(expected, response.status, "{count}: {}", response.body);
        }
        assert!(
            server.get("/metrics").body.contains("throttle_pending{semaphore=\"A\"} 1844674407")
        );
        let body = r#"{"expires_in":"1m","peer_id":1,"acquired":{"A":9223372036854775807}}"#;
        assert_eq!(409, server.post("/restore", body).status);
    });
}

#[test]
fn ids_of_the_whole_range_are_answered() {
    let server = server();

    while_serving(&server, || {
        for id in ["0", "18446744073709551615"] {
            let response = server.put(&format!("/peers/{id}/A"), "1");
            assert_eq!((400, "Unknown peer"), response.pair());
            let response = server.delete(&format!("/peers/{id}"));
            assert_eq!((200, "\"Peer not found\""), response.pair());
        }
        let response = server.put("/peers/18446744073709551616/A", "1");
        assert_eq!(400, response.status);
    });
}

#[test]
fn every_byte_may_stand_in_a_name() {
    let server = server();

    while_serving(&server, || {
        let peer = server.new_peer();
        for byte in 0..=u8::MAX {
            let escaped = format!("/peers/{peer}/x%{byte:02X}y");
            assert_eq!(400, server.put(&escaped, "1").status, "{escaped}");

            let mut request = format!("PUT /peers/{peer}/x").into_bytes();
            request.push(byte);
            request.extend(
                b"y HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n",
            );
            request.extend(b"Content-Length: 1\r\n\r\n1");
            let answer = read_to_end(server.raw(&request));
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{byte}: {answer}");
        }
    });
}

#[test]
fn large_bodies_are_refused_and_large_heads_too() {
    let server = server();

    while_serving(&server, || {
        let megabytes = "1".repeat(5 << 20);
        for path in ["/restore", "/new_peer", "/nope", "/remove_expired"] {
            assert_eq!(413, server.post(path, &megabytes).status, "{path}");
        }
        let endless_head = format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20));
        let mut stream = server.raw(b"");
        // The server may close while we still write.
        let _ = stream.write_all(endless_head.as_bytes());
        let answer = read_to_end(stream);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        let deep = "[".repeat(60_000);
        assert_eq!(400, server.post("/restore", &deep).status);
    });
}

#[test]
fn broken_requests_are_dropped_cleanly() {
    let server = server();

    while_serving(&server, || {
        for bytes in [
            &b"\0\0\0\0\r\n\r\n"[..],
            b"GET / HTTP/9.9\r\n\r\n",
            b"PUT /peers/1/A HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n1",
            b"PUT /peers/1/A HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n1",
            b"POST /new_peer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST /new_peer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            b"GET http://elsewhere/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        ] {
            let stream = server.raw(bytes);
            stream.shutdown(Shutdown::Write).unwrap();
            read_to_end(stream);
        }
    });
}

#[cfg(unix)]
#[test]
fn connections_beyond_what_open_files_allow_wait_for_their_turn() {
    let server = Server::start_with("[semaphores]\nother = 1\n", |command| {
        let binary = command.get_program().to_owned();
        *command = {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", "ulimit -n 40; exec \"$0\" --port 0"]).arg(binary);
            shell.current_dir(command.get_current_dir().unwrap());
            shell.stderr(std::process::Stdio::piped());
            shell
        };
        command
    });

    let request = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut kept_alive = server.raw(request);
    let hoard: Vec<_> = (0..60).map(|_| server.raw(b"")).collect();

    kept_alive.write_all(request).unwrap();
    let mut answers = String::new();
    while answers.matches("HTTP/1.1 200 OK").count() < 2 {
        let mut buffer = [0; 1024];
        let count = kept_alive.read(&mut buffer).unwrap();
        answers.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    drop(hoard);
    server.assert_serves("other");
}

#[test]
fn body_that_is_too_long_is_refused_in_chunks_too() {
    let server = server();
    let chunk = format!("11000\r\n{}\r\n", "1".repeat(0x11000));
    let head = "POST /new_peer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";

    let mut stream = server.raw(format!("{head}{chunk}").as_bytes());
    let mut answer = String::new();
    while !answer.contains("\r\n\r\n") {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).unwrap();
        answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }

    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[test]
fn upgrade_that_nobody_offers_is_passed_over() {
    let server = server();

    for request in ["GET /health HTTP/1.1\r\nUpgrade: websocket", "CONNECT /health HTTP/1.1"] {
        let bytes = format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n");
        let start = std::time::Instant::now();

        let answer = read_to_end(server.raw(bytes.as_bytes()));

        assert!(!answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(start.elapsed().as_secs() < 8, "it does not wait for a body: {answer}");
    }
}
