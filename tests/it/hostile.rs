//! Clients that mean harm, or are broken beyond belief: hundreds at a time, while another client
//! goes on and must not feel it. Afterwards the server is whole. What single bad requests come to
//! is in `bad_input.rs`, what single limits do in `limits.rs`.
//!
//! With `THROTTLE_SOAK` in the environment all is done in full (`make soak-hostile`).

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    client::{Client, eventually, read_to_end},
    listener::Listener,
    server::Server,
};

const MEGABYTE: u64 = 1 << 20;

/// Connections that a test's own client keeps open.
const OF_OURS: usize = 6;

/// How many of something: so many in `cargo test`, or in full.
fn many(short: usize, full: usize) -> usize {
    if std::env::var_os("THROTTLE_SOAK").is_some() { full } else { short }
}

/// What usually takes milliseconds may take so long where the machine is busy with other things.
fn most_of_a_cycle() -> Duration {
    Duration::from_secs(many(10, 30) as u64)
}

/// A server with the semaphore `A`, and one for the other client, which cuts off slow clients
/// after this time. A busy machine may take longer over an honest request than is usual.
fn server(timeout: &str) -> Server {
    Server::start(&format!(
        "[semaphores]\nA = 1\nother = 1\n\
         [limits]\nheader_timeout = \"{timeout}\"\nbody_timeout = \"{timeout}\""
    ))
}

/// What a server takes of its machine.
struct Vitals {
    resident: u64,
    /// The most that was ever resident.
    peak: u64,
    files: usize,
}

impl Vitals {
    fn of(server: &Server) -> Self {
        let process = format!("/proc/{}", server.id());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
        };
        let files = fs::read_dir(format!("{process}/fd")).unwrap().count();
        Vitals { resident: bytes("VmRSS:"), peak: bytes("VmHWM:"), files }
    }
}

/// A client with two peers that hand on a lock to each other.
struct Other {
    client: Client,
    peers: [u64; 2],
}

impl Other {
    fn new(server: &Server) -> Self {
        // With connections of its own.
        let client = Client::new(server.address);
        let peers = [(); 2].map(|()| client.new_peer());
        Other { client, peers }
    }

    /// The first takes the lock, the second waits for it, and gets it when the first lets go.
    /// Returns how long that took.
    fn cycle(&self) -> Duration {
        let began = Instant::now();
        let Other { client, peers } = self;
        let [first, second] = peers.map(|peer| format!("/peers/{peer}/other"));
        let taken = client.put(&first, "1");
        assert_eq!(200, taken.status, "{}", taken.body);
        let handed_on = thread::scope(|scope| {
            let parked = scope.spawn(|| client.put(&format!("{second}?block_for=1h"), "1"));
            eventually("it waits", || !client.is_acquired(peers[1]));
            assert_eq!((200, "Ok"), client.delete(&first).pair());
            parked.join().unwrap()
        });
        assert_eq!((200, peers[1].to_string().as_str()), handed_on.pair());
        let [earlier, later] = [&taken, &handed_on]
            .map(|answer| answer.header("throttle-token").unwrap().parse::<u64>().unwrap());
        assert!(earlier < later, "{earlier} {later}");
        assert_eq!(0, client.remainder("other"));
        assert_eq!((200, "Ok"), client.delete(&second).pair());
        assert_eq!(1, client.remainder("other"));
        began.elapsed()
    }
}

