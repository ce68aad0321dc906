//! Ten thousand requests that wait for one permit: what each takes, and how fast they get their
//! turn once each gives it back at once.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::Bench;
use crate::{
    api::{self, PeerRequest},
    engine::Connections,
    loads::{Counting, parked::Parked, peers},
    parameters,
    process::Placement,
    servers::Kind,
};

/// All requests must have been parked by then, and all granted by then.
const AT_MOST: Duration = Duration::from_secs(120);

/// Measures.
///
/// # Errors
/// Where a server fails.
pub fn run(bench: &mut Bench) -> Result<()> {
    let rounds = bench.scale.slow_rounds;
    for round in 0..rounds {
        let mut kinds = bench.binaries.present(&[Kind::Throttle, Kind::Upstream]);
        let first = round % kinds.len();
        kinds.rotate_left(first);
        for kind in kinds {
            bench.say(&format!("parked, round {} of {rounds}, {}", round + 1, kind.name()));
            park(bench, kind)?;
        }
    }
    Ok(())
}

fn park(bench: &mut Bench, kind: Kind) -> Result<()> {
    let waiters = bench.scale.waiters;
    let server = bench.start(kind, Placement::Free)?;
    let mut control = bench.connect(&server, 1)?;
    let holder = peers::make(&mut control, peers::Wanted::idle(1))?;
    let acquire = PeerRequest::acquire(server.address(), "M", None);
    peers::for_each(&mut control, &holder, acquire)?;

    let ids = peers::make(
        &mut bench.connect(&server, bench.scale.connections)?,
        peers::Wanted::idle(waiters),
    )?;
    let before = server.process.settled_memory()?;
    let mut connections = bench.connect(&server, waiters)?;
    peers::for_each(&mut connections, &ids, PeerRequest::heartbeat(server.address()))?;
    let connected = server.process.settled_memory()?;
    let acquire = PeerRequest::acquire(server.address(), "M", Some("10m"));
    let release = PeerRequest::release(server.address(), "M");
    let mut load = Parked::new(&ids, acquire, release.clone());
    let _ = connections.run(&mut load, Instant::now())?;
    wait_until_pending(&mut control, waiters)?;
    let parked = server.process.settled_memory()?;
    ensure!(load.tally().count == 0, "a waiter was granted while the permit was held");

    load.start_drain();
    let (started_at, cpu) = (Instant::now(), server.process.cpu()?);
    peers::for_each(&mut control, &holder, release)?;
    connections.finish(&mut load, AT_MOST)?;
    let drained_in = load.last_grant() - started_at;
    let cpu = server.process.cpu()?.saturating_sub(cpu);

    let each = |from: u64, to: u64| (to as f64 - from as f64) / waiters as f64;
    let parameters = parameters!(waiters = waiters);
    let mut add =
        |metric, value| bench.results.add("parked", kind.name(), &parameters, metric, value);
    add("connection_bytes", each(before, connected));
    add("waiter_bytes", each(connected, parked));
    add("drained_per_second", waiters as f64 / drained_in.as_secs_f64());
    add("hand_off_cpu_us", cpu.as_secs_f64() * 1e6 / waiters as f64);
    add("hand_off_p50_us", load.tally().microseconds(0.5));
    add("hand_off_p99_us", load.tally().microseconds(0.99));
    Ok(())
}

fn wait_until_pending(control: &mut Connections, waiters: usize) -> Result<()> {
    let started_at = Instant::now();
    loop {
        let request = api::request(control.address(), "GET", "/metrics", None);
        let metrics = String::from_utf8(peers::once(control, request)?)?;
        let line = |line: &str| {
            line.strip_prefix("throttle_pending{semaphore=\"M\"} ")?.parse::<f64>().ok()
        };
        let pending = metrics.lines().find_map(line).context("no throttle_pending")?;
        if pending >= waiters as f64 {
            return Ok(());
        }
        ensure!(started_at.elapsed() < AT_MOST, "only {pending} of {waiters} requests are parked");
        sleep(Duration::from_millis(20));
    }
}
