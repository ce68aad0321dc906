//! What a restart takes and what it leaves, with a recovery window and without.

use std::{thread, time::Duration};

use crate::{
    client::{Client, eventually},
    server::Server,
};

const PERMITS: i64 = 50;

/// Long enough for all peers of a test to come back in it, as they would before their leases end.
const WINDOW: &str = "recovery_window = \"auto\"\n[limits]\nmax_expires_in = \"10s\"\n";

fn start(settings: &str) -> Server {
    let configuration = format!("{settings}[semaphores]\nA = {PERMITS}\n");
    Server::start_with(&configuration, |command| command.env("THROTTLE_LOG", "info"))
}

fn is_recovering(client: &Client) -> bool {
    client.get("/metrics").body.contains("\nthrottle_recovering 1\n")
}

#[test]
fn nothing_is_granted_during_the_window_and_all_at_its_end() {
    let server = start("recovery_window = \"5s\"\n[limits]\nmax_expires_in = \"5s\"\n");
    let peer = server.new_peer_for("5s");

    let granting = server.get("/health/granting");
    assert_eq!(503, granting.status);
    assert!(granting.body.starts_with("Recovering: no lock is granted for another "));
    assert!(["4", "5"].contains(&granting.header("retry-after").unwrap()));
    assert_eq!((200, "Ok"), server.get("/health/ready").pair());
    assert!(is_recovering(&server));
    assert_eq!(202, server.acquire(peer, "A", 1));
    let again = server.put(&format!("/peers/{peer}/A?block_for=50ms"), "1");
    assert_eq!(202, again.status, "parked for all of its time");
    assert_eq!(409, server.put(&format!("/peers/{peer}/A?queue=false"), "1").status);
    assert_eq!(PERMITS, server.remainder("A"));

    let granted = server.put(&format!("/peers/{peer}/A?block_for=20s&expires_in=5s"), "1");
    assert_eq!(200, granted.status);
    assert!(!is_recovering(&server));
    assert_eq!((200, "Ok"), server.get("/health/granting").pair());
    for line in ["recovery window: no lock is granted for 5s", "recovery window is over"] {
        eventually(line, || server.stderr().contains(line));
    }
}

#[test]
fn server_without_a_window_grants_from_the_start() {
    let server = start("");

    assert_eq!((200, "Ok"), server.get("/health/granting").pair());
    assert!(!is_recovering(&server));
    server.assert_serves("A");
}

#[test]
fn windows_that_promise_too_much_are_refused() {
    for (settings, reason) in [
        (
            "recovery_window = \"5m\"",
            "line 1, column 19, key `recovery_window`: a recovery window \
                                      needs `limits.max_expires_in`",
        ),
        ("recovery_window = \"auto\"", "needs `limits.max_expires_in`"),
        (
            "recovery_window = \"5m\"\n[limits]\nmax_expires_in = \"10m\"",
            "a recovery window of 300s is shorter than `limits.max_expires_in`, 600s",
        ),
        (
            "recovery_window = \"0s\"",
            "key `recovery_window`: `0s` is too short, expected a duration longer than zero",
        ),
        (
            "recovery_window = \"soon\"",
            "key `recovery_window`: invalid value: string \"soon\", expected a duration such as \
             `5min`, or `auto`",
        ),
        ("recovery_window = 5", "expected a duration such as `5min`, or `auto`"),
    ] {
        let complaint = crate::server::refusal_to_start(settings);

        assert!(complaint.contains(reason), "{settings}: {complaint}");
    }
}

/// One who holds a permit, or waits for one, and what it does once the server is back.
struct Survivors {
    holders: Vec<u64>,
    waiters: Vec<u64>,
}

impl Survivors {
    /// Fifty who hold all permits, and fifty who wait.
    fn of(server: &Server) -> Self {
        let make = |status: u16| {
            let made = server.post("/new_peer", r#"{"expires_in":"10s","acquire":{"A":1}}"#);
            assert_eq!(status, made.status);
            made.body.parse().unwrap()
        };
        let holders = (0..PERMITS).map(|_| make(200)).collect();
        let waiters = (0..PERMITS).map(|_| make(202)).collect();
        Survivors { holders, waiters }
    }

    /// The waiters are quicker than the holders: they come back and ask before anybody is restored.
    fn come_back(&self, server: &Server) {
        for peer in &self.waiters {
            let body = format!(r#"{{"expires_in":"10s","peer_id":{peer},"acquired":{{}}}}"#);
            assert_eq!(200, server.post("/restore", &body).status);
            assert!([200, 202].contains(&server.acquire(*peer, "A", 1)));
        }
        for peer in &self.holders {
            let body = format!(r#"{{"expires_in":"10s","peer_id":{peer},"acquired":{{"A":1}}}}"#);
            assert_eq!((200, "Ok"), server.post("/restore", &body).pair());
        }
    }
}

/// Ends the server as a crash does, and starts another one.
fn crash(mut server: Server, settings: &str) -> Server {
    server.signal("KILL");
    server.wait();
    start(settings)
}

#[cfg(unix)]
#[test]
fn without_a_window_a_restart_may_over_grant() {
    let server = start("");
    let survivors = Survivors::of(&server);

    let server = crash(server, "");
    survivors.come_back(&server);

    assert_eq!(-PERMITS, server.remainder("A"), "twice as many as there are");
    let newcomer = server.new_peer();
    assert_eq!(202, server.acquire(newcomer, "A", 1), "nothing is granted on top of that");
}

#[cfg(unix)]
#[test]
fn with_a_window_a_restart_grants_nothing_twice() {
    let server = start("");
    let survivors = Survivors::of(&server);

    let server = crash(server, WINDOW);
    survivors.come_back(&server);
    assert_eq!(0, server.remainder("A"), "only what was restored");
    assert!(survivors.waiters.iter().all(|peer| !server.is_acquired(*peer)), "they keep waiting");
    let keep_alive = |peers: &[u64]| {
        for peer in peers {
            let beat = server.put(&format!("/peers/{peer}"), r#"{"expires_in":"10s"}"#);
            assert_eq!(200, beat.status);
        }
    };
    eventually("the window ends", || {
        keep_alive(&survivors.holders);
        keep_alive(&survivors.waiters);
        assert!(server.remainder("A") >= 0);
        thread::sleep(Duration::from_millis(100));
        !is_recovering(&server)
    });

    assert_eq!(0, server.remainder("A"), "its end grants nothing on top of what is held");
    for peer in &survivors.holders {
        server.delete(&format!("/peers/{peer}"));
    }
    assert!(survivors.waiters.iter().all(|peer| server.is_acquired(*peer)), "now it is their turn");
    assert_eq!(0, server.remainder("A"));
}
