//! `throttle set`: resize, pause, resume, and undo that.

use serde_json::Value;

use crate::{
    command::{Ran, at, run, url},
    server::Server,
};

/// The hint that stands on standard error while something is set by hand.
fn hint(name: &str) -> String {
    format!("This lasts until the server is restarted, or `throttle set {name} --undo`.\n")
}

/// What it said, and the hint.
fn set(server: &Server, args: &[&str]) -> (String, String) {
    let Ran { code, stdout, stderr } = run(server, &[&["set"], args].concat());
    assert_eq!(Some(0), code, "{stderr}");
    (stdout, stderr)
}

#[test]
fn semaphore_is_resized_and_back() {
    let server = Server::with_max(42);
    for count in [3, 1] {
        assert_eq!(200, server.acquire(server.new_peer(), "A", count));
    }
    for _ in 0..2 {
        assert_eq!(202, server.acquire(server.new_peer(), "A", 40));
    }

    let (smaller, lasts) = set(&server, &["A", "40"]);
    let (undone, no_hint) = set(&server, &["A", "--undo"]);

    assert_eq!("A: max 40 (42 in the configuration), 4 held, 2 wait\n", smaller);
    assert_eq!(hint("A"), lasts);
    assert_eq!("A: max 42 as in the configuration, 4 held, 2 wait\n", undone);
    assert_eq!("", no_hint);
    assert_eq!(38, server.remainder("A"));
}

#[test]
fn semaphore_is_paused_and_resumed() {
    let server = Server::with_max(1);

    let (paused, lasts) = set(&server, &["A", "--pause"]);
    assert_eq!(202, server.acquire(server.new_peer(), "A", 1));
    let (resumed, no_hint) = set(&server, &["A", "--resume"]);

    assert_eq!("A: max 1 as in the configuration, paused, 0 held, nobody waits\n", paused);
    assert_eq!(hint("A"), lasts);
    assert_eq!("A: max 1 as in the configuration, 1 held, nobody waits\n", resumed);
    assert_eq!("", no_hint);
}

#[test]
fn max_and_pause_go_together() {
    let server = Server::with_max(1);

    let (both, _) = set(&server, &["A", "0", "--pause"]);

    assert_eq!("A: max 0 (1 in the configuration), paused, 0 held, nobody waits\n", both);
    let shown = &server.json("/semaphores")[0];
    assert_eq!((Some(0), Some(true)), (shown["max"].as_i64(), shown["paused"].as_bool()));
}

#[test]
fn json_is_what_the_list_shows() {
    let server = Server::with_max(1);

    let json = run(&server, &["set", "A", "5", "--json"]).good();

    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(server.json("/semaphores")[0], json);
    assert_eq!(5, json["max"]);
}

#[test]
fn names_of_any_letters_are_set_and_can_be_pasted_back() {
    for (name, pasted) in
        [("a b", "'a b'"), ("a/b", "a/b"), ("it's", r"'it'\''s'"), ("日本", "日本")]
    {
        let server = Server::start(&format!("[semaphores]\n\"{name}\" = 1"));

        let (said, lasts) = set(&server, &[name, "2"]);

        assert!(said.starts_with(&format!("{name}: max 2 (1 in")), "{said}");
        assert_eq!(hint(pasted), lasts);
    }
}

#[test]
fn nothing_to_set_and_contradictions_are_usage_errors() {
    let server = Server::with_max(1);

    for (args, expected) in [
        (&["A"][..], "<MAX|--pause|--resume|--undo>"),
        (&[], "<SEMAPHORE>"),
        (&["A", "5", "--undo"], "cannot be used with"),
        (&["A", "--pause", "--undo"], "cannot be used with"),
        (&["A", "--pause", "--resume"], "cannot be used with"),
        (&["A", "-1"], "max -1 is negative, expected 0 or more"),
        (&["A", "many"], "expected an integer of 0 to 9223372036854775807"),
        (&["A", "9223372036854775808"], "expected an integer of 0 to 9223372036854775807"),
        (&["A", "--json"], "<MAX|--pause|--resume|--undo>"),
    ] {
        let complaint = run(&server, &[&["set"], args].concat()).bad(2);

        assert!(complaint.contains(expected), "{args:?}: {complaint}");
    }
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn unknown_semaphore_is_answered_with_the_nearest_one() {
    let server = Server::start("[semaphores]\ndeploy = 1");

    for change in ["5", "--pause", "--undo"] {
        let complaint = run(&server, &["set", "Deplyo", change]).bad(1);

        let place = url(&server);
        let expected =
            format!("error: unknown semaphore `Deplyo` at {place}; did you mean `deploy`?\n");
        assert_eq!(expected, complaint);
    }
}

#[test]
fn token_is_taken_from_the_environment_alone() {
    let server = Server::start("[semaphores]\nA = 1\n[admin]\ntoken = \"secret\"");
    let with = |token: &str| {
        let output = at(&server, &["set", "A", "5"]).env("THROTTLE_ADMIN_TOKEN", token).output();
        Ran::of(output.unwrap())
    };

    for refused in [run(&server, &["set", "A", "5"]), with("wrong"), with("")] {
        let complaint = refused.bad(1);
        let remedy = format!("set THROTTLE_ADMIN_TOKEN to the `admin.token` of {}", url(&server));
        assert!(complaint.starts_with("error: "), "{complaint}");
        assert!(complaint.contains(&remedy), "{complaint}");
    }
    assert_eq!(1, server.remainder("A"));

    assert_eq!(Some(0), with("secret").code);
    assert_eq!(5, server.remainder("A"));
}

#[test]
fn request_that_seems_to_come_from_elsewhere_is_told_of_the_token() {
    let server = Server::with_max(1);
    // The server knows this machine by `localhost` and by its addresses as they are written.
    let odd = format!("http://127.1:{}", server.address.port());

    let complaint = run(&server, &["set", "A", "5", "--url", &odd]).bad(1);

    assert!(complaint.contains("configure an `admin.token`"), "{complaint}");
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn server_that_is_not_there_is_an_error() {
    let mut server = Server::with_max(1);
    server.kill();

    let complaint = run(&server, &["set", "A", "5"]).bad(1);

    assert!(complaint.starts_with(&format!("error: no server at {}", url(&server))), "{complaint}");
}
