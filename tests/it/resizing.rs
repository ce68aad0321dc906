//! `PUT` and `DELETE /semaphores/{name}`: resize, pause, and back to the configuration.

use std::thread;

use serde_json::json;

use crate::{
    client::{Client, eventually},
    server::Server,
    waiting::{outcome, park},
};

/// A server whose only permit is held by the returned peer.
fn held() -> (Server, u64) {
    let server = Server::with_max(1);
    let holder = server.new_peer();
    assert_eq!(200, server.acquire(holder, "A", 1));
    (server, holder)
}

fn acquired(client: &Client, peers: &[u64]) -> Vec<bool> {
    peers.iter().map(|peer| client.is_acquired(*peer)).collect()
}

#[test]
fn change_is_answered_with_what_the_list_shows() {
    let (server, _) = held();

    let adjusted = server.put("/semaphores/A", r#"{"max":3,"paused":true}"#);

    assert_eq!(200, adjusted.status);
    assert_eq!(Some("application/json"), adjusted.header("content-type"));
    let expected = json!({
        "name": "A", "max": 3, "level": 0, "acquired": 1, "pending": 0, "waiting": 0,
        "holders": 1, "longest_pending": "0ms", "paused": true, "source": "file",
        "configured": {"max": 1, "level": 0},
    });
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(expected, parse(&adjusted.body));
    assert_eq!(json!([expected]), server.json("/semaphores"));
    let reset = parse(&server.delete("/semaphores/A").body);
    assert_eq!(json!([1, false]), json!([reset["max"], reset["paused"]]));
    assert_eq!(json!([reset]), server.json("/semaphores"));
}

#[test]
fn growing_answers_the_parked_request_at_once() {
    let (server, _) = held();
    let [first, second, third] = [(); 3].map(|()| server.new_peer());
    let waits = [first, second].map(|peer| park(&server, peer, 1, "20s"));
    server.acquire(third, "A", 1);

    server.adjust("A", r#"{"max":3}"#);

    for (wait, peer) in waits.into_iter().zip([first, second]) {
        assert_eq!((200, peer.to_string()), outcome(wait));
    }
    assert!(!server.is_acquired(third), "there are no more than three");
    assert_eq!(0, server.remainder("A"));
}

#[test]
fn shrinking_revokes_nothing_and_drains() {
    let server = Server::with_max(3);
    let holders = [(); 3].map(|()| server.new_peer());
    for holder in holders {
        server.acquire(holder, "A", 1);
    }
    let waiting = server.new_peer();
    server.acquire(waiting, "A", 1);

    server.adjust("A", r#"{"max":1}"#);

    assert_eq!(vec![true; 3], acquired(&server, &holders));
    assert_eq!(-2, server.remainder("A"));
    let again = server.put(&format!("/peers/{}/A", holders[0]), "1");
    assert_eq!(200, again.status, "a repetition is answered as before");
    for holder in &holders[..2] {
        server.delete(&format!("/peers/{holder}"));
        assert!(!server.is_acquired(waiting));
    }
    server.delete(&format!("/peers/{}", holders[2]));
    assert!(server.is_acquired(waiting));
    assert_eq!(0, server.remainder("A"));
}

#[test]
fn ask_that_could_never_be_granted_is_withdrawn_and_told_so() {
    let server = Server::with_max(3);
    let [holder, large, small] = [(); 3].map(|()| server.new_peer());
    server.acquire(holder, "A", 3);
    let (large_parked, small_parked) =
        (park(&server, large, 3, "20s"), park(&server, small, 2, "20s"));

    server.adjust("A", r#"{"max":2}"#);

    assert_eq!((409, "Lock was withdrawn.".to_owned()), outcome(large_parked));
    assert!(server.is_acquired(large), "it waits for nothing any more");
    let refused = server.put(&format!("/peers/{large}/A"), "3");
    assert_eq!(409, refused.status);
    assert!(refused.body.contains("full count is only 2"), "{}", refused.body);
    server.delete(&format!("/peers/{holder}"));
    assert_eq!((200, small.to_string()), outcome(small_parked));
}

/// With it goes all that was reserved for it elsewhere.
#[test]
fn ask_for_several_is_withdrawn_as_a_whole() {
    let server = Server::start("[semaphores]\nhigh = { max = 2, level = 1 }\nlow = 2");
    let (holder, both) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "low", 1);
    let client = server.clone();
    let parked = thread::spawn(move || {
        client.put(&format!("/peers/{both}?block_for=20s"), r#"{"acquire":{"high":2,"low":2}}"#)
    });
    eventually("it is pending", || !server.is_acquired(both));

    server.adjust("low", r#"{"max":1}"#);

    assert_eq!((409, "Lock was withdrawn.".to_owned()), outcome(parked));
    assert_eq!(200, server.acquire(server.new_peer(), "high", 2), "nothing is reserved any more");
}

#[test]
fn max_of_zero_grants_nothing_and_the_greatest_is_a_max_as_well() {
    let (server, holder) = held();

    server.adjust("A", r#"{"max":0}"#);
    assert_eq!(-1, server.remainder("A"));
    assert_eq!(409, server.acquire(server.new_peer(), "A", 1));
    server.adjust("A", r#"{"max":9223372036854775807}"#);
    assert_eq!(200, server.acquire(server.new_peer(), "A", i64::MAX - 1));
    server.adjust("A", r#"{"max":0}"#);
    assert_eq!(-i64::MAX, server.remainder("A"));
    server.delete(&format!("/peers/{holder}"));
    assert!(
        server
            .get("/metrics")
            .body
            .contains("throttle_over_commit{semaphore=\"A\"} 9223372036854775806\n")
    );
}

#[test]
fn paused_semaphore_grants_nothing_and_keeps_its_queue() {
    let (server, holder) = held();
    let [first, second, late] = [(); 3].map(|()| server.new_peer());
    let parked = park(&server, first, 1, "20s");
    server.acquire(second, "A", 1);

    server.adjust("A", r#"{"paused":true}"#);
    server.delete(&format!("/peers/{holder}"));

    assert_eq!(1, server.remainder("A"), "free, and not granted");
    assert_eq!(vec![false, false], acquired(&server, &[first, second]));
    assert_eq!(202, server.acquire(late, "A", 1), "it may still queue");
    let refused = server.put(&format!("/peers/{}/A?queue=false", server.new_peer()), "1");
    assert_eq!(409, refused.status);
    assert!(refused.body.starts_with("Not free: count 1 of `A`"), "{}", refused.body);
    server.adjust("A", r#"{"max":2}"#);
    assert_eq!(vec![false, false], acquired(&server, &[first, second]), "paused all the same");

    server.adjust("A", r#"{"paused":false}"#);
    assert_eq!((200, first.to_string()), outcome(parked));
    assert_eq!(vec![true, false], acquired(&server, &[second, late]), "in their order");
}

#[test]
fn holders_of_a_paused_semaphore_keep_their_locks() {
    let (server, holder) = held();
    server.adjust("A", r#"{"paused":true}"#);

    let path = format!("/peers/{holder}");
    assert_eq!(200, server.put(&path, r#"{"expires_in":"2h"}"#).status);
    assert_eq!(200, server.put(&format!("{path}/A?queue=false"), "1").status, "held already");
    assert_eq!((200, "Ok"), server.delete(&format!("{path}/A")).pair());

    assert_eq!(202, server.acquire(holder, "A", 1));
    let restore = r#"{"expires_in":"1h","peer_id":7,"acquired":{"A":1}}"#;
    assert_eq!(200, server.post("/restore", restore).status, "what was held may come back");
}

#[test]
fn delete_undoes_both() {
    let (server, _) = held();
    let waiting = server.new_peer();
    server.adjust("A", r#"{"max":7,"paused":true}"#);
    let parked = park(&server, waiting, 1, "20s");

    let reset = server.delete("/semaphores/A");

    assert_eq!(200, reset.status);
    let shown = server.json("/semaphores/A");
    assert_eq!(json!([1, false]), json!([shown["max"], shown["paused"]]));
    assert!(!server.is_acquired(waiting), "the one permit is held");
    server.adjust("A", r#"{"max":2,"paused":true}"#);
    server.adjust("A", r#"{"paused":false}"#);
    assert_eq!((200, waiting.to_string()), outcome(parked));
    assert_eq!(200, server.delete("/semaphores/A").status);
    assert_eq!(-1, server.remainder("A"));
    assert_eq!(200, server.delete("/semaphores/A").status, "once more does no harm");
}

#[test]
fn bad_bodies_are_refused_and_change_nothing() {
    let (server, _) = held();
    let before = server.json("/semaphores")[0].clone();

    for (body, text) in [
        (r#"{"max":-1}"#, "`max` -1 is negative, expected 0 or more"),
        (r#"{"max":null}"#, "invalid type: null"),
        (r#"{"max":"5"}"#, "invalid type: string \"5\", expected an integer"),
        (r#"{"max":1.5}"#, "invalid type: floating point `1.5`"),
        (r#"{"max":9223372036854775808}"#, "expected an integer of at most 9223372036854775807"),
        (r#"{"max":5,"max":5}"#, "duplicate field `max`"),
        (r#"{"max":5,"paused":null}"#, "invalid type: null, expected a boolean"),
        (r#"{"paused":"true"}"#, "expected a boolean"),
        (r#"{"paused":1}"#, "expected a boolean"),
        (r#"{"pause":true}"#, "unknown field `pause`"),
        (r#"{"pause":true}"#, "did you mean `paused`?"),
        (r#"{"max":5,"level":1}"#, "unknown field `level`, expected `max` or `paused`"),
        ("{}", "neither `max` nor `paused` is there"),
        ("[5,true]", "invalid type: sequence"),
        ("5", "invalid type: integer `5`"),
        ("{\"max\":5", "EOF while parsing"),
        ("{\"max\":5}5", "trailing characters"),
        ("", "it is empty"),
    ] {
        let refused = server.put("/semaphores/A", body);

        assert_eq!(400, refused.status, "{body}");
        assert!(refused.body.starts_with("invalid body: "), "{body}: {}", refused.body);
        assert!(refused.body.contains(text), "{body}: {}", refused.body);
        assert!(refused.body.ends_with("such as `{\"max\": 5}` or `{\"paused\": true}`"));
    }
    for headers in [&[][..], &[("Content-Type", "text/plain")]] {
        assert_eq!(415, server.send("PUT", "/semaphores/A", headers, r#"{"max":5}"#).status);
    }
    for method in ["PUT", "DELETE"] {
        let json = [("Content-Type", "application/json")];
        let refused = server.send(method, "/semaphores/A?max=5", &json, r#"{"max":5}"#);
        assert_eq!((400, "invalid query: expected none on this route"), refused.pair());
    }
    assert_eq!(before, server.json("/semaphores")[0]);
    assert!(!server.stderr().contains("set to max"), "nothing to log: {}", server.stderr());
}

#[test]
fn unknown_semaphore_cannot_be_set() {
    let (server, _) = held();

    let refused = server.put("/semaphores/B", r#"{"max":5}"#);

    assert_eq!((400, "Unknown semaphore"), refused.pair());
    assert_eq!((400, "Unknown semaphore"), server.delete("/semaphores/B").pair());
    assert_eq!(["A"], *server.names());
}

#[test]
fn each_change_is_logged_with_who_asked() {
    let (server, _) = held();

    server.adjust("A", r#"{"max":5}"#);
    server.adjust("A", r#"{"paused":true}"#);
    server.delete("/semaphores/A");

    for change in ["max 5, not paused", "max 5, paused", "max 1, not paused"] {
        let line = format!("WARN  throttle] semaphore `A` set to {change}, by 127.0.0.1\n");
        eventually(&line, || server.stderr().contains(&line));
    }
    assert_eq!(3, server.stderr().matches("set to max").count());
}

/// Nobody is granted beyond what there is at that moment, and nobody is forgotten.
#[test]
fn crowd_is_served_while_the_semaphore_is_resized_and_paused() {
    const CROWD: usize = 8;
    let server = Server::with_max(2);
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let client = server.clone();
            thread::spawn(move || {
                for _ in 0..10 {
                    let body = r#"{"expires_in":"1h","acquire":{"A":1}}"#;
                    let made = client.post("/new_peer?block_for=20s", body);
                    assert_eq!(200, made.status, "{}", made.body);
                    let released = client.delete(&format!("/peers/{}", made.body));
                    assert_eq!("\"Peer released\"", released.body);
                }
            })
        })
        .collect();

    for round in 0..20 {
        let max = 1 + round % 4;
        server.adjust("A", &format!(r#"{{"max":{max},"paused":{}}}"#, round % 3 == 0));
    }
    assert_eq!(200, server.delete("/semaphores/A").status);

    crowd.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(2, server.remainder("A"));
    let metrics = server.get("/metrics").body;
    let granted = format!("throttle_acquired_total{{semaphore=\"A\"}} {}\n", CROWD * 10);
    assert!(metrics.contains(&granted), "{metrics}");
}
