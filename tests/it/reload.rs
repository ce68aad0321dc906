//! The configuration is read again, on `POST /reload` and on SIGHUP.

use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::{
    client::eventually,
    server::Server,
    waiting::{outcome, park},
};

const UNKNOWN: (u16, &str) = (400, "Unknown semaphore");

/// Reads the configuration again, and returns what came of it.
fn reload(server: &Server, configuration: &str) -> Value {
    server.configure(configuration);
    let reloaded = server.send("POST", "/reload", &[], "");
    assert_eq!(200, reloaded.status, "{}", reloaded.body);
    assert_eq!(Some("application/json"), reloaded.header("content-type"));
    serde_json::from_str(&reloaded.body).unwrap()
}

/// What has become of semaphores, where nothing else has changed.
fn changes(added: &[&str], changed: &[&str], removed: &[&str]) -> Value {
    json!({
        "added": added, "changed": changed, "removed": removed, "kept": [], "needs_restart": [],
    })
}

/// Waits for a line of the log.
fn logged(server: &Server, line: &str) {
    eventually(line, || server.stderr().contains(line));
}

fn last_was_successful(server: &Server, expected: u8) {
    let line = format!("\nthrottle_config_last_reload_successful {expected}\n");
    assert!(server.get("/metrics").body.contains(&line), "{line}");
}

#[test]
fn what_has_changed_is_applied_answered_and_logged() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1\nC = 1\nD = 1");
    last_was_successful(&server, 1);

    let reloaded =
        reload(&server, "[semaphores]\nA = 2\nB = 1\nC = { max = 1, level = 3 }\nF = 5\nE = 4");

    assert_eq!(changes(&["E", "F"], &["A", "C"], &["D"]), reloaded);
    assert_eq!(["A", "B", "C", "E", "F"], *server.names());
    let listed = server.json("/semaphores");
    assert_eq!(json!({"max": 1, "level": 3}), listed[2]["configured"]);
    assert_eq!(3, listed[2]["level"], "nobody uses it");
    assert_eq!(json!(2), listed[0]["max"]);
    logged(
        &server,
        "WARN  throttle] configuration reloaded by 127.0.0.1: added `E`, `F`; changed `A`, `C`; \
         removed `D`\n",
    );
    assert_eq!(UNKNOWN, server.get("/remainder?semaphore=D").pair());
    assert_eq!(200, server.acquire(server.new_peer(), "E", 4));
}

#[cfg(unix)]
#[test]
fn hangup_does_the_same() {
    let server = Server::with_max(1);
    server.configure("[semaphores]\nA = 3\nB = 1");

    server.signal("HUP");
    logged(&server, "WARN  throttle] configuration reloaded by SIGHUP: added `B`; changed `A`\n");
    assert_eq!((3, 1), (server.remainder("A"), server.remainder("B")));

    server.configure("[semaphores]\nA = x");
    server.signal("HUP");
    logged(&server, "ERROR throttle] configuration not reloaded for SIGHUP: throttle.toml, line 2");
    last_was_successful(&server, 0);
    server.assert_serves("A");
}

#[test]
fn same_file_changes_nothing() {
    let text = "[semaphores]\nA = { max = 2, level = 1 }\n[semaphores.templates]\n\"t*\" = 1";
    let server = Server::start(text);
    let (holder, tenant) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);
    server.acquire(tenant, "t1", 1);
    let before = server.json("/semaphores");

    assert_eq!(changes(&[], &[], &[]), reload(&server, text));

    logged(&server, "configuration reloaded by 127.0.0.1: no semaphore has changed\n");
    assert_eq!(before, server.json("/semaphores"));
}

