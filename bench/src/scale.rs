//! How much is measured: in full, quickly, or just enough to see that it works.

use std::time::Duration;

/// Sizes and times of a run.
#[derive(Clone, Debug)]
pub struct Scale {
    /// How often each measurement is taken: short and often, for the noise of a machine that is
    /// shared comes and goes within seconds.
    pub rounds: usize,
    /// The same for those before which a server must be filled each time.
    pub slow_rounds: usize,
    /// Before a measurement, what is not counted.
    pub warm_up: Duration,
    /// How long a measurement lasts.
    pub window: Duration,
    /// Connections of most loads.
    pub connections: usize,
    /// Numbers of idle peers, ours.
    pub idle_peers: Vec<usize>,
    /// The same where each request costs more with each of them.
    pub upstream_idle_peers: Vec<usize>,
    /// Peers of whom we measure the memory.
    pub peers_weighed: usize,
    /// The same for upstream.
    pub upstream_peers_weighed: usize,
    /// Clients of a contended semaphore.
    pub clients: Vec<usize>,
    /// Requests parked at once.
    pub waiters: usize,
    /// Semaphores that are shown in `/metrics`.
    pub semaphores: usize,
    /// Peers that exist while `/metrics` is scraped, and that expire at once.
    pub crowd: usize,
    /// How often a server is started.
    pub starts: usize,
}

impl Scale {
    /// What `docs/performance.md` is written from: about half an hour.
    pub fn full() -> Self {
        Scale {
            rounds: 7,
            slow_rounds: 5,
            warm_up: Duration::from_millis(200),
            window: Duration::from_secs(1),
            connections: 64,
            idle_peers: vec![0, 1_000, 10_000, 100_000, 1_000_000],
            upstream_idle_peers: vec![0, 1_000, 10_000, 100_000],
            peers_weighed: 1_000_000,
            upstream_peers_weighed: 10_000,
            clients: vec![64, 1_000],
            waiters: 10_000,
            semaphores: 1_000,
            crowd: 100_000,
            starts: 21,
        }
    }

    /// Two minutes.
    pub fn quick() -> Self {
        Scale {
            rounds: 3,
            slow_rounds: 1,
            warm_up: Duration::from_millis(100),
            window: Duration::from_millis(300),
            idle_peers: vec![0, 1_000, 100_000],
            upstream_idle_peers: vec![0, 1_000],
            peers_weighed: 100_000,
            upstream_peers_weighed: 2_000,
            crowd: 50_000,
            starts: 7,
            ..Scale::full()
        }
    }

    /// Some seconds, for tests of the benchmark itself: its figures mean nothing.
    pub fn smoke() -> Self {
        Scale {
            rounds: 1,
            slow_rounds: 1,
            warm_up: Duration::from_millis(10),
            window: Duration::from_millis(50),
            connections: 8,
            idle_peers: vec![0, 100],
            upstream_idle_peers: vec![0, 100],
            peers_weighed: 200,
            upstream_peers_weighed: 200,
            clients: vec![16],
            waiters: 100,
            semaphores: 20,
            crowd: 500,
            starts: 1,
        }
    }
}
