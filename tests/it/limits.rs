//! `[limits]`: what they hold off, and that they leave all others alone.

use std::{
    io::{Read, Write},
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{eventually, read_to_end},
    server::Server,
};

fn with(limits: &str) -> Server {
    Server::start(&format!("[semaphores]\nA = 2\n[limits]\n{limits}"))
}

fn is_counted(server: &Server, reason: &str, count: u64) {
    let line = format!("throttle_refused_total{{reason=\"{reason}\"}} {count}\n");
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains(&line), "{line}{metrics}");
}

#[test]
fn beyond_max_peers_no_peer_is_made() {
    let server = with("max_peers = 2");
    let peers = [server.new_peer(), server.new_peer()];
    let restore = r#"{"expires_in":"1h","peer_id":7,"acquired":{"A":1}}"#;

    for refused in [
        server.post("/new_peer", r#"{"expires_in":"1h"}"#),
        server.post("/new_peer", r#"{"expires_in":"1h","acquire":{"A":1}}"#),
        server.post("/restore", restore),
    ] {
        assert_eq!(503, refused.status);
        assert_eq!(
            "Limit `max_peers` reached: there are 2 peers already. Try again later.",
            refused.body
        );
        assert_eq!(Some("5"), refused.header("retry-after"));
    }
    is_counted(&server, "too_many_peers", 3);
    assert_eq!(2, server.remainder("A"));
    assert_eq!(200, server.acquire(peers[0], "A", 1), "those who are here go on");
    server.delete(&format!("/peers/{}", peers[0]));
    assert_eq!(200, server.post("/restore", restore).status);
}

#[test]
fn beyond_max_waiters_nobody_is_parked_and_nothing_is_queued() {
    let server = with("max_waiters = 1");
    let [holder, parked, late] = [(); 3].map(|()| server.new_peer());
    server.acquire(holder, "A", 2);
    let lock = |peer: u64| format!("/peers/{peer}/A?block_for=20s");
    let client = server.clone();
    let path = lock(parked);
    let waiting = thread::spawn(move || client.put(&path, "1"));
    eventually("it is parked", || server.get("/metrics").body.contains("throttle_waiters 1\n"));

    let refused = server.put(&lock(late), "1");
    assert_eq!(503, refused.status);
    assert!(
        refused.body.starts_with("Limit `max_waiters` reached: 1 requests are waiting already.")
    );
    assert_eq!(Some("5"), refused.header("retry-after"));
    is_counted(&server, "too_many_waiters", 1);
    assert!(server.is_acquired(late), "nothing is queued");

    assert_eq!(202, server.acquire(late, "A", 1), "it may queue without being parked");
    assert_eq!(503, server.put(&lock(late), "1").status);
    assert!(!server.is_acquired(late), "and keeps its place");
    assert_eq!(200, server.put(&lock(holder), "2").status, "no wait, no limit");
    server.delete(&format!("/peers/{holder}"));
    assert_eq!(200, waiting.join().unwrap().status);
}

/// However many wait: whoever holds what they wait for must be able to give it back.
#[cfg(unix)]
#[test]
fn waiters_leave_connections_for_others() {
    let script = "ulimit -n 400 && exec \"$0\" --port 0";
    let configuration = "[semaphores]\nA = 1\n[limits]\nmax_waiters = 100000";
    let server = Server::start_with(configuration, |command| {
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", script, env!("CARGO_BIN_EXE_throttle")]);
        limited.current_dir(command.get_current_dir().unwrap());
        limited.stderr(std::process::Stdio::piped());
        *command = limited;
        command
    });
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);
    let warning = "limits.max_waiters is 100000, but no more than ";
    eventually(warning, || server.stderr().contains(warning));

    let lock = format!(
        "PUT /peers/{waiting}/A?block_for=30s HTTP/1.1\r\nHost: x\r\n\
                        Content-Type: application/json\r\nContent-Length: 1\r\n\r\n1"
    );
    let parked: Vec<_> = (0..285).map(|_| server.raw(lock.as_bytes())).collect();
    eventually("some are refused", || {
        server.get("/metrics").body.contains("throttle_refused_total{reason=\"too_many_waiters\"}")
    });

    assert_eq!(200, server.delete(&format!("/peers/{holder}")).status);
    let is_granted = |stream: &std::net::TcpStream| {
        let mut status = [0; 12];
        let mut stream = stream;
        stream.read_exact(&mut status).unwrap();
        status == *b"HTTP/1.1 200"
    };
    assert!(parked.iter().filter(|stream| is_granted(stream)).count() > 150);
}

#[test]
fn max_block_for_shortens_a_wait() {
    let server = with("max_block_for = \"50ms\"");
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 2);

    let answer = server.put(&format!("/peers/{waiting}/A?block_for=10h"), "1");

    assert_eq!(202, answer.status);
}

