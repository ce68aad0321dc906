//! Acquire and release, uncontended, with nobody else: what a request costs.

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{Bench, turns};
use crate::{
    engine::Connections,
    loads::{Window, alone::Alone, cycle::Cycle, hand_off::Dialect, measure, peers},
    others::{Running, Setting},
    parameters,
    process::{Placement, Process},
    servers::{Kind, Server},
};

/// To acquire, and to release: nobody here needs more of them while nobody fights.
const REQUESTS_A_CYCLE: f64 = 2.0;

/// One kind of server that takes part, with all its clients.
struct Contestant {
    name: &'static str,
    process: Process,
    connections: Connections,
    clients: Clients,
    _folder: TempDir,
}

enum Clients {
    /// Of Throttle's HTTP interface.
    Http(Cycle),
    Other(Alone<Box<dyn Dialect>>),
}

/// Measures.
///
/// # Errors
/// Where a server fails.
pub fn run(bench: &mut Bench) -> Result<()> {
    let mut contestants = Vec::new();
    for kind in bench.binaries.present(&[Kind::Ceiling, Kind::Throttle, Kind::Upstream]) {
        contestants.push(http(bench, kind)?);
    }
    let clients = bench.scale.connections;
    let setting = Setting { clients, max: None, placement: Placement::Apart };
    for found in bench.others.iter().filter(|found| found.takes_part(setting)) {
        let Some(running) = found.start_or_say(setting) else { continue };
        let Running { process, connections, dialect, folder } = running;
        let (name, clients) = (found.name(), Clients::Other(Alone::new(dialect, clients)));
        contestants.push(Contestant { name, process, connections, clients, _folder: folder });
    }
    for round in 0..bench.scale.rounds {
        bench.say(&format!("cycle, round {} of {}", round + 1, bench.scale.rounds));
        for contestant in turns(&mut contestants, round) {
            let name = contestant.name;
            let window =
                contestant.measure(bench).with_context(|| format!("the server `{name}`"))?;
            let parameters = parameters!();
            bench.note("cycle", name, &parameters, &window);
            let cycles = window.a_second() / REQUESTS_A_CYCLE;
            bench.results.add("cycle", name, &parameters, "cycles_per_second", cycles);
            // Well below 1, the load would be what is measured.
            let busy = window.cpu.as_secs_f64() / window.wall.as_secs_f64();
            bench.results.add("cycle", name, &parameters, "busy", busy);
        }
    }
    Ok(())
}

fn http(bench: &Bench, kind: Kind) -> Result<Contestant> {
    let server = bench.start(kind, Placement::Apart)?;
    let mut connections = bench.connect(&server, bench.scale.connections)?;
    let wanted = peers::Wanted::idle(connections.count());
    let ids = peers::make(&mut connections, wanted)?;
    let clients = Clients::Http(Cycle::of_peers(&connections, &ids, "A"));
    let Server { process, folder, .. } = server;
    Ok(Contestant { name: kind.name(), process, connections, clients, _folder: folder })
}

impl Contestant {
    fn measure(&mut self, bench: &Bench) -> Result<Window> {
        let Contestant { process, connections, clients, .. } = self;
        match clients {
            Clients::Http(cycle) => {
                let window = measure(process, connections, cycle, bench.times())?;
                connections.settle(cycle)?;
                Ok(window)
            }
            Clients::Other(alone) => {
                let window = measure(process, connections, alone, bench.times())?;
                connections.settle(alone)?;
                Ok(window)
            }
        }
    }
}
