//! What an idle peer takes, with no lock and with one.

use anyhow::Result;

use super::Bench;
use crate::{loads::peers, parameters, process::Placement, servers::Kind};

/// Measures. Memory does not vary, so once is enough.
///
/// # Errors
/// Where a server fails.
pub fn run(bench: &mut Bench) -> Result<()> {
    for kind in bench.binaries.present(&[Kind::Throttle, Kind::Upstream]) {
        let count = match kind {
            Kind::Upstream => bench.scale.upstream_peers_weighed,
            _ => bench.scale.peers_weighed,
        };
        for (locks, holding) in [(0, None), (1, Some(("A", 1)))] {
            bench.say(&format!("memory of {count} peers with {locks} locks, {}", kind.name()));
            let server = bench.start(kind, Placement::Apart)?;
            let mut connections = bench.connect(&server, bench.scale.connections)?;
            // What the connections themselves take is not to be counted.
            peers::make(&mut connections, peers::Wanted::idle(bench.scale.connections))?;
            let before = server.process.settled_memory()?;
            let wanted = peers::Wanted { holding, ..peers::Wanted::idle(count) };
            peers::make(&mut connections, wanted)?;
            let bytes =
                server.process.settled_memory()?.saturating_sub(before) as f64 / count as f64;
            let parameters = parameters!(locks = locks);
            bench.results.add("memory", kind.name(), &parameters, "peer_bytes", bytes);
        }
    }
    Ok(())
}
