//! `PUT` and `DELETE /peers/{id}/{semaphore}` without waiting.

use crate::{client::eventually, server::Server};

#[test]
fn lock_is_taken_seen_and_given_back() {
    let server = Server::with_max(3);
    let peer = server.new_peer();

    let response = server.put(&format!("/peers/{peer}/A"), "2");

    assert_eq!((200, peer.to_string().as_str()), response.pair());
    assert_eq!(Some("application/json"), response.header("content-type"));
    assert_eq!(1, server.remainder("A"));
    let response = server.delete(&format!("/peers/{peer}/A"));
    assert_eq!((200, "Ok"), response.pair());
    assert_eq!(Some("text/plain; charset=utf-8"), response.header("content-type"));
    assert_eq!(3, server.remainder("A"));
    assert_eq!((200, "Ok"), server.delete(&format!("/peers/{peer}/A")).pair());
}

#[test]
fn pending_lock_is_accepted_and_is_acquired_once_there_is_room() {
    let server = Server::with_max(1);
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);

    let response = server.put(&format!("/peers/{waiting}/A"), "1");

    assert_eq!((202, waiting.to_string().as_str()), response.pair());
    assert_eq!(Some("application/json"), response.header("content-type"));
    assert!(!server.is_acquired(waiting));
    server.delete(&format!("/peers/{holder}/A"));
    assert!(server.is_acquired(waiting));
    assert_eq!(200, server.acquire(waiting, "A", 1));
}

#[test]
fn large_count_is_not_starved() {
    let server = Server::with_max(3);
    let peers = [(); 3].map(|()| server.new_peer());
    assert_eq!(200, server.acquire(peers[0], "A", 1));

    assert_eq!(202, server.acquire(peers[1], "A", 3));
    assert_eq!(202, server.acquire(peers[2], "A", 1), "a permit is free, but not for latecomers");
    server.delete(&format!("/peers/{}/A", peers[0]));

    assert!(server.is_acquired(peers[1]));
    assert!(!server.is_acquired(peers[2]));
}

#[test]
fn shrinking_hands_on_what_becomes_free() {
    let server = Server::with_max(3);
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 3);
    assert_eq!(202, server.acquire(waiting, "A", 2));

    assert_eq!(200, server.acquire(holder, "A", 1));

    assert!(server.is_acquired(waiting));
}

#[test]
fn every_name_reaches_its_semaphore() {
    let names = [
        ("a/b", "a%2Fb"),
        ("a/b", "a/b"),
        ("a&b=c", "a%26b%3Dc"),
        ("a b", "a%20b"),
        ("a+b", "a+b"),
        ("'\"", "'%22"),
        ("ä☃", "%C3%A4%E2%98%83"),
        ("%41", "%2541"),
        ("is_acquired", "is_acquired"),
        ("..", "%2E%2E"),
        ("?#", "%3F%23"),
        ("\u{1}\n", "%01%0A"),
    ];
    let quoted: std::collections::BTreeSet<_> =
        names.iter().map(|(name, _)| serde_json::to_string(name).unwrap()).collect();
    let configuration: String = quoted.iter().map(|name| format!("{name} = 1\n")).collect();
    let server = Server::start(&format!("[semaphores]\n{configuration}"));

    for (name, path) in names {
        let peer = server.new_peer();
        assert_eq!(200, server.acquire(peer, path, 1), "{name}");
        let list: serde_json::Value = serde_json::from_str(&server.get("/peers/").body).unwrap();
        assert_eq!(serde_json::json!({ name: 1 }), list[0]["acquired"]);
        assert_eq!(0, server.remainder(&path.replace('+', "%2B")), "{name}");
        assert_eq!((200, "Ok"), server.delete(&format!("/peers/{peer}/{path}")).pair());
        server.delete(&format!("/peers/{peer}"));
    }
}

#[test]
fn acquire_renews_the_lease() {
    let server = Server::with_max(1);
    let peer = server.new_peer();

    assert_eq!(200, server.put(&format!("/peers/{peer}/A?expires_in=12h"), "1").status);
    let list: serde_json::Value = serde_json::from_str(&server.get("/peers/").body).unwrap();
    let left = list[0]["expires_in"].as_str().unwrap().trim_end_matches("ms");
    assert!((39_600_000..=43_200_000).contains(&left.parse().unwrap()), "about 12 hours: {list}");

    assert_eq!(200, server.put(&format!("/peers/{peer}/A?expires_in=1ms"), "1").status);
    eventually("the shortened lease ends", || server.remainder("A") == 1);
}
