//! `GET /events`: what happens, as it happens, to those who look on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::{
    client::Client,
    listener::{Event, Listener},
    server::Server,
};

/// Makes a peer that asks for these locks.
fn make(client: &Client, acquire: &str) -> u64 {
    let made = client.post("/new_peer", &format!(r#"{{"expires_in":"1h","acquire":{acquire}}}"#));
    assert!([200, 202].contains(&made.status), "{}", made.body);
    made.body.parse().unwrap()
}

fn remove(client: &Client, peer: u64) {
    assert_eq!("\"Peer released\"", client.delete(&format!("/peers/{peer}")).body);
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

fn is_time(value: &Value) -> bool {
    humantime::parse_rfc3339(value.as_str().unwrap()).is_ok()
}

fn milliseconds(value: &Value) -> u64 {
    value.as_str().unwrap().strip_suffix("ms").unwrap().parse().unwrap()
}

#[test]
fn stream_is_what_browsers_expect() {
    let server = Server::with_max(1);

    let mut listener = Listener::at(&server, "/events");

    assert_eq!(200, listener.status);
    for line in ["content-type: text/event-stream", "cache-control: no-store", "throttle-instance"]
    {
        assert!(listener.head.contains(line), "{}", listener.head);
    }
    let first = listener.message().unwrap();
    let instance = listener.head.split("throttle-instance: ").nth(1).unwrap();
    let id = format!("{}-0", instance.split("\r\n").next().unwrap());
    assert_eq!(format!("retry: 2000\nid: {id}"), first, "to go on from here after a break");
}

#[test]
fn granted_lock_is_told_with_all_that_is_known_of_it() {
    let server = Server::with_max(5);
    let mut listener = Listener::at(&server, "/events");

    let body = r#"{"expires_in":"1h","name":"etl@node7","labels":{"host":"node7","pid":"311"},
                   "acquire":{"A":3}}"#;
    let made = server.post("/new_peer", body);

    let Event { kind, data, id } = listener.event();
    let token: u64 = made.header("throttle-token").unwrap().parse().unwrap();
    let expected = json!({
        "at": data["at"], "peer": made.body.parse::<u64>().unwrap(), "name": "etl@node7",
        "labels": {"host": "node7", "pid": "311"}, "semaphore": "A", "count": 3, "token": token,
        "after": "0ms",
    });
    assert_eq!(("granted", expected), (kind.as_str(), data.clone()));
    assert!(is_time(&data["at"]), "{data}");
    let instance = made.header("throttle-instance").unwrap();
    assert_eq!(format!("{instance}-1"), id);
}

/// The life of a lock, in the order in which it happens.
#[test]
fn each_thing_that_happens_to_a_lock_is_told_in_its_order() {
    let server = Server::with_max(2);
    let mut listener = Listener::at(&server, "/events");
    let [holder, waiting, cancelled, expired] = [(); 4].map(|()| server.new_peer());

    server.acquire(holder, "A", 2);
    server.acquire(waiting, "A", 1);
    server.acquire(cancelled, "A", 1);
    server.acquire(holder, "A", 1);
    server.delete(&format!("/peers/{cancelled}/A"));
    server.delete(&format!("/peers/{holder}/A"));
    server.acquire(expired, "A", 1);
    server.put(&format!("/peers/{expired}"), r#"{"expires_in":"50ms"}"#);
    remove(&server, waiting);
    let until_expired = listener.until("expired");
    server.post("/restore", r#"{"expires_in":"1h","peer_id":7,"acquired":{"A":4},"name":"back"}"#);

    let expected = [
        ("granted", holder, 2),
        ("pending", waiting, 1),
        ("pending", cancelled, 1),
        ("released", holder, 1),
        ("granted", waiting, 1),
        ("cancelled", cancelled, 1),
        ("released", holder, 1),
        ("granted", expired, 1),
        ("released", waiting, 1),
        ("expired", expired, 1),
    ];
    let seen = until_expired.iter().map(|event| {
        let (kind, semaphore, peer) = event.lock();
        assert_eq!("A", semaphore);
        (kind, peer, event.data["count"].as_i64().unwrap())
    });
    assert_eq!(expected[..], seen.collect::<Vec<_>>());
    let numbers: Vec<_> = until_expired.iter().map(Event::number).collect();
    assert_eq!((1..=10).collect::<Vec<_>>(), numbers);
    let [pending, granted, released] = [1, 4, 8].map(|at| &until_expired[at].data);
    assert_eq!(json!([null, "0ms"]), json!([pending["token"], pending["after"]]));
    assert!(granted["token"].is_u64() && granted["token"] == released["token"], "{released}");
    assert!(milliseconds(&until_expired[9].data["after"]) >= 50, "held for so long");
    let restored = listener.event();
    assert_eq!(("restored", "A", 7), restored.lock());
    let shown = ["name", "count", "token", "after"].map(|key| &restored.data[key]);
    assert_eq!(json!(["back", 4, null, "0ms"]), json!(shown));
}

#[test]
fn lease_that_ends_cancels_what_was_pending() {
    let server = Server::with_max(1);
    let (_, waiting) = (make(&server, r#"{"A":1}"#), make(&server, r#"{"A":1}"#));
    let mut listener = Listener::at(&server, "/events");

    server.put(&format!("/peers/{waiting}"), r#"{"expires_in":"20ms"}"#);

    let event = listener.event();
    assert_eq!(("cancelled", "A", waiting), event.lock());
    assert!(milliseconds(&event.data["after"]) >= 20, "waited for so long");
}

#[test]
fn pending_lock_that_shrinks_is_cancelled_in_part() {
    let server = Server::with_max(3);
    make(&server, r#"{"A":2}"#);
    let waiting = make(&server, r#"{"A":3}"#);
    let mut listener = Listener::at(&server, "/events");

    server.acquire(waiting, "A", 1);

    let events = listener.until("granted");
    assert_eq!(["cancelled", "granted"], *kinds(&events));
    assert_eq!(json!([2, 1]), json!([events[0].data["count"], events[1].data["count"]]));
}

#[test]
fn ask_for_several_has_an_event_for_each_of_its_locks() {
    let server = Server::start("[semaphores]\nhigh = { max = 2, level = 1 }\nlow = 1");
    let holder = make(&server, r#"{"low":1}"#);
    let mut listener = Listener::at(&server, "/events");

    let both = make(&server, r#"{"low":1,"high":2}"#);
    remove(&server, holder);
    remove(&server, both);

    let events: Vec<_> = (0..7).map(|_| listener.event()).collect();
    let seen: Vec<_> = events.iter().map(Event::lock).collect();
    let expected = [
        ("pending", "high", both),
        ("pending", "low", both),
        ("released", "low", holder),
        ("granted", "high", both),
        ("granted", "low", both),
        ("released", "high", both),
        ("released", "low", both),
    ];
    assert_eq!(expected, *seen);
    assert_eq!(events[3].data["token"], events[4].data["token"], "granted together");
}

#[test]
fn what_administrators_do_is_told_with_who_did_it() {
    let server = Server::with_max(1);
    let waiting = make(&server, r#"{"A":1}"#);
    let mut listener = Listener::at(&server, "/events");

    server.adjust("A", r#"{"max":5}"#);
    server.adjust("A", r#"{"paused":true}"#);
    server.delete("/semaphores/A");
    server.configure("[semaphores]\nB = 1");
    server.send("POST", "/reload", &[], "");
    server.delete(&format!("/peers/{waiting}?revoke=true"));

    let mut events = listener.until("released");
    assert_eq!(["resized", "resized", "resized", "reloaded", "released"], *kinds(&events));
    for event in &mut events[..4] {
        assert!(is_time(&event.data.as_object_mut().unwrap().remove("at").unwrap()));
    }
    for (event, max, paused) in [(0, 5, false), (1, 5, true), (2, 1, false)] {
        let expected = json!({"semaphore": "A", "max": max, "paused": paused, "by": "127.0.0.1"});
        assert_eq!(expected, events[event].data);
    }
    let expected = json!({
        "added": ["B"], "changed": [], "removed": ["A"], "kept": [], "needs_restart": [],
        "by": "127.0.0.1",
    });
    assert_eq!(expected, events[3].data);
}

/// What a resize does to others comes after it, or with it, but is never left out.
#[test]
fn resize_tells_whom_it_served_and_whom_it_withdrew() {
    let server = Server::with_max(2);
    make(&server, r#"{"A":2}"#);
    let (large, small) = (make(&server, r#"{"A":2}"#), make(&server, r#"{"A":1}"#));
    let mut listener = Listener::at(&server, "/events");

    server.adjust("A", r#"{"max":1}"#);
    server.adjust("A", r#"{"max":3}"#);

    let events: Vec<_> = (0..4).map(|_| listener.event()).collect();
    let locks = events.iter().filter(|event| event.kind != "resized").map(Event::lock);
    assert_eq!([("cancelled", "A", large), ("granted", "A", small)], *locks.collect::<Vec<_>>());
}

#[test]
fn filters_let_through_what_was_asked_for() {
    let server = Server::start("[semaphores]\nA = 9\n\"a/ b\" = 9");
    let peer = server.new_peer();
    let listen = |query: &str| Listener::at(&server, &format!("/events?{query}"));
    let mut listeners = [
        (listen("semaphore=A"), vec![("granted", "A"), ("granted", "A"), ("resized", "A")]),
        (listen("semaphore=a%2F+b"), vec![("granted", "a/ b")]),
        (listen(&format!("peer={peer}")), vec![("granted", "A"), ("resized", "A")]),
        (listen(&format!("semaphore=a%2F%20b&peer={peer}")), vec![]),
        (listen("semaphore=unknown"), vec![]),
        (listen("peer=18446744073709551615"), vec![("resized", "A")]),
    ];

    make(&server, r#"{"a/ b":1}"#);
    server.acquire(peer, "A", 1);
    make(&server, r#"{"A":1}"#);
    server.adjust("A", r#"{"max":8}"#);
    server.send("POST", "/reload", &[], "");

    for (listener, expected) in &mut listeners {
        let events = listener.until("reloaded");
        let seen: Vec<_> = (events.iter())
            .filter_map(|event| Some((event.kind.as_str(), event.data["semaphore"].as_str()?)))
            .collect();
        assert_eq!(*expected, seen, "and whoever listens learns of a reload");
    }
}

#[test]
fn bad_filters_are_refused() {
    let server = Server::with_max(1);

    for (query, text) in [
        ("peer=x", "`x` is not a peer id"),
        ("peer=", "`` is not a peer id"),
        ("peer=-1", "`-1` is not a peer id"),
        ("semaphore=%FF", "`%FF` is not UTF-8"),
        ("semaphore=A&semaphore=B", "parameter `semaphore` stands there twice"),
        ("semaphor=A", "unknown parameter `semaphor`; did you mean `semaphore`?"),
    ] {
        let refused = server.get(&format!("/events?{query}"));

        assert_eq!(400, refused.status, "{query}");
        assert!(refused.body.contains(text), "{query}: {}", refused.body);
    }
}

#[test]
fn listener_goes_on_where_it_was() {
    let server = Server::with_max(9);
    let mut first = Listener::at(&server, "/events");
    let peers: Vec<u64> = (0..3).map(|_| make(&server, r#"{"A":1}"#)).collect();
    let seen = first.event();
    drop(first);

    let by_header = Listener::after(&server, &seen.id);
    let by_query = Listener::at(&server, &format!("/events?last_event_id={}", seen.id));
    let last = make(&server, r#"{"A":1}"#);

    for mut listener in [by_header, by_query] {
        let locks = [(); 3].map(|()| listener.event());
        let expected = [peers[1], peers[2], last].map(|peer| ("granted", "A", peer));
        assert_eq!(expected, locks.each_ref().map(Event::lock));
        assert_eq!([2, 3, 4], locks.each_ref().map(Event::number));
    }
    let mut from_now_on = Listener::at(&server, "/events?last_event_id=");
    remove(&server, last);
    assert_eq!(("released", "A", last), from_now_on.event().lock(), "an empty id is none");
}

/// Its connection breaks again and again, in the middle of what goes on.
#[test]
fn nothing_is_lost_or_told_twice_over_many_connections() {
    let server = Server::with_max(3);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut listener = Listener::at(&server, "/events");
    listener.message().unwrap();
    let (client, until) = (Client::clone(&server), is_over.clone());
    let busy = thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            client.assert_serves("A");
        }
        client.adjust("A", r#"{"max":4}"#);
    });

    let mut events = Vec::new();
    for _ in 0..12 {
        events.push(listener.event());
        events.push(listener.event());
        listener = Listener::after(&server, &listener.last_id);
    }
    is_over.store(true, Ordering::Relaxed);
    events.extend(listener.until("resized"));

    busy.join().unwrap();
    let numbers: Vec<_> = events.iter().map(Event::number).collect();
    assert_eq!((1..=numbers.len() as u64).collect::<Vec<_>>(), numbers);
    for pair in events[..events.len() - 1].chunks(2) {
        assert_eq!(["granted", "released"], *kinds(pair));
        assert_eq!(pair[0].data["token"], pair[1].data["token"]);
    }
}

#[test]
fn whoever_cannot_go_on_is_told_that_something_is_missed() {
    let earlier = Server::with_max(1);
    make(&earlier, r#"{"A":1}"#);
    let mut listener = Listener::at(&earlier, "/events");
    listener.message().unwrap();
    let id = listener.last_id.clone();
    let server = Server::with_max(9);
    make(&server, r#"{"A":1}"#);
    let ours = server.get("/health").header("throttle-instance").unwrap().to_owned();

    for unknown in [&id, "nonsense", "5", &format!("{ours}-99"), &format!("{ours}-x"), "-1"] {
        let mut listener = Listener::after(&server, unknown);
        let missed = listener.event();
        let peer = make(&server, r#"{"A":1}"#);

        assert_eq!(("missed", json!({})), (missed.kind.as_str(), missed.data), "{unknown}");
        let next = listener.event();
        assert_eq!(("granted", "A", peer), next.lock(), "{unknown}");
        remove(&server, peer);
        assert_eq!("released", listener.event().kind);
        let mut again = Listener::after(&server, &missed.id);
        assert_eq!(next.id, again.event().id, "from there on nothing is missed");
    }
}

/// 8,192 things are remembered, and told in batches.
#[test]
fn what_happened_too_long_ago_is_missed_and_all_else_is_told() {
    let names: String = (0..100).map(|number| format!("S{number} = 1\n")).collect();
    let server = Server::start(&format!("[semaphores]\n{names}"));
    let all: Vec<_> = (0..100).map(|number| format!("\"S{number}\":1")).collect();
    let acquire = format!("{{{}}}", all.join(","));
    let instance = server.get("/health").header("throttle-instance").unwrap().to_owned();

    // From now on events are kept.
    drop(Listener::at(&server, "/events"));
    // Each has two hundred events.
    (0..41).for_each(|_| remove(&server, make(&server, &acquire)));

    let mut too_late = Listener::after(&server, &format!("{instance}-7"));
    let mut in_time = Listener::after(&server, &format!("{instance}-8"));
    let missed = too_late.event();
    assert_eq!(("missed", 8_200), (missed.kind.as_str(), missed.number()));
    for number in 9..=8_200 {
        assert_eq!(number, in_time.event().number());
    }
}
