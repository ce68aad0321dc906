//! The server, as far as it is simulated: the real state, the real waiters and the real litter
//! collection, in paused time and in one thread. Only what HTTP adds is missing.
//!
//! All that is asked of it is asked of the naive books, too; and after each step both are compared.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use throttle::{
    feed::{Listener, News},
    litter_collection,
    metrics::Metrics,
    semaphore::{
        Adjustment, Asking, Catalogue, Durations, NewPeer, Page, PeerId, PeerSnapshot, Progress,
        Restored, SemaphoreConfig, Template, Terms,
    },
    state::{AskError, Asked, Settings, State},
    waiting::{Outcome, Waiter},
};
use tokio::task::{AbortHandle, yield_now};

mod asking;
mod compare;
mod expected;

use crate::{
    coverage::Coverage,
    naive::{Counts, Limits, Maxes, Model, ModelPeer, ModelSemaphore, SEMAPHORES, reason},
    promises::{ACCOUNTING, BOOKS, Broken, Kept, Ledger, PROGRESS, WOKEN, index, promise},
    wire::{Answer, NAMES, Reply, Request, TOO_MANY, Wanted},
};

/// What an operator has set.
#[derive(Clone, Copy, Debug)]
pub struct Limited {
    /// Milliseconds; 0 for no recovery window.
    pub window: u64,
    pub max_peers: usize,
    pub max_waiters: usize,
    /// Milliseconds.
    pub max_expires_in: u64,
}

/// A request that is parked.
#[derive(Debug)]
struct Parked {
    peer: u64,
    /// What it waits for, as the naive books have it.
    arrival: u64,
    locks: Counts,
    /// When its time is over.
    until: u64,
    task: AbortHandle,
}

/// What becomes of a request at once.
pub enum Applied {
    Answer(Answer),
    /// It is answered later, under this number; by then at the latest.
    Parked {
        ticket: u64,
        until: u64,
    },
}

/// How the waits of parked requests ended that nobody has looked at yet.
type Outcomes = Arc<Mutex<Vec<(u64, Outcome)>>>;

/// One start of the server.
pub struct Server {
    /// Tells it from other starts.
    pub instance: u64,
    pub model: Model,
    pub ledger: Ledger,
    state: Arc<State>,
    limited: Limited,
    collector: Option<AbortHandle>,
    listener: Listener,
    parked: BTreeMap<u64, Parked>,
    tickets: u64,
    draws: u64,
    outcomes: Outcomes,
    metrics: Metrics,
    is_shut_down: bool,
}

/// Ids that the server draws lie above this.
const DRAWN: u64 = 1 << 51;

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn catalogue(maxes: &Maxes) -> Catalogue {
    let offered = SEMAPHORES.iter().zip(maxes);
    let config = offered.filter_map(|((name, _, level), max)| Some((*name, (*max)?, *level)));
    let semaphores =
        config.map(|(name, max, level)| (name.to_owned(), SemaphoreConfig { max, level }));
    let templates = Template::new("tenant-*", SemaphoreConfig::new(1));
    Catalogue { semaphores: semaphores.collect(), templates: templates.into_iter().collect() }
}

fn named(wanted: &Wanted) -> Vec<(&'static str, i64)> {
    wanted.iter().map(|(ix, count)| (NAMES[*ix], *count)).collect()
}

impl Server {
    /// Starts at that time, when the wall clock shows that, with maxes as they are configured.
    pub async fn start(
        now: u64,
        wall_clock: u64,
        instance: u64,
        limited: Limited,
        maxes: Maxes,
        latest_token: u64,
    ) -> Self {
        let settings = Settings {
            max_peers: limited.max_peers,
            // So that no template makes any.
            max_semaphores: 1,
            max_waiters: limited.max_waiters,
            max_expires_in: Some(ms(limited.max_expires_in)),
            recovery_window: (limited.window > 0).then(|| ms(limited.window)),
        };
        let semaphores = catalogue(&maxes);
        let state = State::started_at(ms(wall_clock), semaphores, settings);
        let listener = state.feed().listen(None).expect("nobody else listens");
        let mut model = Model::new(Limits {
            max_peers: limited.max_peers,
            tokens_above: wall_clock << 11,
            grants_from: if limited.window > 0 { now + limited.window } else { 0 },
        });
        model.now = now;
        for (semaphore, max) in model.semaphores.iter_mut().zip(maxes) {
            let is_there = max.is_some();
            let it = ModelSemaphore::new(max.unwrap_or(0));
            *semaphore = ModelSemaphore { offered: is_there, exists: is_there, ..it };
        }
        let mut server = Server {
            instance,
            model,
            ledger: Ledger::new(maxes.map(Option::unwrap_or_default), latest_token),
            state,
            limited,
            collector: None,
            listener,
            parked: BTreeMap::new(),
            tickets: 0,
            draws: 0,
            outcomes: Outcomes::default(),
            metrics: Metrics::new(&["/"]).expect("the names are valid"),
            is_shut_down: false,
        };
        server.let_collect();
        yield_now().await;
        server
    }

