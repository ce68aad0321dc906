//! `block_for`: parked requests, and all the ways in which their wait ends.

use std::{
    io::Read,
    thread::{self, JoinHandle},
};

use crate::{
    client::{Client, Response, eventually},
    server::Server,
};

/// Parks a request for a lock of `A` in a thread, and returns once the lock is pending.
pub fn park(client: &Client, peer: u64, count: i64, block_for: &str) -> JoinHandle<Response> {
    let path = format!("/peers/{peer}/A?block_for={block_for}");
    let sender = client.clone();
    let parked = thread::spawn(move || sender.put(&path, &count.to_string()));
    eventually("the lock is pending", || !client.is_acquired(peer));
    parked
}

pub fn outcome(parked: JoinHandle<Response>) -> (u16, String) {
    let response = parked.join().unwrap();
    (response.status, response.body)
}

#[test]
fn whichever_way_a_permit_becomes_free_the_waiting_request_is_answered() {
    type Way = (&'static str, fn(&Client, u64));
    let ways: [Way; 4] = [
        ("released", |client, holder| drop(client.delete(&format!("/peers/{holder}/A")))),
        ("peer released", |client, holder| drop(client.delete(&format!("/peers/{holder}")))),
        ("shrunk", |client, holder| assert_eq!(200, client.acquire(holder, "A", 1))),
        ("expired", |client, holder| {
            client.put(&format!("/peers/{holder}"), r#"{"expires_in":"1ms"}"#);
        }),
    ];
    for (name, way) in ways {
        let server = Server::start("litter_collection_interval = \"1h\"\n[semaphores]\nA = 2");
        let (holder, waiting) = (server.new_peer(), server.new_peer());
        server.acquire(holder, "A", 2);
        let parked = park(&server, waiting, 1, "20s");

        way(&server, holder);

        assert_eq!((200, waiting.to_string()), outcome(parked), "{name}");
    }
}

#[test]
fn cancelling_the_one_ahead_answers_the_one_behind() {
    let server = Server::with_max(2);
    let [holder, ahead, behind] = [(); 3].map(|()| server.new_peer());
    server.acquire(holder, "A", 1);
    let ahead_parked = park(&server, ahead, 2, "20s");
    let behind_parked = park(&server, behind, 1, "20s");

    server.delete(&format!("/peers/{ahead}/A"));

    assert_eq!((409, "Lock was withdrawn.".to_owned()), outcome(ahead_parked));
    assert_eq!((200, behind.to_string()), outcome(behind_parked));
}

#[test]
fn wait_that_is_over_leaves_the_lock_pending() {
    let server = Server::with_max(1);
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);

    let response = server.put(&format!("/peers/{waiting}/A?block_for=50ms"), "1");

    assert_eq!((202, waiting.to_string().as_str()), response.pair());
    server.delete(&format!("/peers/{holder}"));
    assert!(server.is_acquired(waiting));
}

#[test]
fn zero_does_not_wait_and_free_permits_are_not_waited_for() {
    let server = Server::with_max(1);
    let (holder, waiting) = (server.new_peer(), server.new_peer());

    assert_eq!(200, server.put(&format!("/peers/{holder}/A?block_for=1h"), "1").status);
    for zero in ["0", "0s", "0ms"] {
        let path = format!("/peers/{waiting}/A?block_for={zero}");
        assert_eq!(202, server.put(&path, "1").status);
    }
}

#[test]
fn several_requests_may_wait_for_one_lock() {
    let server = Server::with_max(1);
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);
    let parked: Vec<_> = (0..5).map(|_| park(&server, waiting, 1, "20s")).collect();

    server.delete(&format!("/peers/{holder}"));

    for parked in parked {
        assert_eq!((200, waiting.to_string()), outcome(parked));
    }
    assert_eq!(0, server.remainder("A"));
}

#[test]
fn peer_that_goes_takes_its_waiters_with_it() {
    let server = Server::start("litter_collection_interval = \"1h\"\n[semaphores]\nA = 1");
    let [holder, released, expired] = [(); 3].map(|()| server.new_peer());
    server.acquire(holder, "A", 1);
    let waits = [released, expired].map(|peer| park(&server, peer, 1, "20s"));

    server.delete(&format!("/peers/{released}"));
    server.put(&format!("/peers/{expired}"), r#"{"expires_in":"1ms"}"#);

    for parked in waits {
        assert_eq!((400, "Unknown peer".to_owned()), outcome(parked));
    }
}

#[test]
fn shrinking_a_pending_lock_ends_the_wait_for_the_larger_one() {
    let server = Server::with_max(3);
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 3);
    let larger = park(&server, waiting, 3, "20s");

    let smaller = park(&server, waiting, 1, "20s");

    assert_eq!((409, "Lock was withdrawn.".to_owned()), outcome(larger));
    server.acquire(holder, "A", 2);
    assert_eq!((200, waiting.to_string()), outcome(smaller));
}

#[test]
fn client_that_hangs_up_keeps_its_place() {
    let server = Server::with_max(1);
    let [holder, first, second] = [(); 3].map(|()| server.new_peer());
    server.acquire(holder, "A", 1);
    let request = format!(
        "PUT /peers/{first}/A?block_for=20s HTTP/1.1\r\nHost: x\r\nContent-Type: \
         application/json\r\nContent-Length: 1\r\n\r\n1"
    );
    let connection = server.raw(request.as_bytes());
    eventually("the lock is pending", || !server.is_acquired(first));

    drop(connection);
    server.acquire(second, "A", 1);
    server.delete(&format!("/peers/{holder}"));

    assert!(server.is_acquired(first));
    assert!(!server.is_acquired(second));
}

#[test]
fn queue_is_served_in_the_order_of_arrival() {
    let server = Server::with_max(1);
    let holder = server.new_peer();
    server.acquire(holder, "A", 1);
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut peers = Vec::new();
    let mut parked = Vec::new();
    for _ in 0..20 {
        let (client, sender, peer) = (server.clone(), sender.clone(), server.new_peer());
        peers.push(peer);
        parked.push(thread::spawn(move || {
            let response = client.put(&format!("/peers/{peer}/A?block_for=20s"), "1");
            assert_eq!(200, response.status);
            sender.send(peer).unwrap();
            client.delete(&format!("/peers/{peer}"));
        }));
        eventually("the lock is pending", || !server.is_acquired(peer));
    }

    server.delete(&format!("/peers/{holder}"));

    let served: Vec<_> = receiver.iter().take(20).collect();
    assert_eq!(peers, served);
    parked.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn wait_on_a_flooded_connection_ends_early() {
    let server = Server::with_max(1);
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);
    let parked = format!(
        "PUT /peers/{waiting}/A?block_for=1h HTTP/1.1\r\nHost: x\r\nContent-Type: \
         application/json\r\nContent-Length: 1\r\n\r\n1"
    );
    let flood = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10_000);

    let mut stream = server.raw((parked + &flood).as_bytes());

    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!("HTTP/1.1 202", String::from_utf8_lossy(&status));
    server.delete(&format!("/peers/{holder}"));
    assert!(server.is_acquired(waiting));
}