/// Attacks while another client goes on, and never has to wait for long. At no time the server takes
/// more than `room` bytes beyond what it had before; afterwards it is whole, and has no connection
/// left of the attack.
fn attacked<T>(server: &Server, room: u64, attack: impl FnOnce() -> T) -> T {
    let other = Other::new(server);
    other.cycle();
    let before = Vitals::of(server);
    let is_over = AtomicBool::new(false);

    let (result, cycles) = thread::scope(|scope| {
        let going_on = scope.spawn(|| {
            let mut cycles = vec![other.cycle()];
            while !is_over.load(Ordering::Relaxed) {
                cycles.push(other.cycle());
            }
            cycles
        });
        // Were it not told so when the attack fails, the test would never end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attack));
        is_over.store(true, Ordering::Relaxed);
        let cycles = going_on.join().unwrap();
        (result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), cycles)
    });

    eventually("its connections are closed", || Vitals::of(server).files <= before.files + OF_OURS);
    other.cycle();
    let longest = cycles.iter().max().unwrap();
    println!("{} cycles of the other client, the longest of {longest:?}", cycles.len());
    assert!(*longest < most_of_a_cycle(), "a cycle of the other client took {longest:?}");
    let grown = Vitals::of(server).peak.saturating_sub(before.resident);
    println!("{} MB at first, at most {} MB more", before.resident / MEGABYTE, grown / MEGABYTE);
    assert!(grown < room, "{grown} bytes more than before, expected less than {room}");
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains("\nthrottle_waiters 0\n"), "{metrics}");
    assert!(metrics.contains("\nthrottle_acquired_total{semaphore=\"other\"} "), "{metrics}");
    let log = server.stderr();
    assert!(!log.contains("panicked"), "{log}");
    result
}

/// A request with a JSON body.
fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// How often an answer of this status is among these.
fn count(answers: &str, status: u16) -> usize {
    answers.matches(&format!("HTTP/1.1 {status} ")).count()
}

/// Reads until so many answers have begun, and returns how many of them have that status.
fn read_answers(stream: &mut TcpStream, begun: usize, status: u16) -> usize {
    const START: &str = "HTTP/1.1 200 ";
    let status = status.to_string();
    let (mut all, mut counted) = (0, 0);
    let mut text = String::new();
    let mut buffer = [0; 1 << 16];
    while all < begun {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "closed after {all} of {begun} answers: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        for (at, start) in text.match_indices(&START[..9]) {
            let found = text.get(at + start.len()..at + START.len() - 1);
            all += usize::from(found.is_some());
            counted += usize::from(found == Some(&status));
        }
        // What may be the beginning of an answer is looked at again, with what follows.
        let tail = text.char_indices().rev().nth(START.len() - 3).map_or(0, |(at, _)| at);
        text.drain(..tail);
    }
    counted
}

/// Sends one request after the other on one connection, a few at a time, and returns how many were
/// answered with that status.
fn pipeline(client: &Client, status: u16, requests: impl Iterator<Item = String>) -> usize {
    // So few that each batch arrives as a whole. actix answers with `Connection: close` where the
    // body of a later request is still on its way.
    const BATCH: usize = 4_000;
    let mut stream = client.raw(b"");
    let mut requests = requests.peekable();
    let mut counted = 0;
    while requests.peek().is_some() {
        let (mut batch, mut sent) = (String::new(), 0);
        while let Some(request) =
            requests.next_if(|next| sent == 0 || batch.len() + next.len() < BATCH)
        {
            batch += &request;
            sent += 1;
        }
        stream.write_all(batch.as_bytes()).unwrap();
        counted += read_answers(&mut stream, sent, status);
    }
    counted
}

/// Breaks off a connection, so that the server is told nothing but a reset.
fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// What a metric without labels says.
fn metric(client: &Client, name: &str) -> usize {
    let metrics = client.get("/metrics").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
}

/// One that sends a byte at a time.
struct Loris {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Loris {
    fn new(server: &Server, begun: &str) -> Self {
        let stream = server.raw(begun.as_bytes());
        stream.set_nonblocking(true).unwrap();
        Loris { stream, answer: Vec::new() }
    }

    /// Sends one more, and returns whether the connection stands.
    fn goes_on(&mut self) -> bool {
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.answer.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        // Whoever writes after the answer to a connection that is being closed could miss it.
        !self.answer.ends_with(b"within 1s") && self.stream.write(b"x").is_ok()
    }
}

#[test]
fn hundreds_that_send_a_byte_at_a_time_are_cut_off() {
    let server = server("1s");
    let head = "GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    let begun = [
        head.to_owned(),
        get("/version") + head,
        request("POST", "/new_peer", &" ".repeat(60_000)).trim_end_matches(' ').to_owned(),
        "POST /new_peer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\nffff\r\n"
            .to_owned(),
    ];

