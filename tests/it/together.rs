//! Several locks at once, and peers that are made with their locks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    client::{Client, Response, eventually},
    server::Server,
};

/// Chosen by a test as a caller would draw it.
const CHOSEN: u64 = (1 << 32) + 7;

fn server() -> Server {
    Server::start(
        "[semaphores]\nhigh = { max = 2, level = 5 }\nmid = { max = 1, level = 3 }\nlow = 1",
    )
}

/// Makes a peer of a chosen id that asks for these locks.
fn make(client: &Client, id: u64, query: &str, acquire: &str) -> Response {
    let body = format!(r#"{{"expires_in":"1h","peer_id":{id},"acquire":{acquire}}}"#);
    client.post(&format!("/new_peer{query}"), &body)
}

/// Asks for these locks as an existing peer.
fn ask(client: &Client, id: u64, query: &str, acquire: &str) -> Response {
    client.put(&format!("/peers/{id}{query}"), &format!(r#"{{"acquire":{acquire}}}"#))
}

fn chosen() -> String {
    CHOSEN.to_string()
}

#[test]
fn lock_costs_one_round_trip_to_take_and_one_to_give_back() {
    let server = server();
    let body = r#"{"expires_in":"1h","acquire":{"high":2,"low":1}}"#;

    let made = server.post("/new_peer?block_for=5s", body);

    assert_eq!(200, made.status, "{}", made.body);
    let peer: u64 = made.body.parse().unwrap();
    assert_eq!((0, 0, 1), (remainder(&server, "high"), remainder(&server, "low"), 1));
    assert_eq!((200, "\"Peer released\""), server.delete(&format!("/peers/{peer}")).pair());
    assert_eq!((2, 1), (remainder(&server, "high"), remainder(&server, "low")));
}

fn remainder(client: &Client, semaphore: &str) -> i64 {
    client.remainder(semaphore)
}

#[test]
fn new_peer_waits_for_all_its_locks_together() {
    let server = server();
    let holder = server.new_peer();
    server.acquire(holder, "low", 1);

    let made = make(&server, CHOSEN, "", r#"{"high":1,"low":1}"#);
    assert_eq!((202, chosen().as_str()), made.pair());
    assert!(!server.is_acquired(CHOSEN));
    let client = server.clone();
    let parked =
        thread::spawn(move || make(&client, CHOSEN, "?block_for=20s", r#"{"low":1,"high":1}"#));
    eventually("the request is parked", || {
        server.get("/metrics").body.contains("throttle_waiters 1")
    });
    server.delete(&format!("/peers/{holder}/low"));

    let granted = parked.join().unwrap();
    assert_eq!((200, chosen().as_str()), granted.pair());
    assert!(granted.header("throttle-token").is_some());
    assert_eq!((1, 0), (remainder(&server, "high"), remainder(&server, "low")));
}

#[test]
fn making_a_peer_is_safe_to_repeat() {
    let server = server();

    for _ in 0..3 {
        assert_eq!((200, chosen().as_str()), make(&server, CHOSEN, "", r#"{"high":1}"#).pair());
    }
    assert_eq!(1, remainder(&server, "high"));
    for other in [r#"{"high":2}"#, r#"{"low":1}"#, r#"{"high":1,"low":1}"#] {
        let refused = make(&server, CHOSEN, "", other);
        assert_eq!(409, refused.status, "{other}");
        assert!(refused.body.contains("exists already"), "{}", refused.body);
    }
    server.delete(&format!("/peers/{CHOSEN}/high"));
    assert_eq!(409, make(&server, CHOSEN, "", r#"{"high":1}"#).status, "it was given back");
}

#[test]
fn repetition_renews_the_lease_and_a_refusal_does_not() {
    let server = server();
    let body = |expires_in: &str, count: i64| {
        format!(
            r#"{{"expires_in":"{expires_in}","peer_id":{CHOSEN},"acquire":{{"high":{count}}}}}"#
        )
    };
    let left = || {
        let shown = server.get(&format!("/peers/{CHOSEN}"));
        let shown: serde_json::Value = serde_json::from_str(&shown.body).unwrap();
        let text = shown["expires_in"].as_str().unwrap().to_owned();
        text.strip_suffix("ms").unwrap().parse::<u64>().unwrap()
    };

    server.post("/new_peer", &body("1h", 1));
    server.post("/new_peer", &body("2h", 1));
    assert!(left() > 3_600_000, "{}", left());
    assert_eq!(409, server.post("/new_peer", &body("9h", 2)).status);
    assert!(left() <= 7_200_000, "{}", left());
}

#[test]
fn refusal_makes_no_peer() {
    let server = server();

    for (acquire, status, text) in [
        (r#"{"high":1,"nope":1}"#, 400, "Unknown semaphore"),
        (r#"{"high":3}"#, 409, "can never be acquired"),
        (r#"{"high":0}"#, 400, "must be a positive number"),
        (r#"{"high":1,"high":1}"#, 400, "may be named once"),
        ("{}", 400, "no semaphore is named"),
        ("null", 400, "an object with semaphores"),
        (r#"["high"]"#, 400, "an object with semaphores"),
        (r#"{"high":"1"}"#, 400, "an integer"),
        (&format!("{{{}\"high\":1}}", "\"low\":1,".repeat(100)), 400, "101 semaphores are named"),
    ] {
        let refused = make(&server, CHOSEN, "", acquire);
        assert_eq!(status, refused.status, "{acquire}: {}", refused.body);
        assert!(refused.body.contains(text), "{acquire}: {}", refused.body);
    }
    assert_eq!("[]", server.get("/peers/").body);
}

#[test]
fn ids_that_a_caller_may_choose_have_their_range() {
    let server = server();
    let make =
        |id: &str| server.post("/new_peer", &format!(r#"{{"expires_in":"1h","peer_id":{id}}}"#));

    for id in ["0", "42", "4294967295", "9007199254740992", "-1", "1.5", "null", "\"4294967296\""] {
        let refused = make(id);
        assert_eq!(400, refused.status, "{id}: {}", refused.body);
    }
    assert!(make("42").body.contains("drawn at random from 4294967296 to 9007199254740991"));
    for id in ["4294967296", "9007199254740991"] {
        assert_eq!((200, id), make(id).pair());
        assert_eq!((200, id), make(id).pair(), "without an ask the repetition is the same");
    }
}

#[test]
fn names_are_shown_and_may_not_break_a_line() {
    let server = server();
    let make =
        |name: &str| server.post("/new_peer", &format!(r#"{{"expires_in":"1h","name":{name}}}"#));

    let peer: u64 = make(r#""etl@nöde7 \"x\"""#).body.parse().unwrap();
    let shown = server.get(&format!("/peers/{peer}")).body;
    assert!(shown.contains(r#""name":"etl@nöde7 \"x\"""#), "{shown}");
    assert_eq!(200, make(&format!("\"{}\"", "ä".repeat(128))).status);

    assert!(make(&format!("\"{}\"", "a".repeat(129))).body.contains("129 characters"));
    for name in
        [r#""a\nb""#, r#""\u0000""#, r#""\u001b[31m""#, r#""a\u2028b""#, r#""\u202e""#, "7", "null"]
    {
        assert_eq!(400, make(name).status, "{name}");
    }
    assert!(server.get(&format!("/peers/{}", server.new_peer())).body.contains("\"name\":null"));
}

#[test]
fn existing_peer_asks_for_several_below_what_it_holds() {
    let server = server();
    let peer = server.new_peer();
    let id = peer.to_string();

    assert_eq!((200, id.as_str()), ask(&server, peer, "", r#"{"high":1}"#).pair());
    assert_eq!((200, id.as_str()), ask(&server, peer, "", r#"{"mid":1,"low":1}"#).pair());

    assert_eq!(200, ask(&server, peer, "", r#"{"low":1,"high":1}"#).status, "all of it is held");
    let violation = ask(&server, server.new_peer(), "", r#"{"low":1}"#);
    assert_eq!(202, violation.status);
    let other = server.new_peer();
    server.acquire(other, "high", 1);
    for (acquire, status, text) in [
        (r#"{"high":1,"mid":1}"#, 409, "hierarchy violation"),
        (r#"{"high":1,"low":1}"#, 409, "not just the locks"),
        (r#"{"high":2}"#, 409, "not just the locks"),
    ] {
        let refused = ask(&server, other, "", acquire);
        assert_eq!(status, refused.status, "{acquire}: {}", refused.body);
        assert!(refused.body.contains(text), "{acquire}: {}", refused.body);
    }
}

#[test]
fn pending_ask_is_the_same_ask_only_as_a_whole() {
    let server = server();
    let (holder, peer) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "low", 1);

    assert_eq!(202, ask(&server, peer, "", r#"{"mid":1,"low":1}"#).status);
    assert_eq!(202, ask(&server, peer, "", r#"{"low":1,"mid":1}"#).status);
    for other in [r#"{"low":1}"#, r#"{"mid":1}"#, r#"{"high":1,"low":1}"#] {
        let refused = ask(&server, peer, "", other);
        assert_eq!(409, refused.status, "{other}");
        assert!(refused.body.contains("not just the locks"), "{other}: {}", refused.body);
    }
    assert!(ask(&server, peer, "", r#"{"high":1}"#).body.starts_with("Already pending."));
    // The older route asks whether this one lock is acquired.
    assert_eq!(202, server.acquire(peer, "mid", 1));
}

#[test]
fn heartbeat_and_ask_are_one_request() {
    let server = server();
    let peer = server.new_peer_for("1m");
    let both = r#"{"expires_in":"1h","acquire":{"low":1},"active":{}}"#;

    let answer = server.put(&format!("/peers/{peer}"), both);
    assert_eq!(200, answer.status);
    let left = answer.header("throttle-expires-in").unwrap();
    assert!(left.len() == "3600000ms".len() && left.starts_with("36"), "{left}");
    let kept = ask(&server, peer, "", r#"{"low":1}"#);
    assert!(kept.header("throttle-expires-in").unwrap().starts_with("3"), "not renewed");

    for (query, body, text) in [
        ("", "{}", "missing field `expires_in`"),
        ("?block_for=1s", r#"{"expires_in":"1h"}"#, "without `acquire`"),
        ("?queue=false", r#"{"expires_in":"1h"}"#, "without `acquire`"),
        ("?queue=no", both, "`no` is neither `true` nor `false`"),
        ("?block_for=1", both, "not a duration"),
        ("?expires_in=1h", both, "unknown parameter `expires_in`"),
        ("", r#"{"expires_in":null,"acquire":{"low":1}}"#, "a string with a duration"),
    ] {
        let refused = server.put(&format!("/peers/{peer}{query}"), body);
        assert_eq!(400, refused.status, "{query} {body}: {}", refused.body);
        assert!(refused.body.contains(text), "{query} {body}: {}", refused.body);
    }
}

#[test]
fn withdrawing_one_part_of_a_pending_ask_withdraws_all_of_it() {
    let server = server();
    let (holder, peer) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "low", 1);
    let client = server.clone();
    let parked =
        thread::spawn(move || ask(&client, peer, "?block_for=20s", r#"{"high":2,"low":1}"#));
    eventually("it is parked", || server.get("/metrics").body.contains("throttle_waiters 1"));

    assert_eq!((200, "Ok"), server.delete(&format!("/peers/{peer}/high")).pair());

    assert_eq!((409, "Lock was withdrawn."), parked.join().unwrap().pair());
    assert!(server.is_acquired(peer));
    server.delete(&format!("/peers/{holder}"));
    assert_eq!((2, 1), (remainder(&server, "high"), remainder(&server, "low")));
}

#[test]
fn releasing_one_of_several_acquired_locks_releases_that_one() {
    let server = server();
    let peer = server.new_peer();
    ask(&server, peer, "", r#"{"high":2,"mid":1,"low":1}"#);

    server.delete(&format!("/peers/{peer}/mid"));

    let left = ["high", "mid", "low"].map(|name| remainder(&server, name));
    assert_eq!([0, 1, 0], left);
}

#[test]
fn try_is_granted_at_once_or_leaves_nothing_behind() {
    let server = server();
    let holder = server.new_peer();
    server.acquire(holder, "low", 1);
    let peer = server.new_peer();
    let lock = format!("/peers/{peer}/low?queue=false");

    for refused in [
        server.put(&lock, "1"),
        server.put(&format!("{lock}&block_for=1h"), "1"),
        ask(&server, peer, "?queue=false", r#"{"high":1,"low":1}"#),
        make(&server, CHOSEN, "?queue=false", r#"{"high":1,"low":1}"#),
    ] {
        assert_eq!(409, refused.status, "{}", refused.body);
        assert!(refused.body.starts_with("Not free: count 1 of `low`"), "{}", refused.body);
    }
    assert!(server.is_acquired(peer));
    assert_eq!(2, remainder(&server, "high"));
    assert_eq!(400, server.get(&format!("/peers/{CHOSEN}")).status);

    server.delete(&format!("/peers/{holder}"));
    assert_eq!(200, make(&server, CHOSEN, "?queue=false", r#"{"high":1,"low":1}"#).status);
    assert_eq!(409, server.put(&lock, "1").status);
    assert_eq!(200, make(&server, CHOSEN, "?queue=false", r#"{"high":1,"low":1}"#).status, "again");
}

/// Reserving in any other order deadlocks: X would keep `low` while it waits for `high`, which Y
/// holds, who waits for `low`.
#[test]
fn whoever_waits_for_several_does_not_keep_what_others_nest() {
    let server = server();
    let (x, y) = (server.new_peer(), server.new_peer());
    assert_eq!(200, server.acquire(y, "high", 2));

    assert_eq!(202, ask(&server, x, "", r#"{"low":1,"high":1}"#).status);
    assert_eq!(200, server.acquire(y, "low", 1), "nobody keeps it");

    server.delete(&format!("/peers/{y}"));
    assert!(server.is_acquired(x));
}

/// A thousand peers, each with a random set of twenty semaphores of several levels at once, and a
/// random set of five others nested below. All are served, and nothing is ever above max.
#[test]
fn crowd_with_random_sets_is_served() {
    const PEERS: u64 = 1_000;
    let mut configuration = "[semaphores]\n".to_owned();
    for number in 0..UPPER {
        let (max, level) = (max_of(number), number % 3 + 1);
        configuration.push_str(&format!("upper{number} = {{ max = {max}, level = {level} }}\n"));
    }
    for number in 0..LOWER {
        configuration.push_str(&format!("lower{number} = {}\n", max_of(number)));
    }
    let server = Server::start(&configuration);
    let is_over = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let (client, is_over) = (server.clone(), is_over.clone());
        move || {
            let mut looks = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_nothing_is_above_max(&client.get("/metrics").body);
                looks += 1;
            }
            looks
        }
    });

    let peers: Vec<_> = (0..PEERS)
        .map(|number| {
            let client = server.clone();
            let life = move || {
                let id = (1 << 40) + number;
                until_granted(|| {
                    make(&client, id, "?block_for=10s", &random_set("upper", UPPER, number))
                });
                let below = random_set("lower", LOWER, number ^ 0x5555);
                until_granted(|| ask(&client, id, "?block_for=10s", &below));
                assert_eq!(200, client.delete(&format!("/peers/{id}")).status);
            };
            thread::Builder::new().stack_size(256 * 1024).spawn(life).unwrap()
        })
        .collect();
    for peer in peers {
        peer.join().unwrap();
    }
    is_over.store(true, Ordering::Relaxed);

    assert!(watcher.join().unwrap() > 0);
    for number in 0..UPPER {
        assert_eq!(max_of(number), server.remainder(&format!("upper{number}")) as u64);
    }
    for number in 0..LOWER {
        assert_eq!(max_of(number), server.remainder(&format!("lower{number}")) as u64);
    }
}

/// Asks again until it is granted, as a client does; also where the machine allows fewer open files
/// than a thousand waiters need.
fn until_granted(mut ask: impl FnMut() -> Response) {
    eventually("it is granted", || {
        let answer = ask();
        assert!([200, 202, 503].contains(&answer.status), "{}: {}", answer.status, answer.body);
        answer.status == 200
    });
}

/// Semaphores above and below.
const UPPER: u64 = 20;
const LOWER: u64 = 5;

fn max_of(number: u64) -> u64 {
    number % 5 + 1
}

/// One to four semaphores of a group, with counts of at most their max. The same for each seed.
fn random_set(group: &str, size: u64, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut numbers: Vec<_> = (0..draw(4) + 1).map(|_| draw(size)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let locks: Vec<_> = (numbers.iter())
        .map(|number| format!("\"{group}{number}\":{}", draw(max_of(*number)) + 1))
        .collect();
    format!("{{{}}}", locks.join(","))
}

fn assert_nothing_is_above_max(metrics: &str) {
    let values = |name: &str| -> Vec<f64> {
        let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
    };
    let (counts, maxes) = (values("throttle_count"), values("throttle_full_count"));
    assert_eq!(UPPER + LOWER, counts.len() as u64);
    assert!(counts.iter().zip(&maxes).all(|(count, max)| count <= max), "{metrics}");
}
