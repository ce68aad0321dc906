//! `POST /restore`.

use crate::server::Server;

fn body(peer: u64, acquired: &str) -> String {
    format!(r#"{{"expires_in":"1h","peer_id":{peer},"acquired":{acquired}}}"#)
}

#[test]
fn peer_comes_back_with_its_locks_even_beyond_max() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1");

    let response = server.post("/restore", &body(42, r#"{"A":3,"B":1}"#));

    assert_eq!((200, "Ok"), response.pair());
    assert_eq!((-2, 0), (server.remainder("A"), server.remainder("B")));
    assert!(server.is_acquired(42));
}

#[test]
fn every_u64_is_an_id() {
    let server = Server::with_max(1);

    for peer in [0, 1, 1 << 53, u64::MAX] {
        assert_eq!((200, "Ok"), server.post("/restore", &body(peer, "{}")).pair());
        assert!(server.is_acquired(peer));
    }
}

#[test]
fn restoring_the_same_again_is_fine_and_anything_else_a_conflict() {
    let server = Server::with_max(5);
    server.post("/restore", &body(42, r#"{"A":1}"#));

    assert_eq!(200, server.post("/restore", &body(42, r#"{"A":1}"#)).status);
    let response = server.post("/restore", &body(42, r#"{"A":2}"#));

    assert_eq!((409, "Restore is not allowed to change existing peers."), response.pair());
    assert_eq!(4, server.remainder("A"));
}

#[test]
fn semaphore_that_is_named_twice_is_refused() {
    let server = Server::with_max(5);

    let response = server.post("/restore", &body(42, r#"{"A":1,"A":2}"#));

    assert_eq!(400, response.status);
    assert!(response.body.contains("Found: A"), "{}", response.body);
    assert_eq!(5, server.remainder("A"));
}

#[test]
fn sum_beyond_the_range_is_a_conflict_that_changes_nothing() {
    let server = Server::with_max(1);
    server.post("/restore", &body(1, r#"{"A":9223372036854775807}"#));

    let response = server.post("/restore", &body(2, r#"{"A":1}"#));

    assert_eq!(409, response.status);
    assert!(response.body.contains("out of range"), "{}", response.body);
    assert_eq!(1 - i64::MAX, server.remainder("A"));
    assert_eq!(400, server.get("/peers/2/is_acquired").status);
}

#[test]
fn misspelt_field_does_not_come_back_as_a_lock() {
    let server = Server::with_max(1);

    let response = server.post("/restore", r#"{"expires_in":"1h","peer_id":1,"aquired":{"A":1}}"#);

    assert_eq!(400, response.status);
    assert!(response.body.contains("did you mean `acquired`?"), "{}", response.body);
    assert_eq!(400, server.get("/peers/1/is_acquired").status);
}