#[test]
fn bad_file_changes_nothing_and_says_why() {
    let server = Server::with_max(1);
    for (text, complaint) in [
        (
            "[semaphores]\nA = 2\nB = -1",
            "throttle.toml, line 3, column 5, key `semaphores.B`: max -1 is negative, expected an \
             integer of 0 or more",
        ),
        (
            "[semaphores]\nA = 2\n[limts]",
            "throttle.toml, line 3, column 2, key `limts`: unknown field `limts`",
        ),
        ("[semaphores]\nA = 2\n[admin", "throttle.toml, line 3, column 7: unclosed table"),
        (
            "[semaphores.templates]\n\"tenant\" = 1",
            "key `semaphores.templates`: pattern `tenant` of a template",
        ),
        ("recovery_window = \"auto\"\n[semaphores]\nA = 2", "key `recovery_window`: a recovery"),
    ] {
        server.configure(text);

        let refused = server.send("POST", "/reload", &[], "");

        assert_eq!(409, refused.status, "{}", refused.body);
        assert_eq!(Some("text/plain; charset=utf-8"), refused.header("content-type"));
        assert!(refused.body.starts_with("nothing has changed: "), "{}", refused.body);
        assert!(refused.body.contains(complaint), "{}", refused.body);
        logged(
            &server,
            &format!(
                "ERROR throttle] configuration not reloaded for 127.0.0.1: {}\n",
                &refused.body[21..]
            ),
        );
        last_was_successful(&server, 0);
        assert_eq!((1, vec!["A".to_owned()]), (server.remainder("A"), server.names()));
    }
    let problem = [("Accept", "application/problem+json")];
    let refused = server.send("POST", "/reload", &problem, "");
    assert!(refused.body.contains("\"code\":\"bad_configuration\""), "{}", refused.body);
    assert_eq!(changes(&[], &["A"], &[]), reload(&server, "[semaphores]\nA = 2"));
    last_was_successful(&server, 1);
}

#[test]
fn missing_file_changes_nothing_although_a_start_without_one_would_do() {
    let server = Server::with_max(1);
    std::fs::remove_file(server.file()).unwrap();

    let refused = server.send("POST", "/reload", &[], "");

    assert_eq!(409, refused.status);
    let complaint = "nothing has changed: cannot read the configuration `throttle.toml`: ";
    assert!(refused.body.starts_with(complaint), "{}", refused.body);
    last_was_successful(&server, 0);
    assert_eq!(1, server.remainder("A"));
}

#[cfg(unix)]
#[test]
fn file_that_is_empty_or_no_file_changes_nothing_and_holds_up_nobody() {
    let mut server = Server::with_max(1);
    let complaint = "nothing has changed: cannot read the configuration `throttle.toml`: ";

    std::fs::write(server.file(), "").unwrap();
    let refused = server.send("POST", "/reload", &[], "");
    assert_eq!((409, &*format!("{complaint}it is empty")), refused.pair());

    std::fs::remove_file(server.file()).unwrap();
    // Nobody ever writes into it.
    assert!(Command::new("mkfifo").arg(server.file()).status().unwrap().success());
    let refused = server.send("POST", "/reload", &[], "");
    assert_eq!((409, &*format!("{complaint}it is no file")), refused.pair());

    assert_eq!(1, server.remainder("A"));
    server.signal("TERM");
    assert_eq!(Some(0), server.wait().code());
}

#[test]
fn file_of_the_command_line_is_read_again() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("other.toml");
    std::fs::write(&file, "[semaphores]\nother = 3").unwrap();
    let server = Server::start_with("[semaphores]\nA = 1", |command| {
        command.arg("--configuration").arg(&file)
    });
    std::fs::write(&file, "[semaphores]\nother = 4").unwrap();

    assert_eq!(changes(&[], &["other"], &[]), reload(&server, "[semaphores]\nA = 2"));

    assert_eq!(["other"], *server.names());
}

