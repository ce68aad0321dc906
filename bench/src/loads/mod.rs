//! What the clients do: each load is one way of using a server.

pub mod alone;
pub mod cycle;
pub mod every_peer;
pub mod hand_off;
pub mod parked;
pub mod peers;
pub mod steady;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use crate::{
    engine::{Connections, Load, Reply},
    process::Process,
};

/// Longer latencies are counted as this: two minutes.
const LONGEST_NS: u64 = 120_000_000_000;

/// A server with which nothing happens for so long hangs.
const SILENCE: Duration = Duration::from_secs(10);

/// What was counted while a load ran.
#[derive(Debug)]
pub struct Tally {
    /// How often what is measured happened.
    pub count: u64,
    /// How long it took, in nanoseconds.
    pub latencies: Histogram<u64>,
}

impl Default for Tally {
    #[expect(clippy::expect_used, reason = "they cannot fail")]
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("these are valid");
        Tally { count: 0, latencies }
    }
}

impl Tally {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        self.count += 1;
        self.latencies.saturating_record(took.as_nanos() as u64);
    }

    /// A quantile of the latencies in microseconds.
    pub fn microseconds(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// A load that counts.
pub trait Counting: Load {
    /// What was counted.
    fn tally(&mut self) -> &mut Tally;

    /// Forgets what was counted.
    fn begin_anew(&mut self) {
        *self.tally() = Tally::default();
    }
}

/// What was measured in one round.
#[derive(Debug)]
pub struct Window {
    /// How long it lasted.
    pub wall: Duration,
    /// CPU time that the server spent.
    pub cpu: Duration,
    /// What was counted.
    pub tally: Tally,
}

impl Window {
    /// Counted things a second.
    pub fn a_second(&self) -> f64 {
        self.tally.count as f64 / self.wall.as_secs_f64()
    }

    /// Microseconds of the server's CPU for each.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.tally.count.max(1) as f64
    }
}

/// Lets a load run for a while, then measures it for a while.
///
/// # Errors
/// Those of the load.
pub fn measure<L: Counting>(
    process: &Process,
    connections: &mut Connections,
    load: &mut L,
    [warm_up, window]: [Duration; 2],
) -> Result<Window> {
    let _ = connections.run(load, Instant::now() + warm_up)?;
    load.begin_anew();
    // Looking at a thousand processes takes a while, which is not part of the window.
    let cpu = process.cpu()?;
    let started_at = Instant::now();
    // A window of a test may be too short for a slow server: then it takes another.
    let mut until = started_at + window;
    while connections.run(load, until)?.is_continue()
        && load.tally().count == 0
        && started_at.elapsed() < SILENCE
    {
        until += window;
    }
    let wall = started_at.elapsed();
    let cpu = process.cpu()?.saturating_sub(cpu);
    let tally = std::mem::take(load.tally());
    ensure!(tally.count > 0, "nothing was answered within {wall:?}");
    Ok(Window { wall, cpu, tally })
}

/// An answer must be 200.
///
/// # Errors
/// Where it is not.
pub fn expect_ok(reply: &Reply<'_>) -> Result<()> {
    expect(reply, 200)
}

/// An answer must have this code.
///
/// # Errors
/// Where it has not.
pub fn expect(reply: &Reply<'_>, code: u16) -> Result<()> {
    ensure!(reply.code == code, "answer {} instead of {code}: {}", reply.code, reply.excerpt());
    Ok(())
}
