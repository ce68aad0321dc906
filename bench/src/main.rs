//! Measures Throttle beside what else one could use, on this machine, in one run.
//!
//! Nothing of this is part of the server. What it measures and how is described in
//! `docs/performance.md`.

mod api;
mod ceiling;
mod engine;
mod loads;
mod machine;
mod others;
mod plots;
mod process;
mod report;
mod results;
mod room;
mod scale;
mod scenarios;
mod servers;
mod soak;
mod tables;
mod targets;
mod wire;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};

use crate::{
    results::Results,
    scale::Scale,
    scenarios::{Bench, SCENARIOS},
    servers::Binaries,
    soak::Soak,
};

/// The scenarios in which others than Throttle take part.
const WITH_OTHERS: [&str; 2] = ["cycle", "hand_off"];

/// Measures Throttle beside what else one could use.
#[derive(Debug, Parser)]
#[command(name = "throttle-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures, and writes the figures as JSON, for `report`.
    Run(Run),
    /// Prints the tables of one run that was written as JSON, or of several; with `--docs`, writes
    /// them into the docs instead.
    Report {
        /// What was measured.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The folder in which criterion keeps what it measured of the pure room.
        #[arg(long)]
        room: Option<PathBuf>,
        /// The folder of `performance.md`.
        #[arg(long)]
        docs: Option<PathBuf>,
    },
    /// Lets thousands of peers do everything there is to do, for half an hour, and watches the
    /// server's memory and books meanwhile.
    Soak(Soak),
    /// Serves fixed answers: the ceiling that the servers are held against.
    Ceiling {
        /// Port to listen on.
        #[arg(long)]
        port: u16,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// The `throttle` binary.
    #[arg(long, default_value = "target/release/throttle")]
    throttle: PathBuf,
    /// The binary of the published server; without it, that is left out.
    #[arg(long)]
    upstream: Option<PathBuf>,
    /// Where the figures go.
    #[arg(long, default_value = "target/bench/results.json")]
    out: PathBuf,
    /// Takes two minutes instead of half an hour.
    #[arg(long)]
    quick: bool,
    /// Takes seconds, and only shows that everything works.
    #[arg(long, conflicts_with = "quick")]
    smoke: bool,
    /// Only these scenarios.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Ceiling { port } => ceiling::run(port),
        Command::Run(run) => measure(&run),
        Command::Soak(options) => soak::run(&options),
        Command::Report { files, room, docs } => {
            let mut results = Results::default();
            for file in files {
                results.merge(Results::read(&file)?);
            }
            let room = room.map_or(Ok(None), |folder| room::table(&folder))?;
            match docs {
                None => report::print(&results, room),
                Some(docs) => report::write(&results, room, &docs)?,
            }
            Ok(())
        }
    }
}

fn measure(run: &Run) -> Result<()> {
    let names = || SCENARIOS.map(|(name, _)| name);
    for name in &run.only {
        let known = names().join(", ");
        ensure!(names().contains(&name.as_str()), "no scenario `{name}`, expected: {known}");
    }
    let wanted = |name: &str| run.only.is_empty() || run.only.iter().any(|only| only == name);
    let scenarios: Vec<_> = SCENARIOS.into_iter().filter(|(name, _)| wanted(name)).collect();
    ensure!(run.throttle.is_file(), "no such file: {}", run.throttle.display());
    let upstream = run.upstream.clone().filter(|file| file.is_file());
    if upstream.is_none() {
        eprintln!("the published server is not installed: skipped");
    }
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    let scale = match (run.quick, run.smoke) {
        (true, _) => Scale::quick(),
        (_, true) => Scale::smoke(),
        _ => Scale::full(),
    };
    let needed = scale.waiters as u64 + 500;
    ensure!(
        files >= needed,
        "{needed} files must be open at once, but no more than {files} may be"
    );
    let mut results = Results::default();
    machine::describe(&mut results.machine);
    let others = match WITH_OTHERS.into_iter().any(wanted) {
        true => others::find(&mut results.machine)?,
        false => Vec::new(),
    };
    let mut bench = Bench {
        binaries: Binaries { throttle: run.throttle.clone(), upstream },
        others,
        scale,
        results,
        progress: [scenarios.len(), 0],
    };
    if let Some(folder) = run.out.parent() {
        fs::create_dir_all(folder)?;
    }
    for (name, scenario) in scenarios {
        let measured = scenario(&mut bench).with_context(|| format!("scenario `{name}`"));
        // Also after a failure: what was measured before it is not lost.
        fs::write(&run.out, serde_json::to_string_pretty(&bench.results)?)?;
        measured?;
        bench.progress[1] += 1;
    }
    eprintln!("\nwritten to {}", run.out.display());
    Ok(())
}
