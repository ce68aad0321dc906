//! `POST /new_peer`, `/peers/{id}`, `/peers/`, `POST /remove_expired`.

use std::{collections::HashSet, thread, time::Duration};

use crate::{client::eventually, server::Server};

#[test]
fn ids_are_random_and_fit_into_the_integers_of_javascript() {
    let server = Server::with_max(1);

    let ids: HashSet<_> = (0..100).map(|_| server.new_peer()).collect();

    assert_eq!(100, ids.len());
    assert!(ids.iter().all(|id| (1..1 << 53).contains(id)));
    assert!(ids.iter().any(|id| *id > 1 << 40), "they are not counted up");
}

#[test]
fn heartbeat_ignores_what_old_clients_send_with_it() {
    let server = Server::with_max(1);
    let peer = server.new_peer();
    let path = format!("/peers/{peer}");

    for body in [
        r#"{"expires_in":"5m"}"#,
        r#"{"expires_in":"300000ms","active":{"A":1}}"#,
        r#"{"active":null,"expires_in":"1.5s"}"#,
    ] {
        assert_eq!((200, "Ok"), server.put(&path, body).pair(), "{body}");
    }
}

#[test]
fn heartbeat_sets_the_end_of_the_lease() {
    let server = Server::with_max(1);
    let [shortened, extended] = [(); 2].map(|()| server.new_peer());
    let is_known = |peer| server.get(&format!("/peers/{peer}/is_acquired")).status == 200;

    server.put(&format!("/peers/{extended}"), r#"{"expires_in":"12h"}"#);
    server.put(&format!("/peers/{shortened}"), r#"{"expires_in":"1ms"}"#);
    eventually("the shortened lease ends", || !is_known(shortened));

    let list: serde_json::Value = serde_json::from_str(&server.get("/peers/").body).unwrap();
    let left = list[0]["expires_in"].as_str().unwrap().trim_end_matches("ms");
    assert!((39_600_000..=43_200_000).contains(&left.parse().unwrap()), "about 12 hours: {list}");
}

#[test]
fn released_peer_gives_back_all_its_locks() {
    let server = Server::start("[semaphores]\nA = 1\nB = { max = 1, level = 1 }");
    let peer = server.new_peer();
    assert_eq!(200, server.acquire(peer, "B", 1));
    assert_eq!(200, server.acquire(peer, "A", 1));

    let response = server.delete(&format!("/peers/{peer}"));

    assert_eq!((200, "\"Peer released\""), response.pair());
    assert_eq!(Some("application/json"), response.header("content-type"));
    assert_eq!((1, 1), (server.remainder("A"), server.remainder("B")));
    let response = server.delete(&format!("/peers/{peer}"));
    assert_eq!((200, "\"Peer not found\""), response.pair());
}

#[test]
fn list_shows_each_peer_with_its_locks() {
    let server = Server::with_max(1);
    assert_eq!((200, "[]"), server.get("/peers/").pair());
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);
    server.acquire(waiting, "A", 1);

    let response = server.get("/peers/");

    assert_eq!(Some("application/json"), response.header("content-type"));
    let list: Vec<serde_json::Value> = serde_json::from_str(&response.body).unwrap();
    let find = |id: u64| list.iter().find(|peer| peer["id"] == id).unwrap();
    assert_eq!(2, list.len());
    assert_eq!(serde_json::json!({"A": 1}), find(holder)["acquired"]);
    assert_eq!(serde_json::json!({}), find(holder)["pending"]);
    assert_eq!(serde_json::json!({"A": 1}), find(waiting)["pending"]);
}

#[test]
fn list_comes_in_pages_where_that_is_asked_for() {
    let server = Server::with_max(1);
    let made: HashSet<u64> = (0..150).map(|_| server.new_peer()).collect();
    let ids = |query: &str| -> Vec<u64> {
        let list = server.json(&format!("/peers/{query}"));
        list.as_array().unwrap().iter().map(|peer| peer["id"].as_u64().unwrap()).collect()
    };

    let all = ids("");
    let page = ids("?offset=30&limit=20");

    assert_eq!((150, made), (all.len(), all.iter().copied().collect()));
    assert_eq!(all[30..50], page, "in the same order");
    assert_eq!(all[..100], ids("?offset=0"), "a hundred where only the beginning is named");
    assert_eq!(all[..], ids("?limit=1000"));
    assert_eq!(all[149..], ids("?offset=149&limit=5"));
    assert!(ids("?offset=150&limit=5").is_empty());
    assert!(ids("?offset=4294967295").is_empty());
    assert_eq!(page, {
        let list = server.json("/peers?offset=30&limit=20");
        list.as_array().unwrap().iter().map(|it| it["id"].as_u64().unwrap()).collect::<Vec<_>>()
    });
}

#[test]
fn remove_expired_counts_what_it_expires() {
    let server = Server::with_max(1);
    server.new_peer();

    let response = server.send("POST", "/remove_expired", &[], "");

    assert_eq!((200, "0"), response.pair());
    assert_eq!(Some("application/json"), response.header("content-type"));
}

#[test]
fn expired_peer_is_unknown_and_its_permits_are_free() {
    let server = Server::start("litter_collection_interval = \"1h\"\n[semaphores]\nA = 1");
    let (peer, other) = (server.new_peer(), server.new_peer());
    server.acquire(peer, "A", 1);
    assert_eq!(202, server.acquire(other, "A", 1));

    server.put(&format!("/peers/{peer}"), r#"{"expires_in":"1ms"}"#);
    eventually("the lock is handed on", || server.is_acquired(other));

    let response = server.put(&format!("/peers/{peer}"), r#"{"expires_in":"1h"}"#);
    assert_eq!((400, "Unknown peer"), response.pair());
    let line = format!("WARN  throttle] expired peer {peer}, held 1 of `A`");
    eventually(&line, || server.stderr().contains(&line));
}

#[test]
fn of_many_peers_that_expire_together_the_first_are_named() {
    let server = Server::with_max(100);
    let peers: Vec<u64> = (0..30).map(|_| server.new_peer()).collect();
    for peer in &peers {
        server.acquire(*peer, "A", 1);
        server.put(&format!("/peers/{peer}"), r#"{"expires_in":"3s"}"#);
    }

    // All leases end while the server stands still, hence together.
    server.signal("STOP");
    thread::sleep(Duration::from_secs(4));
    server.signal("CONT");

    let rest = "WARN  throttle] expired 20 more peers that held locks";
    eventually(rest, || server.stderr().contains(rest));
    assert_eq!(10, server.stderr().matches("expired peer ").count());
}
