//! Peers that are made with what they ask for, and removed again: with one semaphore, and with four
//! that are granted together. Two requests a life.

use anyhow::Result;

use super::{Bench, turns};
use crate::{
    api::{self, PeerRequest},
    loads::{cycle::Cycle, measure},
    parameters,
    process::Placement,
    servers::Kind,
};

/// The range from which clients draw the ids that they choose themselves begins here.
const FIRST_CHOSEN_ID: u64 = 1 << 52;

/// Measures.
///
/// # Errors
/// Where the server fails.
pub fn run(bench: &mut Bench) -> Result<()> {
    let names = ["S0", "S1", "S2", "S3"];
    let configuration = names.map(|name| format!("{name} = 1000\n")).concat();
    let configuration = format!("[semaphores]\n{configuration}");
    let mut contestants = Vec::new();
    for count in [1, names.len()] {
        let server = bench.start_with(Kind::Throttle, &configuration, Placement::Apart)?;
        let connections = bench.connect(&server, bench.scale.connections)?;
        let address = server.address();
        let acquire = names[..count].iter().map(|name| format!("\"{name}\":1"));
        let acquire = acquire.collect::<Vec<_>>().join(",");
        let life = |connection: u64| {
            let id = FIRST_CHOSEN_ID + connection;
            let body =
                format!("{{\"expires_in\":\"1h\",\"peer_id\":{id},\"acquire\":{{{acquire}}}}}");
            let mut remove = Vec::new();
            PeerRequest::remove(address).write(id, &mut remove);
            vec![api::request(address, "POST", "/new_peer", Some(&body)), remove]
        };
        let cycle = Cycle::new((0..connections.count() as u64).map(life).collect());
        contestants.push((count, server, connections, cycle));
    }
    for round in 0..bench.scale.rounds {
        bench.say(&format!("several at once, round {} of {}", round + 1, bench.scale.rounds));
        for (count, server, connections, cycle) in turns(&mut contestants, round) {
            let window = measure(&server.process, connections, cycle, bench.times())?;
            connections.settle(cycle)?;
            let parameters = parameters!(semaphores = count);
            bench.note("together", server.kind.name(), &parameters, &window);
        }
    }
    Ok(())
}