    /// The litter collection runs.
    pub fn let_collect(&mut self) {
        if self.is_collecting() {
            return;
        }
        let hour = Duration::from_secs(3_600);
        let collecting = tokio::spawn(litter_collection::run(self.state.clone(), hour));
        self.collector = Some(collecting.abort_handle());
    }

    /// The litter collection gets no core any more.
    pub fn stall_collector(&mut self) {
        self.collector.take().inspect(AbortHandle::abort);
    }

    pub fn is_collecting(&self) -> bool {
        self.collector.is_some()
    }

    /// When the litter collection has to do something next.
    pub fn next_deadline(&self) -> Option<u64> {
        let leases = self.model.peers.values().map(|peer| peer.valid_until);
        let opens = Some(self.model.limits.grants_from).filter(|at| *at > self.model.now);
        leases.chain(opens).min().filter(|_| self.is_collecting())
    }

    fn is_closed(&self) -> bool {
        self.model.now < self.model.limits.grants_from
    }

    /// The naive books, when somebody comes.
    fn begin(&mut self, now: u64) {
        self.sweep();
        self.model.expire(now);
    }

    fn sweep(&mut self) {
        self.model.sweep();
        for ix in 0..SEMAPHORES.len() {
            if !self.model.semaphores[ix].exists {
                self.ledger.forget_totals(ix);
            }
        }
    }

    /// Whether more may have to be cleared away than one request does: it looks at four leases.
    pub fn is_behind(&self, now: u64) -> bool {
        let ends = |peer: &ModelPeer| peer.valid_until <= now;
        self.model.peers.len() > 4 && self.model.peers.values().any(ends)
    }

    /// Somebody has everything expired that has to.
    pub async fn remove_expired(&mut self, now: u64) -> Kept {
        self.sweep();
        let (expected, found) = (self.model.expire(now).len(), self.state.remove_expired().await);
        promise(BOOKS, expected == found, || format!("{found} expired, not {expected}"))
    }

    /// Somebody sets a semaphore; `None` undoes what was set.
    pub fn adjust(&mut self, now: u64, ix: usize, setting: Option<(Option<i64>, bool)>) -> Kept {
        self.begin(now);
        let before = self.model.semaphores[ix];
        let (result, max, paused) = match setting {
            None => (self.state.reset(NAMES[ix], "operator"), before.configured, false),
            Some((max, paused)) => {
                let adjustment = Adjustment { max, paused: Some(paused) };
                let result = self.state.adjust(NAMES[ix], adjustment, "operator");
                (result, max.unwrap_or(before.max), paused)
            }
        };
        if before.exists {
            self.model.adjust(ix, max, paused);
        }
        promise(BOOKS, result.is_ok() == before.exists, || format!("{ix}: {result:?}"))
    }

    /// The configuration is read again, and has these maxes.
    pub fn configure(&mut self, now: u64, maxes: Maxes) {
        self.begin(now);
        self.state.configure(catalogue(&maxes), Vec::new(), "operator");
        self.model.configure(maxes);
    }

    /// A peer is released for good. Returns whether there was one.
    pub fn revoke(&mut self, now: u64, id: u64) -> Kept<bool> {
        self.begin(now);
        let (expected, found) = (self.model.revoke(id), self.state.revoke(PeerId(id), "operator"));
        promise(BOOKS, expected == found, || format!("revoked {id}: {found}"))?;
        Ok(found)
    }

    /// A client that waits has gone: its connection is closed.
    pub fn hang_up(&mut self, ticket: u64) {
        if let Some(parked) = self.parked.remove(&ticket) {
            parked.task.abort();
        }
    }

    /// The machine dies. Returns the requests that were parked.
    pub fn kill(mut self) -> Vec<u64> {
        self.stall_collector();
        self.parked.values().for_each(|parked| parked.task.abort());
        std::mem::take(&mut self.parked).into_keys().collect()
    }

    /// The server is stopped as it should be: who waits is told that it waits still.
    pub fn shut_down(&mut self) {
        self.is_shut_down = true;
        self.state.shut_down();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stall_collector();
    }
}
