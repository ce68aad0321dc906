//! Greeting, version, icon, health.

use crate::server::Server;

const TEXT: Option<&str> = Some("text/plain; charset=utf-8");

#[test]
fn greeting_version_and_health_are_plain_text() {
    let server = Server::start("");

    for (path, expected) in [
        ("/", "Hello from Throttle!"),
        ("/version", env!("CARGO_PKG_VERSION")),
        ("/health", "Ok"),
        ("/health/ready", "Ok"),
    ] {
        let response = server.get(path);

        assert_eq!((200, expected), response.pair(), "{path}");
        assert_eq!(TEXT, response.header("content-type"), "{path}");
    }
}

#[test]
fn icon_is_an_icon() {
    let server = Server::start("");

    let response = server.get("/favicon.ico");

    assert_eq!(200, response.status);
    assert_eq!(Some("image/x-icon"), response.header("content-type"));
    assert!(response.body.starts_with("\0\0\u{1}\0"), "the magic number of an icon");
}
