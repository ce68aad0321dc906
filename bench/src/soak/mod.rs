//! Endurance: thousands of peers that do everything there is to do, for as long as one likes,
//! against one server whose memory is watched, and whose every answer is held against the books
//! that the peers keep themselves.

mod answers;
mod books;
mod chance;
mod compare;
mod crowd;
mod http;
mod moves;
mod operator;
mod refusals;
mod requests;
mod samples;
mod scraped;
mod shown;
mod visitors;
mod withdrawals;
mod world;

use std::{
    collections::BTreeMap,
    fs,
    net::TcpStream,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::json;
use tempfile::TempDir;

use self::{
    books::Stage,
    chance::Chance,
    crowd::{APART, Crowd},
    http::Sent,
    moves::Pace,
    operator::Operator,
    samples::Sample,
    visitors::{Seen, Visitors},
    world::{KEPT, World},
};
use crate::{
    engine::Connections,
    machine,
    process::{self, Placement, Process},
    servers::{self, Kind},
    tables::{markdown, number},
    wire::Protocol,
};

/// Everything comes to rest and is compared so often, or at least after so long.
const COMPARISONS: u32 = 12;
const BETWEEN_COMPARISONS: Duration = Duration::from_secs(2);

/// Answers that are on their way are there by then.
const RESTS_WITHIN: Duration = Duration::from_secs(90);

/// Options of the soak.
#[derive(Debug, Args)]
pub struct Soak {
    /// The `throttle` binary.
    #[arg(long, default_value = "target/release/throttle")]
    throttle: PathBuf,
    /// How long it takes, in minutes.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// How many peers there are at any time.
    #[arg(long, default_value_t = 10_000)]
    peers: usize,
    /// Requests a second.
    #[arg(long, default_value_t = 3_000)]
    rate: usize,
    /// Where samples, counts and the verdict go, as JSON.
    #[arg(long, default_value = "target/bench/soak.json")]
    out: PathBuf,
    /// Draws what that run drew.
    #[arg(long)]
    seed: Option<u64>,
}

/// A run.
struct Run {
    process: Process,
    connections: Connections,
    crowd: Crowd,
    visitors: Visitors,
    samples: Vec<Sample>,
    started_at: Instant,
    length: Duration,
    comparisons: u64,
    /// Where its configuration lies.
    _folder: TempDir,
}

/// Runs it, prints what was seen, and fails where anything was wrong.
///
/// # Errors
/// An answer that was none of those expected, books that differ, memory that grows.
pub fn run(options: &Soak) -> Result<()> {
    ensure!(options.throttle.is_file(), "no such file: {}", options.throttle.display());
    ensure!(options.minutes > 0.0 && options.peers >= 20, "some time, and 20 peers, are needed");
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = options.seed.unwrap_or(now.as_nanos() as u64);
    eprintln!("seed {seed}: give it to `--seed` to have the same drawn again");
    let mut run = Run::start(options, seed)?;
    let outcome = run.work();
    run.report(options, seed, outcome)
}

impl Run {
    fn start(options: &Soak, seed: u64) -> Result<Self> {
        let length = Duration::from_secs_f64(options.minutes * 60.0);
        let mut chance = Chance::of(seed);
        let lanes = (options.peers / 10).clamp(20, 1_000);
        let files = rlimit::increase_nofile_limit(u64::MAX)?;
        ensure!(files >= lanes as u64 + 500, "no more than {files} files may be open");
        let folder = TempDir::new()?;
        let file = folder.path().join("throttle.toml");
        fs::write(&file, World::new().configuration(0))?;
        let address = process::free_address()?;
        let mut command = servers::command(&options.throttle, Kind::Throttle, &file, address);
        let process = Process::start(&mut command, address, Placement::Free)?;
        // Five minutes and more have the full pauses; shorter ones must do as much in less.
        let pace = (length.as_secs_f64() / 300.0).clamp(0.02, 1.0);
        let longest = Duration::from_secs_f64((length.as_secs_f64() / 20.0).clamp(0.2, 4.0));
        let operator = Operator::new(address, process.pid(), file, pace);
        let visitors = Visitors::start(address, longest, &mut chance);
        let pace = Pace { longest_wait: longest, longest_absence: longest };
        // Some are away at any time.
        let places = options.peers + options.peers / 10;
        let mut crowd = Crowd::new(address, [places, lanes, options.rate], pace, operator, chance);
        crowd.keeper = crowd.chance.peer_id();
        let kept = json!({"expires_in": "24h", "peer_id": crowd.keeper, "acquired": {KEPT: 1}});
        Sent::new("POST", "/restore").json(&kept).ok(address)?;
        Ok(Run {
            connections: Connections::open(address, Protocol::Http, lanes + APART)?,
            process,
            crowd,
            visitors,
            samples: Vec::new(),
            started_at: Instant::now(),
            length,
            comparisons: 0,
            _folder: folder,
        })
    }

    fn work(&mut self) -> Result<()> {
        for after in comparisons(self.length) {
            self.load_until(self.started_at + after)?;
            self.rest()?;
            self.compare()?;
            self.crowd.is_quiet = false;
            self.say();
        }
        self.end()
    }

    /// Everybody does something; meanwhile memory is sampled.
    fn load_until(&mut self, until: Instant) -> Result<()> {
        let every = (self.length / 360).max(Duration::from_millis(100));
        loop {
            let now = Instant::now();
            // What an operator has begun is not left half-done.
            if now >= until && self.crowd.operator.is_at_rest() {
                return Ok(());
            }
            let _ = self.connections.run(&mut self.crowd, now + every)?;
            if let Some(trouble) = self.crowd.operator.trouble.take() {
                return Err(trouble);
            }
            let sample = self.sample()?;
            self.samples.push(sample);
        }
    }

    fn sample(&self) -> Result<Sample> {
        let books = &self.crowd.books;
        let present = books.peers.iter().filter(|peer| peer.stage == Stage::Present);
        let locks = present.fold([0, 0], |[held, pending], peer| {
            [held + peer.held.len(), pending + peer.pending.len()]
        });
        Ok(Sample {
            seconds: self.started_at.elapsed().as_secs_f64(),
            resident_bytes: self.process.resident()?,
            anonymous_bytes: self.process.status("RssAnon")? * 1024,
            files: self.process.open_files()?,
            threads: self.process.status("Threads")?,
            peers: books.present(),
            locks,
            requests: books.done.values().sum(),
        })
    }

    /// Lets all requests in flight be answered, and those leases end that nobody renews.
    fn rest(&mut self) -> Result<()> {
        self.crowd.is_quiet = true;
        self.connections.finish(&mut self.crowd, RESTS_WITHIN)?;
        if let Some(end) = self.crowd.books.last_end() {
            sleep(end.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<()> {
        let seen = self.visitors.hold();
        for one in &seen {
            if let Some(trouble) = &one.trouble {
                bail!("a visitor: {trouble}");
            }
        }
        let seen: Vec<&Seen> = seen.iter().map(|seen| &**seen).collect();
        self.comparisons += 1;
        compare::compare(&mut self.crowd, &seen)
            .with_context(|| format!("comparison {}", self.comparisons))
    }

    fn say(&self) {
        let Some(sample) = self.samples.last() else { return };
        eprintln!(
            "{:5.1} min: {} requests, {} peers, RSS {} MB; all books agree",
            sample.seconds / 60.0,
            number(sample.requests as f64, 0),
            number(sample.peers as f64, 0),
            number(sample.resident_bytes as f64 / 1e6, 2),
        );
    }

    /// All is released or left to end; then nothing may be left.
    fn end(&mut self) -> Result<()> {
        self.rest()?;
        let address = self.crowd.address;
        let mut stream = TcpStream::connect(address)?;
        for ix in std::mem::take(&mut self.crowd.operator.by_hand).into_keys() {
            let path = &self.crowd.books.world.semaphores[ix].path;
            Sent::new("DELETE", &format!("/semaphores/{path}")).ok(address)?;
        }
        for place in 0..self.crowd.books.peers.len() {
            if self.crowd.books.peers[place].stage == Stage::Present {
                let target = format!("/peers/{}", self.crowd.books.peers[place].id);
                let (sent, stage) = match place % 2 {
                    0 => (Sent::new("DELETE", &target), Stage::Absent),
                    _ => {
                        let brief = Sent::new("PUT", &target).json(&json!({"expires_in": "100ms"}));
                        (brief, Stage::Gone(Instant::now() + Duration::from_millis(200)))
                    }
                };
                self.crowd.books.let_go_all(place);
                let (code, _) = sent.over(&mut stream)?;
                ensure!(code == 200, "{}: {code}", sent.line());
                self.crowd.books.leave(place, stage);
            }
        }
        Sent::new("DELETE", &format!("/peers/{}", self.crowd.keeper)).ok(address)?;
        self.crowd.keeper = 0;
        self.rest()?;
        self.compare().context("nothing must be left")
    }

    fn report(&self, options: &Soak, seed: u64, outcome: Result<()>) -> Result<()> {
        let mut counts = self.crowd.books.done.clone();
        let seen = self.visitors.hold();
        for (what, count) in seen.iter().flat_map(|seen| &seen.done) {
            *counts.entry(what).or_default() += count;
        }
        drop(seen);
        let refused = &self.crowd.books.refused;
        let memory = samples::judge(&self.samples, self.length);
        println!("{}", samples::table(&self.samples));
        println!("{}", listing("what was done", &counts));
        println!("{}", listing("refusals, all of them expected", refused));
        let error = outcome.as_ref().err().map(|error| format!("{error:#}"));
        let mut facts = BTreeMap::new();
        machine::describe(&mut facts);
        let all = json!({
            "machine": facts, "seed": seed, "minutes": options.minutes, "peers": options.peers,
            "error": error, "memory": memory, "comparisons": self.comparisons,
            "grants_checked": self.crowd.books.grants_checked, "done": counts, "refused": refused,
            "samples": self.samples,
        });
        if let Some(folder) = options.out.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&options.out, serde_json::to_string_pretty(&all)?)?;
        eprintln!("written to {}", options.out.display());
        outcome.with_context(|| format!("after {:?}", self.started_at.elapsed()))?;
        println!(
            "No answer but those expected, {} grants never above max, {} comparisons without a \
             difference, nothing left at the end.",
            number(self.crowd.books.grants_checked as f64, 0),
            self.comparisons
        );
        let Some(memory) = memory else { return Ok(()) };
        let megabytes = |bytes: f64| number(bytes / 1e6, 2);
        println!(
            "RSS {} MB after the first minutes, {} MB at the end: {:+.1} %",
            megabytes(memory.first_bytes),
            megabytes(memory.last_bytes),
            (memory.ratio - 1.0) * 100.0
        );
        match memory.is_steady {
            None => println!("(Too short to say anything of memory.)"),
            Some(is_steady) => ensure!(is_steady, "memory grows by more than 5 %"),
        }
        Ok(())
    }
}

/// When everything comes to rest. In the first tenth more often, so that all that a server ever
/// needs at once is there when the memory of the first minutes is looked at.
fn comparisons(length: Duration) -> Vec<Duration> {
    let parts = length.as_secs() / BETWEEN_COMPARISONS.as_secs();
    let parts = (parts as u32).clamp(1, COMPARISONS);
    let early = (1..parts).map(|part| length * part / parts / COMPARISONS);
    early.chain((1..=parts).map(|part| length * part / parts)).collect()
}

fn listing(title: &str, counts: &BTreeMap<&'static str, u64>) -> String {
    let mut lines = vec![vec![title.to_owned(), "times".to_owned()]];
    let row = |(what, count): (&&str, &u64)| vec![(*what).to_owned(), number(*count as f64, 0)];
    lines.extend(counts.iter().map(row));
    markdown(&lines, 1)
}
