//! Who may use the administrative routes, and what revoking does.

use crate::{
    client::{Response, eventually},
    listener::Listener,
    server::Server,
};

const SEMAPHORES: &str = "[semaphores]\nA = 1\n";

/// A server whose only permit is held by the returned peer.
fn held(settings: &str) -> (Server, u64) {
    let server = Server::start(&format!("{SEMAPHORES}{settings}"));
    let peer = server.new_peer();
    assert_eq!(200, server.acquire(peer, "A", 1));
    (server, peer)
}

#[test]
fn revoked_peer_cannot_come_back() {
    let (server, peer) = held("");
    let waiting = server.new_peer();
    server.acquire(waiting, "A", 1);

    let path = format!("/peers/{peer}?revoke=true");
    assert_eq!((200, "\"Peer released\""), server.delete(&path).pair());
    assert_eq!((200, "\"Peer not found\""), server.delete(&path).pair());

    let line = format!("WARN  throttle] peer {peer} revoked by 127.0.0.1\n");
    eventually(&line, || server.stderr().contains(&line));
    assert!(server.is_acquired(waiting));
    assert_eq!((400, "Unknown peer"), server.put(&format!("/peers/{peer}/A"), "1").pair());
    let restore = format!(r#"{{"expires_in":"1h","peer_id":{peer},"acquired":{{"A":1}}}}"#);
    let refused = server.post("/restore", &restore);
    assert_eq!(409, refused.status);
    assert!(refused.body.starts_with(&format!("Peer {peer} was revoked.")), "{}", refused.body);
    assert_eq!(0, server.remainder("A"));
}

#[test]
fn released_peer_can_come_back() {
    let (server, peer) = held("");

    assert_eq!(200, server.delete(&format!("/peers/{peer}?revoke=false")).status);

    let restore = format!(r#"{{"expires_in":"1h","peer_id":{peer},"acquired":{{"A":1}}}}"#);
    assert_eq!(200, server.post("/restore", &restore).status);
    let odd = server.delete(&format!("/peers/{peer}?revoke=yes"));
    assert_eq!(400, odd.status);
    assert!(odd.body.contains("`yes` is neither `true` nor `false`"), "{}", odd.body);
    assert_eq!(0, server.remainder("A"));
}

#[test]
fn without_a_token_no_page_of_another_site_gets_through() {
    let (server, peer) = held("");
    let path = format!("/peers/{peer}?revoke=true");
    let own = format!("http://{}", server.address);

    for (name, value) in [
        ("Origin", "https://example.com"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1:1"),
        ("Origin", "http://localhost.example.com"),
        ("Host", "example.com"),
        ("Host", "localhost.example.com:8000"),
        ("Host", "10.0.0.1"),
        ("Sec-Fetch-Site", "cross-site"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Host", "example.com"),
        ("X-Real-IP", "10.0.0.1"),
        ("Via", "1.1 proxy"),
        ("Forwarded", "for=10.0.0.1"),
    ] {
        let refused = server.send("DELETE", &path, &[(name, value)], "");
        assert_eq!(403, refused.status, "{name}: {value}: {}", refused.body);
        assert!(refused.body.contains("unless `[admin] token` is configured"), "{}", refused.body);
    }
    assert_eq!(0, server.remainder("A"));
    assert_eq!(200, server.send("DELETE", &path, &[("Origin", &own)], "").status);
}

#[test]
fn token_is_needed_where_one_is_configured() {
    let (server, peer) = held("[admin]\ntoken = \"s3cret-t0ken\"");
    let path = format!("/peers/{peer}?revoke=true");

    assert_eq!(401, server.delete(&path).status);
    for value in [
        "Bearer",
        "Bearer ",
        "Bearer s3cret",
        "Bearer s3cret-t0ken2",
        "s3cret-t0ken",
        "Basic s3cret-t0ken",
        "Bearer S3CRET-T0KEN",
    ] {
        let refused = server.send("DELETE", &path, &[("Authorization", value)], "");
        assert_eq!(401, refused.status, "{value}");
        assert_eq!(Some("Bearer"), refused.header("www-authenticate"));
        assert!(!refused.body.contains("s3cret"), "{}", refused.body);
    }
    assert_eq!(0, server.remainder("A"));
    let known = [("Authorization", "bearer s3cret-t0ken"), ("Origin", "https://example.com")];
    assert_eq!(200, server.send("DELETE", &path, &known, "").status);
    server.assert_serves("A");
}

#[test]
fn tokens_that_cannot_be_sent_are_refused() {
    for token in ["", "with blank", "tab\\t", "päss"] {
        let settings = format!("[admin]\ntoken = \"{token}\"");
        let complaint = crate::server::refusal_to_start(&settings);

        assert!(complaint.contains("line 2, column 9, key `admin.token`"), "{complaint}");
        assert!(complaint.contains("expected letters, digits and signs of ASCII"), "{complaint}");
    }
}

/// What else is for administrators: it changes what others hold or wait for.
const GUARDED: [(&str, &str, &str); 3] = [
    ("PUT", "/semaphores/A", r#"{"max":9}"#),
    ("DELETE", "/semaphores/A", ""),
    ("POST", "/reload", ""),
];

fn ask(
    server: &Server,
    (method, path, body): (&str, &str, &str),
    header: (&str, &str),
) -> Response {
    server.send(method, path, &[("Content-Type", "application/json"), header], body)
}

#[test]
fn resizing_and_reloading_are_guarded_against_pages_of_other_sites() {
    let (server, _) = held("");
    server.configure("[semaphores]\nA = 5\n");

    for guarded in GUARDED {
        for header in [
            ("Origin", "https://example.com"),
            ("Host", "example.com"),
            ("Sec-Fetch-Site", "cross-site"),
            ("X-Forwarded-For", "10.0.0.1"),
        ] {
            let refused = ask(&server, guarded, header);
            assert_eq!(403, refused.status, "{guarded:?} {header:?}: {}", refused.body);
            assert!(refused.body.contains("unless `[admin] token` is configured"));
        }
    }
    assert_eq!(0, server.remainder("A"), "nothing has changed");
    let own = format!("http://{}", server.address);
    for guarded in GUARDED {
        let answer = ask(&server, guarded, ("Origin", &own));
        assert_eq!(200, answer.status, "{guarded:?}: {}", answer.body);
    }
    assert_eq!(4, server.remainder("A"));
}

#[test]
fn resizing_and_reloading_need_the_token_where_one_is_configured() {
    let (server, _) = held("[admin]\ntoken = \"s3cret-t0ken\"");

    for guarded in GUARDED {
        for header in [("Accept", "*/*"), ("Authorization", "Bearer s3cret")] {
            let refused = ask(&server, guarded, header);
            assert_eq!(401, refused.status, "{guarded:?} {header:?}");
            assert_eq!(Some("Bearer"), refused.header("www-authenticate"));
        }
    }
    assert_eq!(0, server.remainder("A"));
    for guarded in GUARDED {
        let answer = ask(&server, guarded, ("Authorization", "Bearer s3cret-t0ken"));
        assert_eq!(200, answer.status, "{guarded:?}: {}", answer.body);
    }
}

/// Looking is for everybody, as it is with `/peers/` and `/metrics`.
#[test]
fn looking_is_not_guarded() {
    let (server, _) = held("[admin]\ntoken = \"s3cret-t0ken\"");

    for path in ["/semaphores", "/semaphores/A", "/history", "/"] {
        let answer = server.send("GET", path, &[("X-Forwarded-For", "10.0.0.1")], "");
        assert_eq!(200, answer.status, "{path}");
    }
    assert_eq!(200, Listener::at(&server, "/events").status);
}
