//! The table of routes: every path, every method.

use crate::{listener::Listener, server::Server};

/// Each path, and the methods that it has.
const ROUTES: [(&str, &str); 27] = [
    ("/", "GET, HEAD"),
    ("/health", "GET, HEAD"),
    ("/health/ready", "GET, HEAD"),
    ("/health/granting", "GET, HEAD"),
    ("/version", "GET, HEAD"),
    ("/favicon.ico", "GET, HEAD"),
    ("/metrics", "GET, HEAD"),
    ("/new_peer", "POST"),
    ("/peers/", "GET, HEAD"),
    ("/peers", "GET, HEAD"),
    ("/peer/", "GET, HEAD"),
    ("/peers/1", "DELETE, GET, HEAD, PUT"),
    ("/peer/1", "DELETE, GET, HEAD, PUT"),
    ("/peers/1/A", "DELETE, PUT"),
    ("/peers/1/is_acquired", "DELETE, GET, HEAD, PUT"),
    ("/remainder?semaphore=A", "GET, HEAD"),
    ("/restore", "POST"),
    ("/remove_expired", "POST"),
    ("/semaphores", "GET, HEAD"),
    ("/semaphores/", "GET, HEAD"),
    ("/semaphores/A", "DELETE, GET, HEAD, PUT"),
    ("/semaphores/a/b", "DELETE, GET, HEAD, PUT"),
    ("/reload", "POST"),
    (EVENTS, "GET, HEAD"),
    ("/history", "GET, HEAD"),
    ("/dashboard/dashboard.js", "GET, HEAD"),
    ("/openapi.json", "GET, HEAD"),
];

/// Its answer to GET has no end.
const EVENTS: &str = "/events";

#[test]
fn every_path_serves_its_methods_and_refuses_all_others_with_allow() {
    let server = Server::with_max(1);

    for (path, allowed) in ROUTES {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            if (path, method) == (EVENTS, "GET") {
                assert_eq!(200, Listener::at(&server, path).status);
                continue;
            }
            let response = server.send(method, path, &[], "");

            let is_allowed = allowed.split(", ").any(|allowed| allowed == method);
            assert_eq!(!is_allowed, response.status == 405, "{method} {path}");
            let expected = (!is_allowed).then_some(allowed);
            assert_eq!(expected, response.header("allow"), "{method} {path}");
        }
    }
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::with_max(1);

    for (path, allowed) in ROUTES {
        if allowed.contains("HEAD") && path != EVENTS {
            let get = server.get(path);
            let head = server.send("HEAD", path, &[], "");

            assert_eq!(get.status, head.status, "{path}");
            assert_eq!(get.header("content-type"), head.header("content-type"), "{path}");
            assert_eq!("", head.body, "{path}");
            let lengths = [get, head].map(|it| it.header("content-length").map(str::to_owned));
            assert!(lengths.iter().all(Option::is_some), "{path}");
            // The metrics count the requests themselves.
            assert!(path == "/metrics" || lengths[0] == lengths[1], "{path}: {lengths:?}");
        }
    }
}

#[test]
fn any_other_path_is_a_small_page_and_is_counted() {
    let server = Server::with_max(1);

    let paths = ["/nope", "/peersA", "/health/", "/health/ready/", "/metrics/x", "/version/1"];
    for path in paths.into_iter().chain(["/dashboard", "/dashboard/none.js"]) {
        let response = server.get(path);

        assert_eq!(404, response.status, "{path}");
        assert_eq!(Some("text/html; charset=utf-8"), response.header("content-type"));
        assert!(response.body.contains("does not exist"), "{}", response.body);
    }
    assert!(server.get("/metrics").body.contains("\nthrottle_num_404 8\n"));
}

#[test]
fn both_spellings_reach_the_same_peers() {
    let server = Server::with_max(1);
    let peer = server.new_peer();

    assert_eq!(200, server.put(&format!("/peer/{peer}/A"), "1").status);
    assert_eq!(200, server.put(&format!("/peers/{peer}/A"), "1").status);
    assert_eq!((200, "true"), server.get(&format!("/peer/{peer}/is_acquired")).pair());
    assert_eq!((200, "Ok"), server.put(&format!("/peer/{peer}"), r#"{"expires_in":"1m"}"#).pair());
    assert_eq!((200, "Ok"), server.delete(&format!("/peer/{peer}/A")).pair());
    assert_eq!((200, "\"Peer released\""), server.delete(&format!("/peer/{peer}")).pair());
}

#[test]
fn base_url_that_ends_with_a_slash_does_no_harm() {
    let server = Server::with_max(1);

    assert_eq!(200, server.post("//new_peer", r#"{"expires_in":"1m"}"#).status);
}
