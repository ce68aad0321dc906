//! What a request costs while many peers exist that ask nothing, half of them holding a lock; and
//! what their heartbeats cost.

use anyhow::Result;

use super::{Bench, turns};
use crate::{
    api::PeerRequest,
    engine::Connections,
    loads::{cycle::Cycle, every_peer::EveryPeer, measure, peers},
    parameters,
    process::Placement,
    servers::{Kind, Server},
};

struct Contestant {
    server: Server,
    connections: Connections,
    cycle: Cycle,
    idle: usize,
    /// `None` where nobody is idle.
    beats: Option<EveryPeer>,
}

/// Measures.
///
/// # Errors
/// Where a server fails.
pub fn run(bench: &mut Bench) -> Result<()> {
    let mut contestants = Vec::new();
    // The slow one first: connections that are idle for long are closed.
    for kind in bench.binaries.present(&[Kind::Upstream, Kind::Throttle]) {
        let counts = match kind {
            Kind::Upstream => bench.scale.upstream_idle_peers.clone(),
            _ => bench.scale.idle_peers.clone(),
        };
        for count in counts {
            bench.say(&format!("idle peers: {count} for {}", kind.name()));
            contestants.push(contestant(bench, kind, count)?);
        }
    }
    for round in 0..bench.scale.rounds {
        bench.say(&format!("idle peers, round {} of {}", round + 1, bench.scale.rounds));
        for contestant in turns(&mut contestants, round) {
            measure_both(bench, contestant)?;
        }
    }
    Ok(())
}

fn contestant(bench: &Bench, kind: Kind, count: usize) -> Result<Contestant> {
    let server = bench.start(kind, Placement::Apart)?;
    let mut connections = bench.connect(&server, bench.scale.connections)?;
    let wanted = peers::Wanted::idle(count);
    let idle = peers::make(&mut connections, peers::Wanted { holding: Some(("A", 2)), ..wanted })?;
    let wanted = peers::Wanted::idle(connections.count());
    let ids = peers::make(&mut connections, wanted)?;
    let cycle = Cycle::of_peers(&connections, &ids, "A");
    let heartbeat = PeerRequest::heartbeat(connections.address());
    let beats = (count > 0).then(|| EveryPeer::new(idle, heartbeat));
    Ok(Contestant { server, connections, cycle, idle: count, beats })
}

fn measure_both(bench: &mut Bench, contestant: &mut Contestant) -> Result<()> {
    let Contestant { server, connections, cycle, idle, beats } = contestant;
    let (name, times) = (server.kind.name(), bench.times());
    let parameters = parameters!(idle_peers = idle);
    let window = measure(&server.process, connections, cycle, times)?;
    connections.settle(cycle)?;
    bench.note("idle", name, &parameters, &window);
    if let Some(beats) = beats {
        let window = measure(&server.process, connections, beats, times)?;
        connections.settle(beats)?;
        bench.note("heartbeat", name, &parameters, &window);
    }
    Ok(())
}
