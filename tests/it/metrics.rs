//! `GET /metrics` of a server in which something happens.

use crate::{
    client::{Client, eventually},
    server::Server,
};

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
    let expected = "\
# HELP throttle_count Accumulated count of all active leases
# TYPE throttle_count gauge
throttle_count{semaphore=\"A\"} 0
throttle_count{semaphore=\"B\"} 0
# HELP throttle_full_count New leases which would increase the count beyond this limit are pending.
# TYPE throttle_full_count gauge
throttle_full_count{semaphore=\"A\"} 42
throttle_full_count{semaphore=\"B\"} 7
# HELP throttle_longest_pending_sec Time the longest pending peer is waiting until now, to acquire \
a lock to a semaphore.
# TYPE throttle_longest_pending_sec gauge
throttle_longest_pending_sec{semaphore=\"A\"} 0
throttle_longest_pending_sec{semaphore=\"B\"} 0
# HELP throttle_pending Accumulated count of all pending leases
# TYPE throttle_pending gauge
throttle_pending{semaphore=\"A\"} 0
throttle_pending{semaphore=\"B\"} 0
# HELP throttle_log_dropped_total Log lines that were dropped, for nobody took them in time.
# TYPE throttle_log_dropped_total counter
throttle_log_dropped_total{sink=\"gelf\"} 0
throttle_log_dropped_total{sink=\"stderr\"} 0
# HELP throttle_num_404 Number of Get requests to unknown resource.
# TYPE throttle_num_404 counter
throttle_num_404 0
# HELP throttle_peers Peers with a lease.
# TYPE throttle_peers gauge
throttle_peers 0
# HELP throttle_recovering 1 while a recovery window lasts and no lock is granted, else 0.
# TYPE throttle_recovering gauge
throttle_recovering 0
# HELP throttle_waiters Requests that are parked on a pending lock.
# TYPE throttle_waiters gauge
throttle_waiters 0
";
    assert_eq!(expected, response.body);
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