    let most = many(400, 4_000);
    let answers = attacked(&server, 8 * MEGABYTE + 24_000 * most as u64, || {
        let mut all: Vec<_> =
            (0..most).map(|n| Loris::new(&server, &begun[n % begun.len()])).collect();
        let mut cut_off = Vec::new();
        eventually("all are cut off", || {
            let gone = all.extract_if(.., |loris| !loris.goes_on());
            cut_off.extend(gone.flat_map(|loris| loris.answer));
            all.is_empty()
        });
        String::from_utf8(cut_off).unwrap()
    });

    assert!(count(&answers, 408) >= most / 4, "bodies are answered");
    assert!(count(&answers, 200) <= most / 4, "and no request but the whole ones");
    assert_eq!(2, metric(&server, "throttle_peers"), "those of the other");
}

#[test]
fn clients_that_vanish_while_they_wait_leave_nothing_but_their_locks() {
    let server = server("1m");
    let holder = server.new_peer();
    server.acquire(holder, "A", 1);
    let count = many(200, 5_000);
    let ids: Vec<_> = (1 << 40..).take(count).collect();

    attacked(&server, 8 * MEGABYTE + 24_000 * count as u64, || {
        let mut parked: Vec<_> = (ids.iter())
            .map(|id| {
                let body = format!(r#"{{"expires_in":"1h","peer_id":{id},"acquire":{{"A":1}}}}"#);
                server.raw(request("POST", "/new_peer?block_for=1h", &body).as_bytes())
            })
            .collect();
        eventually("all wait", || metric(&server, "throttle_waiters") >= count);

        for (number, stream) in parked.iter().enumerate() {
            match number % 4 {
                0 => stream.shutdown(Shutdown::Write).unwrap(),
                1 => reset(stream),
                2 => stream.shutdown(Shutdown::Both).unwrap(),
                _ => {}
            }
        }
        let mut number = 0;
        let half_open = parked.extract_if(.., |_| {
            number += 1;
            number % 4 == 1
        });
        let half_open: Vec<_> = half_open.collect();
        drop(parked);

        // The other client has one who waits now and then.
        eventually("nobody waits", || metric(&server, "throttle_waiters") <= 1);
        for stream in half_open {
            assert_eq!("", read_to_end(stream), "it is closed");
        }
    });

    assert_eq!(count as u64, server.json("/semaphores/A")["waiting"].as_u64().unwrap());
    server.delete(&format!("/peers/{holder}"));
    // Which of them came first is up to the server, for their connections came at once.
    let is_any = ids.iter().any(|id| server.is_acquired(*id));
    assert!(is_any, "their leases go on, and they may come back");
    let gone =
        pipeline(&server, 200, ids.iter().map(|id| request("DELETE", &format!("/peers/{id}"), "")));
    assert_eq!((count, 1), (gone, server.remainder("A")));
}

#[test]
fn requests_whose_end_is_in_doubt_are_refused_with_all_that_follows() {
    let server = server("1m");
    let victim = server.new_peer();
    let smuggled = format!("DELETE /peers/{victim} HTTP/1.1\r\nHost: x\r\n\r\n");

    // A proxy in front could see another end of them than the server.
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 18446744073709551621",
        "Content-Length : 5",
        "Content-Length\0: 5",
        "X-Folded: a\r\n Content-Length: 5",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\rX: y",
        "X\0: y",
        "X: \0",
        "Host: y",
    ] {
        let head = "POST /remove_expired HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        let bytes = format!("{head}{headers}\r\n\r\n0\r\n\r\n{smuggled}");

        let answer = read_to_end(server.raw(bytes.as_bytes()));

        assert!(answer.starts_with("HTTP/1.1 400 "), "{headers:?}: {answer}");
        assert_eq!(1, answer.matches("HTTP/1.1 ").count(), "{headers:?}: {answer}");
    }
    for chunks in ["zz\r\n", "-1\r\n", "0x0\r\n", "0\n\n", "fffffffffffffffff\r\n", "2\r\n{}XX"] {
        let head = "POST /remove_expired HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";

        let answer = read_to_end(server.raw(format!("{head}{chunks}{smuggled}").as_bytes()));

        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
        assert_eq!(1, answer.matches("HTTP/1.1 ").count(), "{chunks:?}: {answer}");
    }
    assert!(server.is_acquired(victim), "it is still there");
}

