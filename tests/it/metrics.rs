//! `GET /metrics` of a server in which something happens.

use std::{thread, time::Duration};

use crate::{
    client::{Client, eventually},
    server::Server,
    waiting::{outcome, park},
};

/// Of the times for which locks are waited for and held, in seconds.
const BOUNDS: [&str; 13] =
    ["0.001", "0.01", "0.1", "1", "5", "15", "60", "300", "900", "3600", "21600", "86400", "+Inf"];

fn value(client: &Client, series: &str) -> f64 {
    let text = client.get("/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).trim().parse().unwrap()
}

#[test]
fn all_configured_semaphores_are_listed_from_the_start() {
    let server = Server::start("[semaphores]\nA = 42\nB = { max = 7, level = 1 }\n");

    let response = server.get("/metrics");

    let content_type = response.header("content-type");
    assert_eq!(Some("text/plain; version=0.0.4; charset=utf-8"), content_type);
    let histograms = [
        untouched("throttle_wait_seconds", "From the ask for a lock to its grant."),
        untouched("throttle_hold_seconds", "From the grant of a lock to its end."),
    ];
    let start_time = response.body.split("\nthrottle_start_time_seconds ").nth(1).unwrap();
    let start_time = start_time.lines().next().unwrap();
    let expected = format!(
        "\
# HELP throttle_count Accumulated count of all active leases
# TYPE throttle_count gauge
throttle_count{{semaphore=\"A\"}} 0
throttle_count{{semaphore=\"B\"}} 0
# HELP throttle_full_count New leases which would increase the count beyond this limit are pending.
# TYPE throttle_full_count gauge
throttle_full_count{{semaphore=\"A\"}} 42
throttle_full_count{{semaphore=\"B\"}} 7
# HELP throttle_longest_pending_sec Time the longest pending peer is waiting until now, to acquire \
a lock to a semaphore.
# TYPE throttle_longest_pending_sec gauge
throttle_longest_pending_sec{{semaphore=\"A\"}} 0
throttle_longest_pending_sec{{semaphore=\"B\"}} 0
# HELP throttle_pending Accumulated count of all pending leases
# TYPE throttle_pending gauge
throttle_pending{{semaphore=\"A\"}} 0
throttle_pending{{semaphore=\"B\"}} 0
# HELP throttle_over_commit Permits that are acquired beyond max.
# TYPE throttle_over_commit gauge
throttle_over_commit{{semaphore=\"A\"}} 0
throttle_over_commit{{semaphore=\"B\"}} 0
# HELP throttle_paused 1 while somebody has the semaphore paused, else 0.
# TYPE throttle_paused gauge
throttle_paused{{semaphore=\"A\"}} 0
throttle_paused{{semaphore=\"B\"}} 0
# HELP throttle_acquired_total Locks that were granted.
# TYPE throttle_acquired_total counter
throttle_acquired_total{{semaphore=\"A\"}} 0
throttle_acquired_total{{semaphore=\"B\"}} 0
# HELP throttle_released_total Locks that were given back.
# TYPE throttle_released_total counter
throttle_released_total{{semaphore=\"A\"}} 0
throttle_released_total{{semaphore=\"B\"}} 0
# HELP throttle_expired_total Acquired locks that were lost with a lease.
# TYPE throttle_expired_total counter
throttle_expired_total{{semaphore=\"A\"}} 0
throttle_expired_total{{semaphore=\"B\"}} 0
# HELP throttle_cancelled_total Pending locks that ended without a grant: withdrawn, or lost with \
a lease.
# TYPE throttle_cancelled_total counter
throttle_cancelled_total{{semaphore=\"A\"}} 0
throttle_cancelled_total{{semaphore=\"B\"}} 0
# HELP throttle_restored_total Locks that were restored.
# TYPE throttle_restored_total counter
throttle_restored_total{{semaphore=\"A\"}} 0
throttle_restored_total{{semaphore=\"B\"}} 0
{}{}\
# HELP throttle_http_requests_total Requests that were answered.
# TYPE throttle_http_requests_total counter
# HELP throttle_http_request_duration_seconds From the head of a request to its answer, the wait \
for a lock included.
# TYPE throttle_http_request_duration_seconds histogram
# HELP throttle_build_info Always 1; which version runs.
# TYPE throttle_build_info gauge
throttle_build_info{{version=\"{}\"}} 1
# HELP throttle_config_last_reload_successful 0 while the last attempt to read the configuration \
failed, else 1.
# TYPE throttle_config_last_reload_successful gauge
throttle_config_last_reload_successful 1
# HELP throttle_log_dropped_total Log lines that were dropped, for nobody took them in time.
# TYPE throttle_log_dropped_total counter
throttle_log_dropped_total{{sink=\"gelf\"}} 0
throttle_log_dropped_total{{sink=\"stderr\"}} 0
# HELP throttle_num_404 Number of Get requests to unknown resource.
# TYPE throttle_num_404 counter
throttle_num_404 0
# HELP throttle_peers Peers with a lease.
# TYPE throttle_peers gauge
throttle_peers 0
# HELP throttle_recovering 1 while a recovery window lasts and no lock is granted, else 0.
# TYPE throttle_recovering gauge
throttle_recovering 0
# HELP throttle_refused_total Requests that were refused, by the code of the reason.
# TYPE throttle_refused_total counter
throttle_refused_total{{reason=\"too_many_listeners\"}} 0
throttle_refused_total{{reason=\"too_many_peers\"}} 0
throttle_refused_total{{reason=\"too_many_semaphores\"}} 0
throttle_refused_total{{reason=\"too_many_waiters\"}} 0
# HELP throttle_start_time_seconds When the server was started, in seconds since 1970. A restart \
forgets all state.
# TYPE throttle_start_time_seconds gauge
throttle_start_time_seconds {}
# HELP throttle_waiters Requests that are parked on a pending lock.
# TYPE throttle_waiters gauge
throttle_waiters 0
",
        histograms[0],
        histograms[1],
        env!("CARGO_PKG_VERSION"),
        start_time
    );
    assert_eq!(expected, response.body);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - 60.0..now + 1.0).contains(&start_time.parse().unwrap()), "{start_time}");
}

/// A histogram of both semaphores in which nothing was observed.
fn untouched(name: &str, help: &str) -> String {
    let mut text = format!("# HELP {name} {help}\n# TYPE {name} histogram\n");
    for semaphore in ["A", "B"] {
        for bound in BOUNDS {
            let line = format!("{name}_bucket{{semaphore=\"{semaphore}\",le=\"{bound}\"}} 0\n");
            text.push_str(&line);
        }
        for suffix in ["sum", "count"] {
            text.push_str(&format!("{name}_{suffix}{{semaphore=\"{semaphore}\"}} 0\n"));
        }
    }
    text
}

#[test]
fn gauges_follow_what_is_acquired_and_pending() {
    let server = Server::with_max(3);
    let (holder, waiting) = (server.new_peer(), server.new_peer());

    server.acquire(holder, "A", 2);
    server.acquire(waiting, "A", 3);

    assert_eq!(2.0, value(&server, "throttle_count{semaphore=\"A\"}"));
    assert_eq!(3.0, value(&server, "throttle_pending{semaphore=\"A\"}"));
    eventually("the wait shows", || {
        value(&server, "throttle_longest_pending_sec{semaphore=\"A\"}") > 0.0
    });
    server.delete(&format!("/peers/{waiting}"));
    assert_eq!(0.0, value(&server, "throttle_pending{semaphore=\"A\"}"));
    assert_eq!(0.0, value(&server, "throttle_longest_pending_sec{semaphore=\"A\"}"));
}

/// Checks what is shown of `A`.
fn of_a<const N: usize>(client: &Client, expected: [(&str, f64); N]) {
    for (name, expected) in expected {
        let actual = value(client, &format!("throttle_{name}{{semaphore=\"A\"}}"));
        assert_eq!(expected, actual, "{name}");
    }
}

#[test]
fn what_happens_to_locks_is_counted() {
    let server = Server::with_max(2);
    let [holder, waiting, cancelled] = [(); 3].map(|()| server.new_peer());

    server.acquire(holder, "A", 2);
    server.acquire(holder, "A", 2);
    server.acquire(waiting, "A", 1);
    server.acquire(cancelled, "A", 2);
    server.delete(&format!("/peers/{cancelled}/A"));
    server.acquire(holder, "A", 1);
    of_a(&server, [("acquired_total", 2.0), ("released_total", 0.0), ("cancelled_total", 1.0)]);
    server.delete(&format!("/peers/{holder}"));
    server.put(&format!("/peers/{waiting}"), r#"{"expires_in":"1ms"}"#);
    eventually("it is expired", || server.get("/peers/").body.len() < 200);
    server.post("/restore", r#"{"expires_in":"1h","peer_id":7,"acquired":{"A":1}}"#);
    server.post("/restore", r#"{"expires_in":"1h","peer_id":7,"acquired":{"A":1}}"#);

    of_a(
        &server,
        [
            ("acquired_total", 2.0),
            ("released_total", 1.0),
            ("expired_total", 1.0),
            ("cancelled_total", 1.0),
            ("restored_total", 1.0),
            ("count", 1.0),
            ("pending", 0.0),
            ("wait_seconds_count", 2.0),
            ("hold_seconds_count", 2.0),
        ],
    );
}

#[test]
fn pending_lock_of_a_peer_that_goes_counts_as_cancelled() {
    let server = Server::with_max(1);
    let [holder, released, expired, withdrawn] = [(); 4].map(|()| server.new_peer());
    server.acquire(holder, "A", 1);
    server.acquire(released, "A", 1);
    server.acquire(expired, "A", 1);
    server.acquire(withdrawn, "A", 1);

    server.delete(&format!("/peers/{released}"));
    server.put(&format!("/peers/{expired}"), r#"{"expires_in":"0s"}"#);
    of_a(&server, [("cancelled_total", 2.0), ("expired_total", 0.0)]);
    server.adjust("A", r#"{"max":0}"#);

    of_a(&server, [("cancelled_total", 3.0), ("acquired_total", 1.0), ("released_total", 0.0)]);
}

#[test]
fn over_commit_and_pause_show() {
    let server = Server::with_max(3);
    let holder = server.new_peer();
    server.acquire(holder, "A", 2);
    of_a(&server, [("over_commit", 0.0), ("paused", 0.0)]);

    server.adjust("A", r#"{"max":1,"paused":true}"#);
    of_a(&server, [("over_commit", 1.0), ("paused", 1.0), ("full_count", 1.0)]);
    server.post("/restore", r#"{"expires_in":"1h","peer_id":7,"acquired":{"A":3}}"#);
    of_a(&server, [("over_commit", 4.0), ("count", 5.0)]);
    server.delete("/semaphores/A");
    of_a(&server, [("over_commit", 2.0), ("paused", 0.0), ("full_count", 3.0)]);
    server.delete("/peers/7");
    of_a(&server, [("over_commit", 0.0), ("count", 2.0)]);
}

#[test]
fn times_of_waiting_and_holding_fall_into_their_buckets() {
    let server = Server::with_max(1);
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);
    let parked = park(&server, waiting, 1, "20s");
    // Time is what is measured here.
    thread::sleep(Duration::from_millis(120));

    server.delete(&format!("/peers/{holder}"));
    assert_eq!(200, outcome(parked).0);

    let at_most = |name: &str, bound: &str| {
        value(&server, &format!("throttle_{name}_seconds_bucket{{semaphore=\"A\",le=\"{bound}\"}}"))
    };
    assert_eq!([1.0, 2.0], ["0.1", "15"].map(|bound| at_most("wait", bound)), "one at once");
    assert_eq!([0.0, 1.0], ["0.1", "15"].map(|bound| at_most("hold", bound)), "one is held still");
    assert_eq!([2.0, 1.0], ["wait", "hold"].map(|name| at_most(name, "+Inf")));
    for name in ["wait", "hold"] {
        let sum = value(&server, &format!("throttle_{name}_seconds_sum{{semaphore=\"A\"}}"));
        assert!((0.12..10.0).contains(&sum), "{name}: {sum}");
        let buckets = BOUNDS.map(|bound| at_most(name, bound));
        assert!(buckets.is_sorted(), "{buckets:?}");
    }
}

#[test]
fn requests_are_counted_by_route_method_and_status() {
    let server = Server::with_max(1);
    let peer = server.new_peer();
    server.acquire(peer, "A", 1);
    server.acquire(peer, "A", 1);
    server.acquire(peer, "A", 2);
    server.get("/semaphores/A");
    server.get("/semaphores/B");
    server.get("/nope/x");
    server.send("PATCH", "/new_peer", &[], "");
    server.send("HEAD", "/version", &[], "");
    server.send("DELETE", &format!("/peer/{peer}/A"), &[], "");
    server.send("PUT", "/semaphores/A", &[], r#"{"max":1}"#);

    let counted = |method: &str, route: &str, status: u16| {
        let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
        value(&server, &format!("throttle_http_requests_total{{{labels}}}"))
    };
    for (method, route, status, expected) in [
        ("POST", "/new_peer", 200, 1.0),
        ("PUT", "/peers/{id}/{semaphore}", 200, 2.0),
        ("PUT", "/peers/{id}/{semaphore}", 409, 1.0),
        ("DELETE", "/peers/{id}/{semaphore}", 200, 1.0),
        ("GET", "/semaphores/{semaphore}", 200, 1.0),
        ("GET", "/semaphores/{semaphore}", 400, 1.0),
        ("PUT", "/semaphores/{semaphore}", 415, 1.0),
        ("GET", "other", 404, 1.0),
        ("other", "/new_peer", 405, 1.0),
        ("HEAD", "/version", 200, 1.0),
    ] {
        assert_eq!(expected, counted(method, route, status), "{method} {route} {status}");
    }
    let metrics = server.get("/metrics").body;
    assert!(!metrics.contains(&peer.to_string()), "no ids of peers: {metrics}");
}

/// One that waits for a lock takes as long as it waits.
#[test]
fn time_of_a_request_includes_its_wait() {
    let server = Server::with_max(1);
    let (holder, waiting) = (server.new_peer(), server.new_peer());
    server.acquire(holder, "A", 1);

    let pending = server.put(&format!("/peers/{waiting}/A?block_for=150ms"), "1");

    assert_eq!(202, pending.status);
    let family = "throttle_http_request_duration_seconds";
    let labels = "method=\"PUT\",route=\"/peers/{id}/{semaphore}\"";
    let at_most =
        |bound: &str| value(&server, &format!("{family}_bucket{{{labels},le=\"{bound}\"}}"));
    assert_eq!([1.0, 2.0, 2.0], ["0.1", "10", "+Inf"].map(at_most));
    let sum = value(&server, &format!("{family}_sum{{{labels}}}"));
    assert!((0.15..10.0).contains(&sum), "{sum}");
    assert_eq!(2.0, value(&server, &format!("{family}_count{{{labels}}}")));
}
