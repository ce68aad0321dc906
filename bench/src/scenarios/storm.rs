//! Many leases end at the same moment, half of them with a lock: how long are others held up?

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::Bench;
use crate::{
    api,
    loads::{
        cycle::Cycle,
        measure,
        peers::{self, Lease},
        steady::Steady,
    },
    parameters,
    process::Placement,
    servers::Kind,
};

/// Requests a second of those who are watched.
const STEADY: u32 = 10_000;

/// Making a peer, half of them with a lock, takes less than this on any machine worth measuring.
const EACH_MADE_WITHIN: Duration = Duration::from_micros(60);

/// What is watched: a second, which begins so long before the leases end.
const BEFORE: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_secs(1);

/// Measures.
///
/// # Errors
/// Where the server fails.
pub fn run(bench: &mut Bench) -> Result<()> {
    for round in 0..bench.scale.slow_rounds {
        bench.say(&format!(
            "leases that end at once, round {} of {}",
            round + 1,
            bench.scale.slow_rounds
        ));
        storm(bench)?;
    }
    Ok(())
}

fn storm(bench: &mut Bench) -> Result<()> {
    let crowd = bench.scale.crowd;
    let server = bench.start(Kind::Throttle, Placement::Apart)?;
    let mut connections = bench.connect(&server, bench.scale.connections)?;
    let ids = peers::make(&mut connections, peers::Wanted::idle(bench.scale.connections))?;
    let end = Instant::now() + EACH_MADE_WITHIN * crowd as u32 + 3 * WINDOW;
    let wanted = peers::Wanted { count: crowd, lease: Lease::Until(end), holding: Some(("A", 2)) };
    peers::make(&mut connections, wanted)?;

    let requests = Cycle::of_peers(&connections, &ids, "A").into_requests();
    let mut load = Steady::new(requests, STEADY);
    for with_storm in [false, true] {
        if with_storm {
            let start = end.checked_sub(BEFORE + bench.scale.warm_up).unwrap_or(end);
            ensure!(Instant::now() < start, "the peers were not made in time");
            sleep(start - Instant::now());
        }
        load.begin_now();
        let times = [bench.scale.warm_up, WINDOW];
        let window = measure(&server.process, &mut connections, &mut load, times)?;
        let parameters = parameters!(peers = crowd, expiring = with_storm);
        bench.note("storm", "throttle", &parameters, &window);
        let longest = window.tally.latencies.max() as f64 / 1e3;
        bench.results.add("storm", "throttle", &parameters, "max_us", longest);
    }
    connections.settle(&mut load)?;
    let left = api::request(server.address(), "GET", "/remainder?semaphore=A", None);
    let left = String::from_utf8(peers::once(&mut connections, left)?)?;
    let left: i64 = left.trim().parse()?;
    ensure!(10_000_000 - left <= ids.len() as i64, "the leases have not all ended");
    Ok(())
}
