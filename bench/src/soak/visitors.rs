//! Connections that come and go beside the load, each with a thread of its own: followers of
//! `/events`, clients that hang up while they wait, and some that send half of a request or none.
//!
//! What they lock is made from a template of their own, and gone again when a visit ends.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::{chance::Chance, http::Sent};

/// Between two visits.
const PAUSE: Duration = Duration::from_millis(60);

/// The lease of a visitor.
const LEASE: Duration = Duration::from_millis(400);

/// What was done so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Visits by their kind, and events.
    pub done: BTreeMap<&'static str, u64>,
    /// Refusals by their code.
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests of clients that hung up: whether the server noticed that, or refused them when
    /// their leases ended before it did, is not known.
    pub maybe_refused: u64,
    /// Why one thread gave up.
    pub trouble: Option<String>,
}

impl Seen {
    fn note(&mut self, what: &'static str, times: u64) {
        *self.done.entry(what).or_default() += times;
    }
}

/// The threads; they end with this value.
#[derive(Debug)]
pub struct Visitors {
    /// One for each thread, locked while a visit lasts.
    gates: Vec<Arc<Mutex<Seen>>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// One visit.
type Visit = fn(&mut Visitor, &mut Seen) -> Result<()>;

struct Visitor {
    address: SocketAddr,
    chance: Chance,
    longest: Duration,
    last_event: Option<String>,
}

impl Visitors {
    /// Starts them. A visit takes no longer than `longest`, and what leases need.
    pub fn start(address: SocketAddr, longest: Duration, chance: &mut Chance) -> Self {
        let kinds: [Visit; 5] = [
            Visitor::follow,
            Visitor::follow,
            Visitor::hang_up,
            Visitor::stumble,
            Visitor::stumble,
        ];
        let is_over = Arc::new(AtomicBool::new(false));
        let (mut gates, mut threads) = (Vec::new(), Vec::new());
        for visit in kinds {
            let (chance, last_event) = (Chance::of(chance.number()), None);
            let mut visitor = Visitor { address, chance, longest, last_event };
            let gate = Arc::new(Mutex::new(Seen::default()));
            gates.push(gate.clone());
            let is_over = is_over.clone();
            threads.push(thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let mut seen = entered(&gate);
                    if let Err(error) = visit(&mut visitor, &mut seen) {
                        seen.trouble = Some(format!("{error:#}"));
                        return;
                    }
                    drop(seen);
                    sleep(PAUSE);
                }
            }));
        }
        Visitors { gates, is_over, threads }
    }

    /// Waits until the visits end that have begun. None begins while the guards are kept.
    pub fn hold(&self) -> Vec<MutexGuard<'_, Seen>> {
        self.gates.iter().map(|gate| entered(gate)).collect()
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn entered(gate: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Visitor {
    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(stream)
    }

    /// Reads events for a while, some of them from where it stopped the last time.
    fn follow(&mut self, seen: &mut Seen) -> Result<()> {
        let filter = ["", "?semaphore=large0", "?semaphore=mutex%201"][self.chance.below(3)];
        let mut request = Sent::new("GET", &format!("/events{filter}"));
        if let Some(id) = self.last_event.take().filter(|_| self.chance.once_in(2)) {
            request = request.header("Last-Event-ID", &id);
        }
        let mut stream = self.connect()?;
        stream.write_all(&request.bytes(self.address))?;
        let until = Instant::now() + self.chance.time(self.longest / 4, self.longest);
        let (mut text, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match stream.read(&mut buffer) {
                Ok(0) => bail!("the server ended a stream of events"),
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(_) => break,
            }
        }
        let text = String::from_utf8_lossy(&text);
        ensure!(text.is_empty() || text.starts_with("HTTP/1.1 200"), "events: {text:.200}");
        seen.note("streams of events", 1);
        seen.note("events", text.lines().filter(|line| line.starts_with("event: ")).count() as u64);
        let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        // The last one may have been cut off.
        let whole = &ids[..ids.len().saturating_sub(1)];
        let numbers = whole.iter().map(|id| number(id)).collect::<Result<Vec<u64>>>()?;
        ensure!(numbers.is_sorted(), "the numbers of events do not grow");
        self.last_event = whole.last().map(|id| (*id).to_owned());
        Ok(())
    }

    /// Hangs up while it waits, and leaves its lock pending, until its lease is over.
    fn hang_up(&mut self, seen: &mut Seen) -> Result<()> {
        let semaphore = format!("visitor-{}", self.chance.below(1_000));
        let lease = format!("{}ms", LEASE.as_millis());
        for is_first in [true, false] {
            let new = Sent::new("POST", "/new_peer?block_for=60s")
                .json(&json!({"expires_in": lease, "acquire": {semaphore.as_str(): 1}}));
            if is_first {
                new.ok(self.address)?;
                continue;
            }
            let mut stream = self.connect()?;
            stream.write_all(&new.bytes(self.address))?;
            seen.maybe_refused += 1;
            sleep(LEASE / 4);
            if self.chance.once_in(2) {
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
        // Until both leases have ended, on a machine that is busy.
        let until = Instant::now() + 40 * LEASE;
        let semaphores = Sent::new("GET", "/semaphores");
        while String::from_utf8_lossy(&semaphores.ok(self.address)?)
            .contains(&format!("\"{semaphore}\""))
        {
            ensure!(Instant::now() < until, "`{semaphore}` is still there");
            sleep(LEASE / 2);
        }
        seen.note("clients that hung up while they waited", 1);
        Ok(())
    }

    /// Sends a request in part, something else, too much, or nothing.
    fn stumble(&mut self, seen: &mut Seen) -> Result<()> {
        let mut stream = self.connect()?;
        let whole = Sent::new("POST", "/new_peer").json(&json!({"expires_in": "5m"}));
        let whole = whole.bytes(self.address);
        match self.chance.below(6) {
            0 => seen.note("connections without a request", 1),
            1 => {
                let end = 1 + self.chance.below(whole.len() - 1);
                stream.write_all(&whole[..end])?;
                sleep(PAUSE);
                // A head is refused by nobody; a body is, and that must have been counted.
                if whole[..end].windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                    stream.shutdown(Shutdown::Write)?;
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer);
                    ensure!(answer.starts_with(b"HTTP/1.1 408"), "half a body was not refused");
                    *seen.refused.entry("body_too_slow").or_default() += 1;
                }
                seen.note("half-sent requests", 1);
            }
            2 => {
                stream.write_all(b"this is not HTTP\r\n\r\n")?;
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer);
                ensure!(answer.starts_with(b"HTTP/1.1 400"), "what is no HTTP was not refused");
                seen.note("what is no HTTP", 1);
            }
            3 => {
                let long = format!("{{\"expires_in\":\"{}5m\"}}", " ".repeat(70_000));
                let request = Sent::new("POST", "/new_peer").body(&long);
                let (code, _) = request.alone(self.address)?;
                ensure!(code == 413, "a body that is too long: {code}");
                *seen.refused.entry("body_too_large").or_default() += 1;
                seen.note("bodies that are too long", 1);
            }
            _ => {
                let request = Sent::new("GET", "/health").header("Connection", "close");
                stream.write_all(&request.bytes(self.address))?;
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer)?;
                ensure!(answer.ends_with(b"Ok"), "/health");
                seen.note("connections for one request", 1);
            }
        }
        Ok(())
    }
}

/// The number of an event, behind that of the start of the server.
fn number(id: &str) -> Result<u64> {
    let (_, number) = id.split_once('-').with_context(|| format!("event `{id}`"))?;
    number.trim().parse().with_context(|| format!("event `{id}`"))
}