#[test]
fn floods_of_what_is_no_request_are_dropped_one_by_one() {
    let server = server("1m");
    let garbage: [&[u8]; 12] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n\xff\xff",
        b"GET /version\r\n\r\n",
        b"GET /version HTTP/1.9\r\nHost: x\r\n\r\n",
        b"GET /version HTTP/1.1\r\n\r\n",
        b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G@T /version HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"\r\n \r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    ];
    let endless_head = "X: y\r\n".repeat(40_000);

    attacked(&server, 8 * MEGABYTE, || {
        for round in 0..many(10, 300) {
            for bytes in garbage.iter().copied().chain([endless_head.as_bytes()]) {
                let is_first = round % 2 == 0;
                let before = if is_first { String::new() } else { get("/version") };
                let mut stream = server.raw(before.as_bytes());
                // It may be closed while this is sent.
                let _ = stream.write_all(bytes);
                let answer = read_to_end(stream);
                let expected = usize::from(!is_first);
                let refused = [400, 431].map(|status| count(&answer, status)).iter().sum::<usize>();
                // What was sent after the end may have taken the answer along.
                assert!(refused <= 1 && count(&answer, 200) == expected || answer.is_empty());
                assert!(refused == 1 || bytes.len() > 1 << 17, "{bytes:?}: {answer}");
            }
        }
    });
}

/// They get all of their answers if they read them after all.
#[test]
fn thousands_of_requests_whose_answers_nobody_reads_are_left_where_they_are() {
    let server = server("1m");
    // Many small answers, which could all be in memory before the first one is written, or large
    // ones, which could be there all at once.
    let floods = [("/version", 20_000), ("/openapi.json", 300)].map(|(path, count)| {
        let one = get(path);
        (one.len(), one.repeat(count))
    });

    // What actix has read of a connection takes fifty times as much once it is taken apart. So all
    // would take more, were it not for the turns of `src/watch.rs`.
    let count = many(8, 100);
    attacked(&server, 4 * MEGABYTE + 3 * MEGABYTE / 2 * count as u64, || {
        let mut all: Vec<_> = (floods.iter().cycle().take(count))
            .map(|(length, flood)| {
                let stream = server.raw(b"");
                stream.set_nonblocking(true).unwrap();
                (stream, *length, flood, 0)
            })
            .collect();
        let mut rounds_without_progress = 0;
        eventually("nothing more is taken", || {
            rounds_without_progress += 1;
            for (stream, _, flood, sent) in &mut all {
                if let Ok(length @ 1..) = stream.write(&flood.as_bytes()[*sent..]) {
                    *sent += length;
                    rounds_without_progress = 0;
                }
            }
            rounds_without_progress == 20
        });

        for (mut stream, length, _, sent) in all.drain(all.len() / 2..) {
            stream.set_nonblocking(false).unwrap();
            let whole = sent / length;
            assert_eq!(whole, read_answers(&mut stream, whole, 200));
        }
        all.iter().for_each(|(stream, ..)| reset(stream));
    });
}

