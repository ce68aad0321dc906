//! From the start of the process to its first answer, without a configuration; what it takes then,
//! in memory and on disk.

use std::time::Instant;

use anyhow::Result;

use super::Bench;
use crate::{api, loads::peers, parameters, process::Placement, servers::Kind};

/// Measures.
///
/// # Errors
/// Where a server fails.
pub fn run(bench: &mut Bench) -> Result<()> {
    for round in 0..bench.scale.starts {
        bench.say(&format!("start, round {} of {}", round + 1, bench.scale.starts));
        let mut kinds = bench.binaries.present(&[Kind::Throttle, Kind::Upstream]);
        let first = round % kinds.len();
        kinds.rotate_left(first);
        for kind in kinds {
            let started_at = Instant::now();
            let server = bench.start_with(kind, "", Placement::Free)?;
            let mut connections = bench.connect(&server, 1)?;
            let health = api::request(server.address(), "GET", "/health", None);
            peers::once(&mut connections, health)?;
            let milliseconds = started_at.elapsed().as_secs_f64() * 1e3;
            let version = api::request(server.address(), "GET", "/version", None);
            let version = String::from_utf8(peers::once(&mut connections, version)?)?;
            bench.results.machine.insert(kind.name().to_owned(), version);
            let resident = server.process.resident()? as f64;
            let file = std::fs::metadata(bench.binaries.of(kind)?)?.len() as f64;
            let mut add = |metric, value| {
                bench.results.add("start", kind.name(), &parameters!(), metric, value)
            };
            add("first_answer_ms", milliseconds);
            add("resident_bytes", resident);
            add("binary_bytes", file);
        }
    }
    Ok(())
}