#[test]
fn leases_above_the_maximum_are_refused() {
    let server = with("max_expires_in = \"10m\"");
    let peer = server.new_peer_for("10m");

    for refused in [
        server.post("/new_peer", r#"{"expires_in":"601s"}"#),
        server.put(&format!("/peers/{peer}"), r#"{"expires_in":"601s"}"#),
        server.put(&format!("/peers/{peer}"), r#"{"expires_in":"601s","acquire":{"A":1}}"#),
        server.put(&format!("/peers/{peer}/A?expires_in=18446744073709551615s"), "1"),
        server.post("/restore", r#"{"expires_in":"601s","peer_id":7,"acquired":{"A":1}}"#),
    ] {
        assert_eq!(400, refused.status);
        assert!(refused.body.contains("above the maximum of 600s"), "{}", refused.body);
    }
    is_counted(&server, "lease_too_long", 5);
    assert_eq!(2, server.remainder("A"));
}

#[test]
fn bodies_have_the_configured_limit() {
    let server = with("max_body = 100");

    let long = format!("{{\"expires_in\":\"5m\"}}{}", " ".repeat(100));
    let refused = server.post("/new_peer", &long);

    assert_eq!((413, "the body exceeds the limit of 100 bytes"), refused.pair());
    is_counted(&server, "body_too_large", 1);
    server.assert_serves("A");
}

#[test]
fn head_and_body_have_their_time() {
    let server = with("header_timeout = \"1s\"\nbody_timeout = \"200ms\"");
    let start = Instant::now();

    let head = server.raw(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    let bodies = [
        "Content-Length: 100\r\n\r\n{\"expires",
        "Content-Length: 100\r\n\r\n",
        "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ]
    .map(|rest| {
        let head = "POST /new_peer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        server.raw(format!("{head}{rest}").as_bytes())
    });
    let after_another = server.raw(
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nPOST /new_peer HTTP/1.1\r\nHost: x\r\n\
          Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    );
    server.assert_serves("A");

    for body in bodies.into_iter().chain([after_another]) {
        let answer = read_to_end(body);
        assert!(answer.contains("HTTP/1.1 408 "), "{answer}");
        assert!(answer.ends_with("the body did not arrive within 200ms"), "{answer}");
    }
    assert!(read_to_end(head).starts_with("HTTP/1.1 408 "));
    assert!(start.elapsed() > Duration::from_millis(200));
    is_counted(&server, "body_too_slow", 6);
    assert!(start.elapsed() < Duration::from_secs(20), "closed by the server, not by this test");
}

/// It says nothing about the request, which was good. Clients try again after this status.
#[test]
fn body_that_breaks_off_is_no_wrong_body() {
    let server = with("");
    let ends = ["Content-Length: 100\r\n\r\n{\"expires", "Content-Length: 100\r\n\r\n"];
    // Whether chunks break off or are none cannot be told.
    let chunks = ["\r\n", "\r\n1\r\n{\r\n", "\r\nzz\r\n"];
    let answer_to = |rest: &str| {
        let head = "POST /new_peer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        let stream = server.raw(format!("{head}{rest}").as_bytes());
        stream.shutdown(Shutdown::Write).unwrap();
        read_to_end(stream)
    };

    for rest in ends {
        let answer = answer_to(rest);

        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(
            answer.ends_with("the connection broke off before the body had arrived"),
            "{answer}"
        );
    }
    for rest in chunks {
        let answer = answer_to(&format!("Transfer-Encoding: chunked\r\n{rest}"));

        assert!(answer.starts_with("HTTP/1.1 400 "), "{rest:?}: {answer}");
    }
    is_counted(&server, "body_too_slow", 2);
}

/// The head of a later request has its time as well.
#[test]
fn half_a_head_after_a_request_is_cut_off() {
    let server = with("header_timeout = \"1s\"");
    let mut stream = server.raw(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.read_exact(&mut [0; 12]).unwrap();

    stream.write_all(b"GET /version HTTP/1.1\r\nHost: ").unwrap();

    let start = Instant::now();
    let rest = read_to_end(stream);
    assert!(!rest.contains("HTTP/1.1 408"), "{rest}");
    assert!(start.elapsed() < Duration::from_secs(20), "not by the patience of this test");
    server.assert_serves("A");
}

/// The answer is larger than what the sockets take at once. Its reader takes longer over it than a
/// head may take, and has sent a further request meanwhile.
#[test]
fn slow_reader_gets_all_of_its_answers() {
    let names: String =
        (0..1_000).map(|number| format!("{}{number} = 1\n", "x".repeat(200))).collect();
    let limits = "[limits]\nheader_timeout = \"1s\"\n";
    let server = Server::start(&format!("{limits}[semaphores]\n{names}"));
    let size = server.get("/metrics").body.len();
    assert!(size > 8_000_000);
    let mut stream = server.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is being written", || stream.peek(&mut [0]).is_ok_and(|count| count > 0));

    stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answers = Vec::new();
    let mut piece = vec![0; 50_000];
    for _ in 0..100 {
        // This is what the reader does with its time: two and a half seconds.
        thread::sleep(Duration::from_millis(25));
        let count = stream.read(&mut piece).unwrap();
        answers.extend_from_slice(&piece[..count]);
    }

    let answers = String::from_utf8(answers).unwrap() + &read_to_end(stream);
    assert!(answers.len() > size, "{} of {size} bytes", answers.len());
    assert_eq!(2, answers.matches("HTTP/1.1 200 OK").count());
}

/// Sends a byte at a time, each long before any timeout: the whole head has its time, not a byte.
#[test]
fn slow_loris_is_cut_off_while_others_are_served() {
    let server = with("header_timeout = \"1s\"");
    let mut loris = server.raw(b"GET /health HTTP/1.1\r\n");
    loris.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut answer = Vec::new();

    let mut buffer = [0; 1024];
    eventually("it is cut off", || {
        server.assert_serves("A");
        // The connection may be closed already.
        let _ = loris.write(b"X");
        match loris.read(&mut buffer) {
            Ok(0) => true,
            Ok(count) => {
                answer.extend_from_slice(&buffer[..count]);
                false
            }
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    });

    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 408 "));
}
