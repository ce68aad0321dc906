//! Every refusal of the contract: its status, its text, and that it changes nothing.

use crate::server::Server;

const TWO_LEVELS: &str = "[semaphores]\nhigh = { max = 5, level = 1 }\nlow = 5\nlow2 = 5\n";

#[test]
fn acquire_is_refused_with_the_texts_of_the_contract() {
    let server = Server::with_max(1);
    let peer = server.new_peer();
    let acquire = |peer: u64, path: &str, body: &str| {
        let response = server.put(&format!("/peers/{peer}/{path}"), body);
        (response.status, response.body)
    };
    let refused = |status: u16, text: &str| (status, text.to_owned());

    assert_eq!(refused(400, "Unknown peer"), acquire(7, "A", "1"));
    assert_eq!(refused(400, "Unknown semaphore"), acquire(7, "B", "0"));
    let text = "Lock count must be a positive number. Found: 0.";
    assert_eq!(refused(400, text), acquire(7, "A", "0"));
    let text = "Lock count must be a positive number. Found: -9223372036854775808.";
    assert_eq!(refused(400, text), acquire(peer, "A", "-9223372036854775808"));
    let text = "Lock can never be acquired, it would block forever. Lock asks for count 2 yet \
                full count is only 1.";
    assert_eq!(refused(409, text), acquire(7, "A", "2"));
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn hierarchy_violations_name_both_sides() {
    let server = Server::start(TWO_LEVELS);
    let peer = server.new_peer();
    server.acquire(peer, "low", 1);

    let level = server.put(&format!("/peers/{peer}/high"), "1");
    let grow = server.put(&format!("/peers/{peer}/low"), "2");

    for (response, parts) in [
        (level, ["`high` at level 1", "`low` at level 0"]),
        (grow, ["count 2 of `low`", "lock of count 1"]),
    ] {
        assert_eq!(409, response.status);
        let text = response.body;
        assert!(text.starts_with("Lock hierarchy violation. This may deadlock. "), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    assert_eq!((5, 4), (server.remainder("high"), server.remainder("low")));
}

#[test]
fn second_pending_lock_is_refused_with_the_first() {
    let server = Server::start(TWO_LEVELS);
    let (holder, peer) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "low", 5);
    server.acquire(peer, "low", 1);

    let response = server.put(&format!("/peers/{peer}/low2"), "1");

    assert_eq!(409, response.status);
    let expected = "Already pending. Only one pending lock per peer is allowed.";
    assert!(response.body.starts_with(expected), "{}", response.body);
    assert!(response.body.contains("`low`"), "{}", response.body);
    assert_eq!(5, server.remainder("low2"));
}

#[test]
fn unknown_peers_and_semaphores_are_refused_everywhere() {
    let server = Server::with_max(1);
    let json = [("Content-Type", "application/json")];

    for (method, path, body, expected) in [
        ("PUT", "/peers/7", r#"{"expires_in":"1m"}"#, "Unknown peer"),
        ("GET", "/peers/7/is_acquired", "", "Unknown peer"),
        ("DELETE", "/peers/7/A", "", "Unknown peer"),
        ("DELETE", "/peers/7/B", "", "Unknown semaphore"),
        ("GET", "/remainder?semaphore=B", "", "Unknown semaphore"),
        (
            "POST",
            "/restore",
            r#"{"expires_in":"1m","peer_id":7,"acquired":{"B":1}}"#,
            "Unknown semaphore",
        ),
    ] {
        let response = server.send(method, path, &json, body);

        assert_eq!((400, expected), response.pair(), "{method} {path}");
        assert_eq!(Some("text/plain; charset=utf-8"), response.header("content-type"));
    }
}

#[test]
fn malformed_requests_say_what_was_wrong_and_what_is_expected() {
    let server = Server::with_max(1);
    let peer = server.new_peer();
    let lock = format!("/peers/{peer}/A");
    let beat = format!("/peers/{peer}");

    for (method, path, body, parts) in [
        ("PUT", lock.as_str(), "\"1\"", ["invalid type: string \"1\"", "such as `1`"]),
        ("PUT", &lock, "1.5", ["floating point `1.5`", "line 1 column 3"]),
        ("PUT", &lock, "9223372036854775808", ["9223372036854775808", "9223372036854775807"]),
        ("PUT", &lock, "1 2", ["trailing characters", "line 1 column 3"]),
        ("PUT", &lock, "", ["it is empty", "such as `1`"]),
        ("PUT", "/peers/x/A", "1", ["`x` is not a peer id", "from 0 to 18446744073709551615"]),
        ("PUT", "/peers/-1", "{}", ["`-1` is not a peer id", "18446744073709551615"]),
        ("PUT", &format!("{lock}?block_for=10"), "1", ["`block_for`: `10`", "`30s`"]),
        ("PUT", &format!("{lock}?expires_in=-1s"), "1", ["`expires_in`: `-1s`", "`30s`"]),
        ("PUT", &format!("{lock}?blok_for=1s"), "1", ["`blok_for`", "did you mean `block_for`?"]),
        ("PUT", &format!("/peers/{peer}/%FF"), "1", ["`%FF` is not UTF-8", "expected a name"]),
        ("PUT", &beat, "{}", ["missing field `expires_in`", "{\"expires_in\": \"5m\"}"]),
        ("PUT", &beat, r#"{"expires_in":5}"#, ["integer `5`", "line 1 column 15"]),
        ("PUT", &beat, r#"{"expires_in":"5"}"#, ["`5` is not a duration", "`30s`"]),
        ("PUT", &beat, "{", ["EOF", "line 1 column 1"]),
        (
            "PUT",
            &format!("{beat}?expires_in=1s"),
            r#"{"expires_in":"5m"}"#,
            ["unknown parameter `expires_in`", "expected one of: block_for, queue"],
        ),
        ("PUT", &beat, r#"["5m",1]"#, ["expected names with values", "{\"expires_in\": \"5m\"}"]),
        ("POST", "/new_peer", r#"["5m"]"#, ["invalid type: sequence", "names with values"]),
        ("POST", "/new_peer", r#"{"expires_in":"5m"} x"#, ["trailing characters", "column 21"]),
        (
            "POST",
            "/new_peer?block_for=1s",
            r#"{"expires_in":"5m"}"#,
            ["invalid query", "without `acquire` in the body"],
        ),
        ("POST", "/restore", r#"["5m",42,{"A":1}]"#, ["invalid type: sequence", "peer_id\": 42"]),
        (
            "POST",
            "/restore",
            r#"{"expires_in":"5m","peer_id":42,"acquired":{"A":9223372036854775808}}"#,
            ["9223372036854775808", "an integer of at most 9223372036854775807"],
        ),
        ("POST", "/new_peer", r#"{"expiresin":"5m"}"#, ["`expiresin`", "mean `expires_in`?"]),
        ("POST", "/new_peer", "[", ["invalid body", "{\"expires_in\": \"5m\"}"]),
        ("POST", "/restore", r#"{"expires_in":"1m","peer_id":-1}"#, ["`-1`", "peer_id\": 42"]),
        ("GET", "/remainder", "", ["`semaphore` is missing", "?semaphore=NAME"]),
        ("GET", "/remainder?semaphore=A&semaphore=A", "", ["twice", "once"]),
    ] {
        let response = server.send(method, path, &[("Content-Type", "application/json")], body);

        let text = &response.body;
        assert_eq!(400, response.status, "{method} {path} {body}: {text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{method} {path} {body}: {text}");
    }
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn body_must_be_declared_as_json() {
    let server = Server::with_max(1);
    let peer = server.new_peer();
    let put = |headers: &[(&str, &str)]| {
        server.send("PUT", &format!("/peers/{peer}/A"), headers, "1").status
    };

    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json ; charset=utf-8",
        "APPLICATION/JSON;charset=UTF-8",
        "application/vnd.throttle+json",
    ] {
        assert_eq!(200, put(&[("Content-Type", content_type)]), "{content_type}");
    }
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json+x",
        "json",
        "*/*",
        "é",
    ] {
        assert_eq!(415, put(&[("Content-Type", content_type)]), "{content_type}");
    }
    for (method, path) in [
        ("POST", "/remove_expired".to_owned()),
        ("DELETE", format!("/peers/{peer}/A")),
        ("DELETE", format!("/peers/{peer}")),
    ] {
        let response = server.send(method, &path, &[("Content-Type", "text/plain")], "x");
        assert_eq!(415, response.status, "{method} {path}: nobody wants this body, but still");
    }
    assert!(server.is_acquired(peer));
    let request = format!("PUT /peers/{peer}/A HTTP/1.0\r\nContent-Length: 1\r\n\r\n1");
    let response = crate::client::read_to_end(server.raw(request.as_bytes()));
    assert!(response.starts_with("HTTP/1.0 415 "), "{response}");
    assert!(response.contains("Content-Type: application/json"), "{response}");
}

#[test]
fn problem_documents_are_for_those_who_accept_them() {
    let server = Server::with_max(1);
    let get = |path: &str, accept: &str| server.send("GET", path, &[("Accept", accept)], "");

    for (path, status, code) in [
        ("/remainder?semaphore=B", 400, "unknown_semaphore"),
        ("/nope", 404, "not_found"),
        ("/new_peer", 405, "method_not_allowed"),
    ] {
        let response = get(path, "application/problem+json;q=0.9, text/plain;q=0.5");

        assert_eq!(status, response.status);
        assert_eq!(Some("application/problem+json"), response.header("content-type"));
        let problem: serde_json::Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(status, problem["status"], "{problem}");
        assert_eq!(code, problem["code"], "{problem}");
        assert_eq!("about:blank", problem["type"], "{problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    }
    for accept in ["*/*", "application/json", "application/problem+json;q=0", "text/plain"] {
        let response = get("/remainder?semaphore=B", accept);

        assert_eq!((400, "Unknown semaphore"), response.pair(), "{accept}");
    }
}

#[test]
fn problem_document_is_sent_to_a_request_that_was_parked_too() {
    let server = Server::with_max(1);
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);
    let client = server.clone();

    let parked = std::thread::spawn(move || {
        let headers =
            [("Content-Type", "application/json"), ("Accept", "application/problem+json")];
        client.send("PUT", &format!("/peers/{waiting}/A?block_for=30s"), &headers, "1")
    });
    crate::client::eventually("it is pending", || !server.is_acquired(waiting));
    server.delete(&format!("/peers/{waiting}/A"));

    let response = parked.join().unwrap();
    assert_eq!(409, response.status);
    assert!(response.body.contains(r#""code":"withdrawn""#), "{}", response.body);
}

#[test]
fn what_is_quoted_of_a_request_is_cut() {
    let server = Server::with_max(1);
    let long = "x".repeat(50_000);

    let body = server.post("/new_peer", &format!("\"{long}\""));
    let path = server.put(&format!("/peers/{long}"), "1");

    for response in [body, path] {
        assert_eq!(400, response.status);
        assert!(response.body.starts_with("invalid body: ") || response.body.starts_with("`xxx"));
        assert!(response.body.len() < 2_000, "{}", response.body.len());
    }
}

#[test]
fn routes_that_act_refuse_a_query_that_they_do_not_know() {
    let server = Server::with_max(1);
    let peer = server.new_peer();
    server.acquire(peer, "A", 1);

    for (method, path) in [
        ("POST", "/restore?x=1".to_owned()),
        ("DELETE", format!("/peers/{peer}/A?x=1")),
        ("POST", "/remove_expired?x=1".to_owned()),
    ] {
        let response = server.send(method, &path, &[], "");

        assert_eq!((400, "invalid query: expected none on this route"), response.pair(), "{path}");
    }
    assert_eq!(0, server.remainder("A"));
}
