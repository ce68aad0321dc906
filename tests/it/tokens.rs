//! What a holder can learn: what is left of its lease, which start of the server it talks to, and
//! its fencing tokens.

use crate::{
    client::{Response, eventually},
    server::Server,
};

fn token(response: &Response) -> Option<u64> {
    response.header("throttle-token").map(|token| token.parse().unwrap())
}

fn server() -> Server {
    Server::start("[semaphores]\nA = 1\nB = { max = 9, level = 1 }")
}

#[test]
fn answers_that_touch_a_peer_say_what_is_left_of_its_lease() {
    let server = server();
    let peer = server.new_peer_for("5m");
    let json = [("Content-Type", "application/json")];
    let holder = server.new_peer();
    server.acquire(holder, "A", 1);

    for (method, path, body, status) in [
        ("PUT", format!("/peers/{peer}/A"), "1", 202),
        ("PUT", format!("/peers/{peer}/A?block_for=10ms"), "1", 202),
        ("DELETE", format!("/peers/{peer}/A"), "", 200),
        ("PUT", format!("/peers/{peer}/B"), "1", 200),
        ("GET", format!("/peers/{peer}"), "", 200),
        ("GET", format!("/peers/{peer}/is_acquired"), "", 200),
        ("PUT", format!("/peers/{peer}"), r#"{"expires_in":"5m"}"#, 200),
        ("POST", "/new_peer".to_owned(), r#"{"expires_in":"5m"}"#, 200),
        ("POST", "/restore".to_owned(), r#"{"expires_in":"5m","peer_id":7,"acquired":{}}"#, 200),
    ] {
        let response = server.send(method, &path, &json, body);
        assert_eq!(status, response.status, "{method} {path}: {}", response.body);
        let left = response.header("throttle-expires-in").unwrap();
        let left: u64 = left.strip_suffix("ms").unwrap().parse().unwrap();
        assert!((200_000..=300_000).contains(&left), "{method} {path}: {left}");
    }
}

#[test]
fn instance_tells_a_lost_lease_from_a_restart() {
    let server = server();
    let unknown = || server.put("/peers/7", r#"{"expires_in":"5m"}"#);
    let instance = |response: &Response| -> u64 {
        response.header("throttle-instance").unwrap().parse().unwrap()
    };

    assert_eq!((400, "Unknown peer"), unknown().pair());
    let first = instance(&unknown());
    assert!((1..1 << 53).contains(&first));
    for path in ["/health", "/peers/", "/nope"] {
        assert_eq!(first, instance(&server.get(path)), "{path}");
    }

    assert_ne!(first, instance(&self::server().get("/health")));
}

#[test]
fn tokens_grow_with_every_grant_also_across_restarts() {
    let mut latest = 0;
    for _ in 0..2 {
        let server = server();
        for _ in 0..3 {
            let peer = server.new_peer();
            let granted = server.put(&format!("/peers/{peer}/A"), "1");
            let next = token(&granted).unwrap();

            assert!(latest < next && next < 1 << 53, "{latest} {next}");
            latest = next;
            server.delete(&format!("/peers/{peer}"));
        }
    }
}

#[test]
fn token_comes_with_the_grant_and_with_each_repetition() {
    let server = server();
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    let lock = |peer: u64| format!("/peers/{peer}/A?block_for=1ms");

    let granted = server.put(&lock(holder), "1");
    let pending = server.put(&lock(waiting), "1");
    assert_eq!((200, 202), (granted.status, pending.status));
    assert!(token(&granted).is_some());
    assert_eq!(None, token(&pending));
    assert_eq!(token(&granted), token(&server.put(&lock(holder), "1")));
    server.delete(&format!("/peers/{holder}"));
    assert!(token(&server.put(&lock(waiting), "1")) > token(&granted));
}

#[test]
fn peer_is_shown_with_locks_tokens_and_lease() {
    let server = server();
    let body = r#"{"expires_in":"5m","name":"etl","acquire":{"B":2}}"#;
    let made = server.post("/new_peer", body);
    let peer: u64 = made.body.parse().unwrap();
    server.acquire(server.new_peer(), "A", 1);
    server.acquire(peer, "A", 1);

    let shown = server.get(&format!("/peers/{peer}"));
    assert_eq!(200, shown.status);
    let shown: serde_json::Value = serde_json::from_str(&shown.body).unwrap();

    let expected = serde_json::json!({
        "id": peer,
        "name": "etl",
        "labels": {},
        "expires_in": shown["expires_in"],
        "acquired": {"B": 2},
        "tokens": {"B": token(&made).unwrap()},
        "pending": {"A": 1},
        "since": shown["since"],
    });
    assert_eq!(expected, shown);
    let since = shown["since"].as_object().unwrap();
    let order: Vec<_> = since.keys().map(String::as_str).collect();
    assert_eq!(["A", "B"], *order, "of what is held, and of what is pending");
    let time = |name: &str| humantime::parse_rfc3339(since[name].as_str().unwrap()).unwrap();
    assert!(time("B") <= time("A"), "{since:?}");
    let all: serde_json::Value = serde_json::from_str(&server.get("/peers/").body).unwrap();
    let listed = all.as_array().unwrap().iter().find(|listed| listed["id"] == peer).unwrap();
    assert_eq!(expected["tokens"], listed["tokens"]);
    assert_eq!((400, "Unknown peer"), server.get("/peers/7").pair());
}

#[test]
fn restore_keeps_tokens_of_an_earlier_start_and_never_mints_one() {
    let earlier = server();
    let peer = earlier.new_peer();
    let granted = earlier.put(&format!("/peers/{peer}/B"), "1");
    let old = token(&granted).unwrap();
    drop(earlier);
    let server = server();
    let restore = |tokens: &str| {
        let body = format!(
            r#"{{"expires_in":"5m","peer_id":{peer},"acquired":{{"B":1}}{tokens},"name":"etl"}}"#
        );
        server.post("/restore", &body)
    };

    let restored = restore(&format!(r#","tokens":{{"B":{old}}}"#));
    assert_eq!((200, "Ok"), restored.pair());
    assert_eq!(None, token(&restored));
    assert_eq!(Some(old), token(&server.put(&format!("/peers/{peer}/B"), "1")));
    assert!(server.get(&format!("/peers/{peer}")).body.contains("\"name\":\"etl\""));
    server.delete(&format!("/peers/{peer}"));
    assert_eq!((200, "Ok"), restore("").pair());
    assert_eq!(None, token(&server.put(&format!("/peers/{peer}/B"), "1")));
    server.delete(&format!("/peers/{peer}"));

    let newest = token(&server.put(&format!("/peers/{}/B", server.new_peer()), "1")).unwrap();
    for (tokens, text) in [
        (format!(r#"{{"B":{newest}}}"#), "none that an earlier start of this server has granted"),
        ("{\"B\":0}".to_owned(), "Expected an integer of 1 to"),
        (format!(r#"{{"A":{old}}}"#), "of which no lock is to be restored"),
        (format!(r#"{{"Z":{old}}}"#), "Unknown semaphore"),
        (format!(r#"{{"B":{old},"B":{old}}}"#), "may be named once"),
        ("{\"B\":-1}".to_owned(), "invalid body"),
        ("[1]".to_owned(), "an object with semaphores"),
    ] {
        let refused = restore(&format!(",\"tokens\":{tokens}"));
        assert_eq!(400, refused.status, "{tokens}: {}", refused.body);
        assert!(refused.body.contains(text), "{tokens}: {}", refused.body);
    }
    assert_eq!((400, "Unknown peer"), server.get(&format!("/peers/{peer}")).pair());
}

/// A heartbeat that comes while the request is parked shows in its answer.
#[test]
fn parked_request_is_told_of_the_lease_as_it_is_in_the_end() {
    let server = server();
    let (holder, waiting) = (server.new_peer(), server.new_peer_for("5m"));
    server.acquire(holder, "A", 1);
    let wait = |block_for: &str| {
        let (client, path) =
            (server.clone(), format!("/peers/{waiting}/A?block_for={block_for}&expires_in=5m"));
        let parked = std::thread::spawn(move || client.put(&path, "1"));
        eventually("parked", || server.get("/metrics").body.contains("throttle_waiters 1\n"));
        server.put(&format!("/peers/{waiting}"), r#"{"expires_in":"2h"}"#);
        parked
    };
    let is_renewed = |answer: &Response| {
        let left = answer.header("throttle-expires-in").unwrap();
        let left: u64 = left.strip_suffix("ms").unwrap().parse().unwrap();
        assert!((7_000_000..=7_200_000).contains(&left), "{left}");
    };

    let pending = wait("1s").join().unwrap();
    assert_eq!(202, pending.status);
    is_renewed(&pending);
    let parked = wait("20s");
    server.delete(&format!("/peers/{holder}"));
    let granted = parked.join().unwrap();
    assert_eq!(200, granted.status);
    is_renewed(&granted);
}