/// What is sent behind a request that waits is kept as it came, and not as thousands of requests,
/// each of which takes a hundred times as much.
#[test]
fn requests_behind_one_that_waits_take_little_room() {
    let server = server("1m");
    let [holder, waiting] = [(); 2].map(|()| server.new_peer());
    server.acquire(holder, "A", 1);
    let parks = request("PUT", &format!("/peers/{waiting}/A?block_for=1h"), "1");
    let behind = "GET / HTTP/1.1\r\nHost:\r\n\r\n".repeat(4_000);
    let count = many(20, 500);

    attacked(&server, 8 * MEGABYTE + 3 * MEGABYTE * count as u64, || {
        let mut parked: Vec<_> = (0..count).map(|_| server.raw(parks.as_bytes())).collect();
        eventually("all wait", || metric(&server, "throttle_waiters") >= count);
        for stream in &mut parked {
            stream.write_all(behind.as_bytes()).unwrap();
        }
        for _ in 0..20 {
            assert!(metric(&server, "throttle_waiters") >= count, "they wait on");
        }
        drop(parked);
        eventually("nobody waits", || metric(&server, "throttle_waiters") <= 1);
    });
}

/// Without a limit of his own he could only be stopped by the one of all peers.
#[test]
fn peers_made_by_the_thousand_cost_what_they_should_and_go_again() {
    let server = server("1m");
    let count = many(5_000, 100_000);
    let ids = || (1 << 40..).take(count);
    let make = |id: u64| {
        let body = format!(r#"{{"expires_in":"1h","peer_id":{id}}}"#);
        request("POST", "/new_peer", &body)
    };
    let expire = |id| request("PUT", &format!("/peers/{id}"), r#"{"expires_in":"1s"}"#);
    let before = Vitals::of(&server).resident;
    let mut after = Vec::new();

    for round in 0..2 {
        attacked(&server, 4 * MEGABYTE + 300 * count as u64, || {
            assert_eq!(count, pipeline(&server, 200, ids().map(make)), "round {round}");
            assert_eq!(count + 2 * (round + 1), metric(&server, "throttle_peers"));
            assert_eq!(count, pipeline(&server, 200, ids().map(expire)));
            eventually("they end", || metric(&server, "throttle_peers") == 2 * (round + 1));
        });
        after.push(Vitals::of(&server).resident);
    }

    println!("{before} bytes before, {after:?} after each round");
    assert!(after[1] < after[0] + 4 * MEGABYTE, "what the first ones had is used again: {after:?}");
    assert_eq!(0, metric(&server, "throttle_peers") - 4);
}

#[test]
fn largest_names_and_labels_cost_no_more_than_their_letters() {
    let server = server("1m");
    let count = many(1_000, 20_000);
    // Letters of four bytes each: 128 in the name, 1,000 in all labels.
    let letters = "𝄞".repeat(124);
    let labels: Vec<_> = (0..8).map(|n| format!(r#""{n}":"{letters}""#)).collect();
    let about = format!(r#""name":"{}","labels":{{{}}}"#, "𝄞".repeat(128), labels.join(","));
    let make = |id: u64| {
        request("POST", "/new_peer", &format!(r#"{{"expires_in":"1h","peer_id":{id},{about}}}"#))
    };

    attacked(&server, 8 * MEGABYTE + 5_500 * count as u64, || {
        let ids = (1 << 40..).take(count);
        assert_eq!(count, pipeline(&server, 200, ids.clone().map(make)));
        let gone = ids.map(|id| request("DELETE", &format!("/peers/{id}"), ""));
        assert_eq!(count, pipeline(&server, 200, gone));
    });
    let [first, second] = [(); 2].map(|()| {
        let ids = (1 << 41..).take(count);
        pipeline(&server, 200, ids.clone().map(make));
        let gone = ids.map(|id| request("DELETE", &format!("/peers/{id}"), ""));
        pipeline(&server, 200, gone);
        Vitals::of(&server).resident
    });

    assert!(second < first + 4 * MEGABYTE, "{first} {second}");
}

/// He gets no more than the limit, and it costs those nothing who are there already.
#[test]
fn floods_beyond_the_limits_are_refused_and_leave_nothing() {
    let server = Server::start(
        "[semaphores]\nother = 1\nA = 9223372036854775807\n[semaphores.templates]\n\"t-*\" = 1\n\
         [limits]\nmax_peers = 500\nmax_semaphores = 50",
    );
    let holder = server.new_peer();
    let [more, far_more] = [many(1_000, 100_000), many(1_000, 100_000)];
    let restore = |id: u64| {
        let locks = r#"{"A":1,"t-restored":1}"#;
        let body = format!(r#"{{"expires_in":"1h","peer_id":{id},"acquired":{locks}}}"#);
        request("POST", "/restore", &body)
    };

    attacked(&server, 8 * MEGABYTE, || {
        assert_eq!(497, pipeline(&server, 200, (7..).take(more).map(restore)));
        assert_eq!(500, metric(&server, "throttle_peers"));
        assert_eq!(1 - 497, server.remainder("t-restored"));

        let made = |n| request("PUT", &format!("/peers/{holder}/t-{n}?queue=false"), "1");
        let others = |n| request("PUT", &format!("/peers/7/t-{n}"), "1");
        assert_eq!(1, pipeline(&server, 200, (0..far_more).map(made)), "one level, one lock");
        assert_eq!(0, pipeline(&server, 200, (0..far_more).map(others)), "it holds some already");
        let looks = (0..far_more).map(|n| get(&format!("/semaphores/t-none-{n}")));
        pipeline(&server, 200, looks);
        assert!(server.names().len() <= 50, "{:?}", server.names());
        let unknown = (0..far_more).map(|n| get(&format!("/{n}/{n}")));
        assert_eq!(far_more, pipeline(&server, 404, unknown));
    });

    let gone = (7..504_u64).map(|id| request("DELETE", &format!("/peers/{id}"), ""));
    assert_eq!(497, pipeline(&server, 200, gone));
    server.delete(&format!("/peers/{holder}"));
    assert_eq!(i64::MAX, server.remainder("A"));
    eventually("what nobody uses is gone", || server.names() == ["A", "other"]);
}

/// Whoever needs no waiting does not feel them.
#[test]
fn floods_of_waiters_are_refused_beyond_their_number() {
    let server = Server::start("[semaphores]\nA = 1\nother = 1\n[limits]\nmax_waiters = 20");
    let [holder, waiting] = [(); 2].map(|()| server.new_peer());
    server.acquire(holder, "A", 1);
    let before = Vitals::of(&server);
    let count = many(200, 5_000);
    let park = request("PUT", &format!("/peers/{waiting}/A?block_for=1h"), "1");

    let parked: Vec<_> = (0..count).map(|_| server.raw(park.as_bytes())).collect();
    let refused = "throttle_refused_total{reason=\"too_many_waiters\"}";
    eventually("the rest is refused", || metric(&server, refused) == count - 20);
    assert_eq!(20, metric(&server, "throttle_waiters"));
    server.assert_serves("other");
    server.delete(&format!("/peers/{holder}"));

    let answers: Vec<_> =
        (parked.into_iter()).map(|mut stream| read_answers(&mut stream, 1, 200)).collect();
    assert_eq!(20, answers.iter().sum::<usize>());
    eventually("their connections are closed", || {
        Vitals::of(&server).files <= before.files + OF_OURS
    });
}

#[test]
fn hundreds_who_listen_and_never_read_cost_little() {
    let name = "x".repeat(many(4_000, 10_000));
    let server = Server::start(&format!("[semaphores]\n{name} = 1\nother = 1"));

    attacked(&server, 32 * MEGABYTE, || {
        let listeners: Vec<_> = (0..300).map(|_| Listener::at(&server, "/events")).collect();
        assert_eq!(100, listeners.iter().filter(|listener| listener.status == 200).count());
        assert_eq!(200, listeners.iter().filter(|listener| listener.status == 503).count());
        for _ in 0..many(40, 3_000) {
            server.assert_serves(&name);
        }
        drop(listeners);
        eventually("there is room again", || Listener::at(&server, "/events").status == 200);
    });
}
