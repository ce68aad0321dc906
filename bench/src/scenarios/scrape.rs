//! `/metrics` with many semaphores and many peers: what a scrape costs, and what others feel of it.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, turns};
use crate::{
    api,
    engine::Connections,
    loads::{cycle::Cycle, measure, peers, steady::Steady},
    parameters,
    process::Placement,
    servers::{Kind, Server},
};

/// Requests a second of those who are watched.
const STEADY: u32 = 5_000;

/// Ten scrapes a second; Prometheus scrapes every 15 s to 60 s.
const SCRAPED_EVERY: Duration = Duration::from_millis(100);

struct Contestant {
    server: Server,
    peers: usize,
    connections: Connections,
    ids: Vec<u64>,
}

/// Measures.
///
/// # Errors
/// Where a server fails.
pub fn run(bench: &mut Bench) -> Result<()> {
    let mut contestants = Vec::new();
    for (kind, peers) in
        [(Kind::Throttle, 0), (Kind::Throttle, bench.scale.crowd), (Kind::Upstream, 0)]
    {
        if !bench.binaries.present(&[kind]).is_empty() {
            bench.say(&format!("/metrics: {peers} peers for {}", kind.name()));
            contestants.push(contestant(bench, kind, peers)?);
        }
    }
    for round in 0..bench.scale.rounds {
        bench.say(&format!("/metrics, round {} of {}", round + 1, bench.scale.rounds));
        for contestant in turns(&mut contestants, round) {
            scrape(bench, contestant)?;
            others(bench, contestant, false)?;
            others(bench, contestant, true)?;
        }
    }
    Ok(())
}

fn contestant(bench: &Bench, kind: Kind, peers: usize) -> Result<Contestant> {
    let semaphores = (0..bench.scale.semaphores).map(|number| format!("S{number} = 1000\n"));
    let configuration = format!("[semaphores]\nA = 10000000\n{}", semaphores.collect::<String>());
    let server = bench.start_with(kind, &configuration, Placement::Apart)?;
    let mut connections = bench.connect(&server, bench.scale.connections)?;
    let wanted = peers::Wanted { holding: Some(("A", 2)), ..peers::Wanted::idle(peers) };
    peers::make(&mut connections, wanted)?;
    let wanted = peers::Wanted::idle(connections.count());
    let ids = peers::make(&mut connections, wanted)?;
    Ok(Contestant { server, peers, connections, ids })
}

/// One scrape after the other.
fn scrape(bench: &mut Bench, contestant: &Contestant) -> Result<()> {
    let Contestant { server, peers, .. } = contestant;
    let mut connections = bench.connect(server, 1)?;
    let request = api::request(server.address(), "GET", "/metrics", None);
    let mut load = Cycle::new(vec![vec![request]]);
    let window = measure(&server.process, &mut connections, &mut load, bench.times())?;
    bench.note("scrape", server.kind.name(), &parameters!(peers = peers), &window);
    Ok(())
}

/// Others, at a steady rate, with scrapes or without.
fn others(bench: &mut Bench, contestant: &mut Contestant, is_scraped: bool) -> Result<()> {
    let Contestant { server, peers, connections, ids } = contestant;
    let requests = Cycle::of_peers(connections, ids, "A").into_requests();
    let mut load = Steady::new(requests, STEADY);
    if is_scraped {
        connections.add(1)?;
        let request = api::request(server.address(), "GET", "/metrics", None);
        load = load.with_aside(request, SCRAPED_EVERY);
    }
    let window = measure(&server.process, connections, &mut load, bench.times())?;
    connections.settle(&mut load)?;
    connections.truncate(ids.len());
    let parameters = parameters!(peers = peers, scraped = is_scraped);
    bench.note("scrape_others", server.kind.name(), &parameters, &window);
    Ok(())
}
