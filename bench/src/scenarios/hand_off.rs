//! Many clients pass few permits to each other: how fast, how late, and how fairly.

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Bench, turns};
use crate::{
    api::PeerRequest,
    engine::{Connections, Reply},
    loads::{
        expect,
        hand_off::{Dialect, HandOff, Meaning},
        measure, peers,
    },
    others::{Running, Setting},
    parameters,
    process::{Placement, Process},
    servers::{Kind, Server},
};

/// One kind of server that takes part, with all its clients.
struct Contestant {
    name: &'static str,
    process: Process,
    connections: Connections,
    load: HandOff<Box<dyn Dialect>>,
    _folder: TempDir,
}

/// Measures.
///
/// # Errors
/// Where a server fails, or lets more clients in than it may.
pub fn run(bench: &mut Bench) -> Result<()> {
    for clients in bench.scale.clients.clone() {
        compare(bench, 1, clients, Placement::Apart)?;
        compare(bench, 8, clients, Placement::Apart)?;
        // As most machines run it. What is measured here is mostly how the system wakes processes.
        compare(bench, 1, clients, Placement::Free)?;
    }
    Ok(())
}

fn compare(bench: &mut Bench, max: usize, clients: usize, placement: Placement) -> Result<()> {
    let mut contestants = Vec::new();
    for kind in bench.binaries.present(&[Kind::Throttle, Kind::Upstream]) {
        contestants.push(http(bench, kind, max, clients, placement)?);
    }
    let setting = Setting { clients, max: Some(max), placement };
    for found in bench.others.iter().filter(|found| found.takes_part(setting)) {
        let Some(running) = found.start_or_say(setting) else { continue };
        let Running { process, connections, dialect, folder } = running;
        let load = HandOff::new(dialect, max, clients);
        let name = found.name();
        contestants.push(Contestant { name, process, connections, load, _folder: folder });
    }
    let pinned = placement == Placement::Apart;
    let parameters = parameters!(clients = clients, max = max, pinned = pinned);
    for round in 0..bench.scale.rounds {
        let rounds = bench.scale.rounds;
        bench.say(&format!(
            "hand-offs, max {max}, {clients} clients, round {} of {rounds}",
            round + 1
        ));
        for contestant in turns(&mut contestants, round) {
            let Contestant { name, process, connections, load, .. } = contestant;
            let window = measure(process, connections, load, bench.times())
                .with_context(|| format!("the server `{name}`"))?;
            ensure!(load.violations == 0, "{name}: more than {max} held a permit at once");
            bench.note("hand_off", name, &parameters, &window);
            let mut add =
                |metric, value| bench.results.add("hand_off", name, &parameters, metric, value);
            add("fairness", load.fairness());
            add("overtaken", load.overtaken as f64);
        }
    }
    Ok(())
}

/// Clients of Throttle's HTTP interface, ours or the published one: requests are parked.
struct Http {
    ids: Vec<u64>,
    acquire: PeerRequest,
    release: PeerRequest,
    is_holding: Vec<bool>,
}

fn http(
    bench: &Bench,
    kind: Kind,
    max: usize,
    clients: usize,
    placement: Placement,
) -> Result<Contestant> {
    let server = bench.start(kind, placement)?;
    let mut connections = bench.connect(&server, clients)?;
    let ids = peers::make(&mut connections, peers::Wanted::idle(clients))?;
    let (address, semaphore) = (connections.address(), if max == 1 { "M" } else { "E" });
    let dialect = Http {
        ids,
        acquire: PeerRequest::acquire(address, semaphore, Some("10m")),
        release: PeerRequest::release(address, semaphore),
        is_holding: vec![false; clients],
    };
    let load = HandOff::new(Box::new(dialect) as Box<dyn Dialect>, max, clients);
    let Server { process, folder, .. } = server;
    Ok(Contestant { name: kind.name(), process, connections, load, _folder: folder })
}

impl Dialect for Http {
    fn ask(&mut self, client: usize, request: &mut Vec<u8>) {
        self.acquire.write(self.ids[client], request);
    }

    fn release(&mut self, client: usize, request: &mut Vec<u8>) {
        self.release.write(self.ids[client], request);
    }

    fn read(&mut self, client: usize, reply: &Reply<'_>) -> Result<Meaning> {
        if reply.code == 202 {
            return Ok(Meaning::NotYet);
        }
        expect(reply, 200)?;
        let is_holding = &mut self.is_holding[client];
        *is_holding = !*is_holding;
        Ok(if *is_holding { Meaning::Granted } else { Meaning::Released })
    }
}
