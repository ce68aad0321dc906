//! `[semaphores.templates]`: semaphores that are made at their first use, and go when unused.

use serde_json::json;

use crate::{
    client::{Response, eventually},
    server::Server,
    waiting::outcome,
};

const UNKNOWN: (u16, &str) = (400, "Unknown semaphore");

fn server() -> Server {
    Server::start("[semaphores]\nA = 1\n\n[semaphores.templates]\n\"tenant-*\" = 3\n")
}

fn make(server: &Server, acquire: &str) -> Response {
    server.post("/new_peer", &format!(r#"{{"expires_in":"1h","acquire":{acquire}}}"#))
}

#[test]
fn semaphore_is_made_at_its_first_use_and_goes_when_unused() {
    let server = server();
    assert_eq!(["A"], *server.names());
    let peer = server.new_peer();

    assert_eq!(200, server.acquire(peer, "tenant-1", 2));

    assert_eq!(["A", "tenant-1"], *server.names());
    let listed = server.json("/semaphores")[1].clone();
    let shown = ["max", "level", "acquired", "source", "configured"].map(|key| &listed[key]);
    assert_eq!(json!([3, 0, 2, "template", {"max": 3, "level": 0}]), json!(shown));
    assert!(server.get("/metrics").body.contains("throttle_count{semaphore=\"tenant-1\"} 2\n"));
    assert_eq!(200, server.delete(&format!("/peers/{peer}/tenant-1")).status);
    assert_eq!(["A"], *server.names());
    assert!(!server.get("/metrics").body.contains("tenant-1\"}"));
}

#[test]
fn it_goes_whichever_way_its_last_user_goes() {
    type Way = (&'static str, fn(&Server, u64));
    let ways: [Way; 4] = [
        ("released", |server, peer| drop(server.delete(&format!("/peers/{peer}/tenant-1")))),
        ("peer released", |server, peer| drop(server.delete(&format!("/peers/{peer}")))),
        ("revoked", |server, peer| drop(server.delete(&format!("/peers/{peer}?revoke=true")))),
        ("expired", |server, peer| {
            server.put(&format!("/peers/{peer}"), r#"{"expires_in":"1ms"}"#);
        }),
    ];
    let server = server();
    for (name, way) in ways {
        let peer = server.new_peer();
        assert_eq!(200, server.acquire(peer, "tenant-1", 1), "{name}");

        way(&server, peer);

        eventually(name, || server.names() == ["A"]);
    }
}

#[test]
fn whoever_waits_keeps_it_too() {
    let server = server();
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "tenant-1", 3);
    server.acquire(waiting, "tenant-1", 1);

    server.delete(&format!("/peers/{holder}"));
    assert!(server.is_acquired(waiting));
    assert_eq!(["A", "tenant-1"], *server.names());

    server.delete(&format!("/peers/{waiting}"));
    assert_eq!(["A"], *server.names());
}

#[test]
fn max_and_level_are_obeyed_in_each_of_them() {
    let server = Server::start(
        "[semaphores]\n\"low/db\" = 7\n[semaphores.templates]\n\"*/db\" = { max = 2, level = 1 }\n\
         \"*/lock\" = 1\n\"east/*\" = 5\n\"*\" = 9\n",
    );
    let [one, two] = [(); 2].map(|()| server.new_peer());

    assert_eq!(200, server.acquire(one, "a/db", 2));
    assert_eq!(202, server.acquire(two, "a/db", 1));
    assert_eq!(200, server.acquire(server.new_peer(), "b/db", 2), "another one of its own");
    let above = server.put(&format!("/peers/{}/c%2Fdb", server.new_peer()), "3");
    assert_eq!(409, above.status);
    assert!(above.body.contains("full count is only 2"), "{}", above.body);
    assert_eq!(200, server.acquire(one, "a/lock", 1), "at a lower level");
    let upwards = server.put(&format!("/peers/{one}/d/db"), "1");
    assert_eq!(409, upwards.status);
    assert!(upwards.body.contains("`d/db` at level 1 while holding `a/lock` at level 0"));
    // Of several that match, the one that fixes most of the name; and the file before all.
    for (name, max) in [("east/db", 5), ("east/x", 5), ("x/lock", 1), ("other", 9), ("low/db", 7)] {
        assert_eq!(max, server.remainder(name), "{name}");
    }
}

#[test]
fn remainder_and_view_of_one_that_is_not_there_yet_are_those_of_its_template() {
    let server = server();

    assert_eq!(3, server.remainder("tenant-1"));
    let view = server.json("/semaphores/tenant-2");
    let shown = ["max", "acquired", "source", "held_by", "queue"].map(|key| &view[key]);
    assert_eq!(json!([3, 0, "template", [], []]), json!(shown));

    assert_eq!(["A"], *server.names(), "a look does not make it stay");
    for other in ["tenant", "tenant-", "Tenant-1", "x-tenant-1"] {
        assert_eq!(UNKNOWN, server.get(&format!("/remainder?semaphore={other}")).pair());
        assert_eq!(UNKNOWN, server.get(&format!("/semaphores/{other}")).pair());
        assert_eq!(UNKNOWN, server.put(&format!("/peers/1/{other}"), "1").pair());
    }
}

#[test]
fn refused_asks_leave_nothing_behind() {
    let server = server();
    let peer = server.new_peer();

    for (acquire, status) in [
        (r#"{"tenant-1":4}"#, 409),
        (r#"{"tenant-1":0}"#, 400),
        (r#"{"tenant-1":1,"nope":1}"#, 400),
        (r#"{"tenant-1":1,"tenant-1":1}"#, 400),
    ] {
        assert_eq!(status, make(&server, acquire).status, "{acquire}");
        assert_eq!(["A"], *server.names(), "{acquire}");
    }
    assert_eq!(400, server.put("/peers/1/tenant-1", "1").status);
    assert_eq!(200, server.delete(&format!("/peers/{peer}/tenant-1")).status, "no such lock");
    assert_eq!(["A"], *server.names());
}

#[test]
fn one_that_was_set_by_hand_stays_until_that_is_undone() {
    let server = server();
    for (body, max) in [(r#"{"max":1}"#, 1), (r#"{"paused":true}"#, 3)] {
        server.adjust("tenant-1", body);
        let peer = server.new_peer();
        server.acquire(peer, "tenant-1", 1);

        server.delete(&format!("/peers/{peer}"));

        assert_eq!(["A", "tenant-1"], *server.names(), "{body}");
        assert_eq!(max, server.remainder("tenant-1"), "{body}");
        let reset = server.delete("/semaphores/tenant-1");
        assert_eq!(200, reset.status);
        assert!(reset.body.contains("\"max\":3,"), "{}", reset.body);
        assert_eq!(["A"], *server.names(), "{body}");
    }
    server.adjust("tenant-1", r#"{"max":3,"paused":false}"#);
    assert_eq!(["A"], *server.names(), "that is just what the template says");
}

#[test]
fn locks_of_one_are_restored() {
    let server = server();
    let restore = |acquired: &str| {
        let body = format!(r#"{{"expires_in":"1h","peer_id":7,"acquired":{acquired}}}"#);
        server.post("/restore", &body)
    };

    assert_eq!(UNKNOWN, restore(r#"{"tenants":1}"#).pair());
    assert_eq!((200, "Ok"), restore(r#"{"tenant-1":5}"#).pair());

    assert_eq!(-2, server.remainder("tenant-1"));
    server.delete("/peers/7");
    assert_eq!(["A"], *server.names());
    let body = r#"{"expires_in":"1h","peer_id":7,"acquired":{"A":1},"tokens":{"tenant-1":1}}"#;
    let refused = server.post("/restore", body);
    assert!(refused.body.starts_with("Token for `tenant-1`, of which no lock"), "{}", refused.body);
}

#[test]
fn beyond_max_semaphores_none_is_made() {
    let server = Server::start(
        "[semaphores]\nA = 1\n[semaphores.templates]\n\"tenant-*\" = 3\n[limits]\nmax_semaphores = 3",
    );
    let peers = [(); 3].map(|()| server.new_peer());
    server.acquire(peers[0], "tenant-1", 1);
    server.acquire(peers[1], "tenant-2", 1);

    for refused in [
        server.put(&format!("/peers/{}/tenant-3", peers[2]), "1"),
        make(&server, r#"{"tenant-3":1}"#),
        server.get("/remainder?semaphore=tenant-3"),
        server.get("/semaphores/tenant-3"),
        server.put("/semaphores/tenant-3", r#"{"max":1}"#),
        server.delete("/semaphores/tenant-3"),
        server.post("/restore", r#"{"expires_in":"1h","peer_id":7,"acquired":{"tenant-3":1}}"#),
    ] {
        assert_eq!(503, refused.status);
        assert_eq!(
            "Limit `max_semaphores` reached: there are 3 semaphores already, and this one would \
             have to be made. Try again later.",
            refused.body
        );
        assert_eq!(Some("5"), refused.header("retry-after"));
    }
    let counted = "throttle_refused_total{reason=\"too_many_semaphores\"} 7\n";
    assert!(server.get("/metrics").body.contains(counted));
    let problem = [("Accept", "application/problem+json")];
    let refused = server.send("GET", "/semaphores/tenant-3", &problem, "");
    assert!(refused.body.contains("\"code\":\"too_many_semaphores\""), "{}", refused.body);
    assert_eq!(UNKNOWN, server.get("/semaphores/B").pair());
    assert_eq!(200, server.acquire(peers[2], "tenant-1", 1), "that one is there");
    assert_eq!(200, server.acquire(server.new_peer(), "A", 1));
    server.delete(&format!("/peers/{}", peers[1]));
    assert_eq!(200, make(&server, r#"{"tenant-3":1}"#).status);
}

/// Each looked-at name takes a place until the next request.
#[test]
fn looking_at_many_names_does_not_use_up_the_limit() {
    let server = Server::start("[semaphores.templates]\n\"t*\" = 1\n[limits]\nmax_semaphores = 1");

    for number in 0..50 {
        assert_eq!(1, server.remainder(&format!("t{number}")));
    }

    assert!(server.names().is_empty());
}

#[test]
fn parked_request_is_served_and_its_peer_keeps_the_semaphore() {
    let server = server();
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "tenant-1", 3);
    let client = server.clone();
    let path = format!("/peers/{waiting}/tenant-1?block_for=20s");
    let parked = std::thread::spawn(move || client.put(&path, "3"));
    eventually("it is pending", || !server.is_acquired(waiting));

    server.delete(&format!("/peers/{holder}"));

    assert_eq!((200, waiting.to_string()), outcome(parked));
    assert_eq!(0, server.remainder("tenant-1"));
}