#[test]
fn what_is_read_at_the_start_alone_is_named() {
    let server = Server::start("[semaphores]\nA = 1\n[limits]\nmax_peers = 2\n");
    let needs_restart = |text: &str| reload(&server, text)["needs_restart"].clone();
    let all = "litter_collection_interval = \"1h\"\nrecovery_window = \"2h\"\n[semaphores]\nA = 1\n\
               [limits]\nmax_peers = 1\nmax_expires_in = \"1h\"\n[admin]\ntoken = \"secret\"\n\
               [logging.stderr]\nlevel = \"debug\"";

    let keys = ["litter_collection_interval", "recovery_window", "limits", "admin", "logging"];
    assert_eq!(json!(keys), needs_restart(all));
    logged(
        &server,
        "WARN  throttle] what has changed of litter_collection_interval, recovery_window, limits, \
         admin, logging takes effect after a restart\n",
    );
    assert!(!server.stderr().contains("secret"), "{}", server.stderr());
    assert_eq!(json!(["limits"]), needs_restart("[semaphores]\nA = 1"), "without the token yet");
    server.new_peer();
    assert_eq!(200, server.post("/new_peer", r#"{"expires_in":"1h"}"#).status, "two, as before");
    let original = "[semaphores]\nA = 1\n[limits]\nmax_peers = 2\n";
    assert_eq!(json!([]), needs_restart(original), "held against what the server started with");
}

#[test]
fn what_was_set_by_hand_stays_and_is_named() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1");
    server.adjust("A", r#"{"max":5}"#);
    server.adjust("B", r#"{"paused":true}"#);

    let reloaded = reload(&server, "[semaphores]\nA = 2\nB = 3");

    let kept = json!([{
        "semaphore": "A", "reason": "stays at max 5, set by hand, and not 2",
    }]);
    assert_eq!((&json!(["A", "B"]), &kept), (&reloaded["changed"], &reloaded["kept"]));
    let listed = server.json("/semaphores");
    assert_eq!(
        json!([5, {"max": 2, "level": 0}]),
        json!([listed[0]["max"], listed[0]["configured"]])
    );
    assert_eq!(json!([3, true]), json!([listed[1]["max"], listed[1]["paused"]]));
    logged(&server, "changed `A`, `B`; `A` stays at max 5, set by hand, and not 2\n");
    assert_eq!(json!([]), reload(&server, "[semaphores]\nA = 5\nB = 3")["kept"], "the same by now");
    assert_eq!(json!([]), reload(&server, "[semaphores]\nA = 6\nB = 3")["kept"]);
    assert_eq!(6, server.remainder("A"));
}

#[test]
fn level_of_a_semaphore_in_use_changes_once_nobody_uses_it() {
    let server = Server::start("[semaphores]\nA = 1\nB = { max = 1, level = 1 }");
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);
    server.acquire(waiting, "A", 1);
    let level = || server.json("/semaphores/A")["level"].clone();

    let reloaded =
        reload(&server, "[semaphores]\nA = { max = 1, level = 2 }\nB = { max = 1, level = 1 }");

    let kept = json!([{
        "semaphore": "A", "reason": "stays at level 0 while it is in use, then 2",
    }]);
    assert_eq!((&json!(["A"]), &kept), (&reloaded["changed"], &reloaded["kept"]));
    assert_eq!(0, level());
    assert_eq!(409, server.acquire(holder, "B", 1), "still above what it holds");
    server.delete(&format!("/peers/{holder}"));
    assert_eq!(0, level(), "the other one holds it now");
    server.delete(&format!("/peers/{waiting}"));
    assert_eq!(2, level());
    let peer = server.new_peer();
    assert_eq!((200, 200), (server.acquire(peer, "A", 1), server.acquire(peer, "B", 1)));
}

#[test]
fn removed_semaphore_serves_holders_and_queue_and_then_goes() {
    let server = Server::start("[semaphores]\nA = 2\nB = 1");
    let [holder, waiting, late] = [(); 3].map(|()| server.new_peer());
    server.acquire(holder, "A", 2);
    let parked = park(&server, waiting, 1, "20s");

    assert_eq!(changes(&[], &[], &["A"]), reload(&server, "[semaphores]\nB = 1"));

    let shown = server.json("/semaphores/A");
    assert_eq!(
        json!(["removed", null, 2]),
        json!([shown["source"], shown["configured"], shown["max"]])
    );
    assert_eq!(UNKNOWN, server.put(&format!("/peers/{late}/A"), "1").pair());
    assert_eq!(
        UNKNOWN,
        server.post("/new_peer", r#"{"expires_in":"1h","acquire":{"A":1}}"#).pair()
    );
    let restore = r#"{"expires_in":"1h","peer_id":7,"acquired":{"A":1}}"#;
    assert_eq!(UNKNOWN, server.post("/restore", restore).pair());
    assert_eq!(200, server.acquire(holder, "A", 2), "a repetition is answered as before");
    assert_eq!(200, server.acquire(holder, "A", 1), "and it may shrink");
    assert_eq!((200, waiting.to_string()), outcome(parked));
    server.delete(&format!("/peers/{holder}"));
    assert_eq!(["A", "B"], *server.names());
    assert_eq!(changes(&[], &[], &[]), reload(&server, "[semaphores]\nB = 1"), "told once");
    server.delete(&format!("/peers/{waiting}/A"));
    assert_eq!(["B"], *server.names());
    assert_eq!(UNKNOWN, server.get("/remainder?semaphore=A").pair());
}

#[test]
fn removed_semaphore_can_come_back() {
    let server = Server::with_max(1);
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);
    server.acquire(waiting, "A", 1);
    reload(&server, "[semaphores]");

    assert_eq!(changes(&["A"], &[], &[]), reload(&server, "[semaphores]\nA = 2"));

    assert!(server.is_acquired(waiting), "there are two permits now");
    for peer in [holder, waiting] {
        server.delete(&format!("/peers/{peer}"));
    }
    assert_eq!(["A"], *server.names());
    server.assert_serves("A");
}

#[test]
fn other_max_is_felt_by_those_who_wait() {
    let server = Server::with_max(2);
    let [holder, large, small] = [(); 3].map(|()| server.new_peer());
    server.acquire(holder, "A", 2);
    let (large_parked, small_parked) =
        (park(&server, large, 2, "20s"), park(&server, small, 1, "20s"));

    reload(&server, "[semaphores]\nA = 1");
    assert_eq!((409, "Lock was withdrawn.".to_owned()), outcome(large_parked));
    assert_eq!(-1, server.remainder("A"), "nothing is revoked");

    reload(&server, "[semaphores]\nA = 3");
    assert_eq!((200, small.to_string()), outcome(small_parked));
}

#[test]
fn templates_come_and_go_as_well() {
    let server = Server::start("[semaphores.templates]\n\"t-*\" = 1");
    let (one, two) = (server.new_peer(), server.new_peer());
    server.acquire(one, "t-1", 1);

    assert_eq!(changes(&[], &["t-1"], &[]), reload(&server, "[semaphores.templates]\n\"t-*\" = 2"));
    assert_eq!(1, server.remainder("t-1"));
    assert_eq!(
        changes(&[], &["t-1"], &[]),
        reload(&server, "[semaphores]\nt-1 = 2"),
        "it stays now"
    );
    server.delete(&format!("/peers/{one}"));
    assert_eq!(["t-1"], *server.names());
    assert_eq!(UNKNOWN, server.put(&format!("/peers/{two}/t-2"), "1").pair());
    let back = reload(&server, "[semaphores.templates]\n\"t-*\" = 2");
    assert_eq!(changes(&[], &["t-1"], &[]), back);
    assert!(server.names().is_empty());
    server.acquire(two, "t-2", 1);
    assert_eq!(changes(&[], &[], &["t-2"]), reload(&server, "[semaphores]"));
    server.delete(&format!("/peers/{two}"));
    assert!(server.names().is_empty());
}

#[test]
fn several_reloads_at_once_do_no_harm() {
    let server = Server::with_max(1);
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let client = server.clone();
            thread::spawn(move || {
                for _ in 0..10 {
                    // Whoever reads while the file is being written sees an empty one, or half.
                    let status = client.send("POST", "/reload", &[], "").status;
                    assert!([200, 409].contains(&status), "{status}");
                }
            })
        })
        .collect();

    for round in 1..=50 {
        server.configure(&format!("[semaphores]\nA = {round}\nB{round} = 1"));
        #[cfg(unix)]
        if round % 10 == 0 {
            server.signal("HUP");
        }
    }

    readers.into_iter().for_each(|reader| reader.join().unwrap());
    reload(&server, "[semaphores]\nA = 7\nB = 1");
    assert_eq!((7, vec!["A".to_owned(), "B".to_owned()]), (server.remainder("A"), server.names()));
    server.assert_serves("A");
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
}
