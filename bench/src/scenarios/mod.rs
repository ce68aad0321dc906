//! What is measured. Within a scenario the servers take turns, round by round, so that what else
//! the machine does touches all of them alike.

mod cycle;
mod hand_off;
mod idle;
mod memory;
mod parked;
mod scrape;
mod start;
mod storm;
mod together;

use std::io::{IsTerminal, Write, stderr};

use anyhow::{Context, Result};

use crate::{
    engine::Connections,
    loads::Window,
    others::Found,
    process::Placement,
    results::{Parameters, Results},
    scale::Scale,
    servers::{Binaries, Kind, Server},
    wire::Protocol,
};

/// A scenario's name and what does it.
pub type Scenario = (&'static str, fn(&mut Bench) -> Result<()>);

/// All scenarios, in the order in which they run.
pub const SCENARIOS: [Scenario; 9] = [
    ("start", start::run),
    ("cycle", cycle::run),
    ("hand_off", hand_off::run),
    ("together", together::run),
    ("parked", parked::run),
    ("memory", memory::run),
    ("scrape", scrape::run),
    ("storm", storm::run),
    ("idle", idle::run),
];

/// The semaphores of most scenarios: `A` has room for everybody, `M` and `E` are fought for.
const SEMAPHORES: &str = "[semaphores]\nA = 10000000\nM = 1\nE = 8\n";

/// A run: what there is to measure, how much, and what has come out so far.
#[derive(Debug)]
pub struct Bench {
    /// The servers.
    pub binaries: Binaries,
    /// What else one could use, as far as it is installed.
    pub others: Vec<Found>,
    /// Sizes and times.
    pub scale: Scale,
    /// What was measured.
    pub results: Results,
    /// How many scenarios there are, and how many are done.
    pub progress: [usize; 2],
}

impl Bench {
    /// Starts a server with the usual semaphores.
    fn start(&self, kind: Kind, placement: Placement) -> Result<Server> {
        self.start_with(kind, SEMAPHORES, placement)
    }

    fn start_with(&self, kind: Kind, configuration: &str, placement: Placement) -> Result<Server> {
        Server::start(&self.binaries, kind, configuration, placement)
            .with_context(|| format!("the server `{}`", kind.name()))
    }

    /// Connects to a server.
    fn connect(&self, server: &Server, count: usize) -> Result<Connections> {
        Connections::open(server.address(), Protocol::Http, count)
    }

    /// Says what is going on.
    pub fn say(&self, what: &str) {
        let [all, done] = self.progress;
        let is_terminal = stderr().is_terminal();
        let (start, end) = if is_terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        eprint!("{start}[{}/{all}] {what}{end}", done + 1);
        let _ = stderr().flush();
    }

    /// Notes a measured round.
    fn note(&mut self, scenario: &str, server: &str, parameters: &Parameters, window: &Window) {
        let mut add = |metric, value| self.results.add(scenario, server, parameters, metric, value);
        add("per_second", window.a_second());
        add("cpu_us", window.cpu_us());
        add("p50_us", window.tally.microseconds(0.5));
        add("p99_us", window.tally.microseconds(0.99));
        add("p999_us", window.tally.microseconds(0.999));
    }

    /// The timing of one measurement.
    fn times(&self) -> [std::time::Duration; 2] {
        [self.scale.warm_up, self.scale.window]
    }
}

/// Puts the servers of a scenario into another order for each round, so that none is always the
/// first, nor always behind the same one.
fn turns<T>(contestants: &mut [T], round: usize) -> &mut [T] {
    if round > 0 {
        contestants.reverse();
    }
    if round % 2 == 1 && !contestants.is_empty() {
        contestants.rotate_left(1);
    }
    contestants
}
