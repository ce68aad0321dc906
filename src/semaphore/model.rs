//! A naive model of the pure room, and a property test that holds the two against each other.
//!
//! The model has no counters, no queues and no index: it keeps plain lists and recounts everything
//! after each step. It is slow, and plain enough to be believed.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{
    Adjustment, Asking, Catalogue, Changes, Effect, Effects, Error, Event, Happening, Leases,
    NewPeer, Page, PeerId, Progress, Restored, Rules, SemaphoreConfig, Source, Status, Terms,
    Timestamp, invariants,
};

/// Name, max and level of each semaphore, in walking order.
const SEMAPHORES: [(&str, i64, i32); 4] = [("D", 2, 7), ("B", 3, 1), ("C", 1, 1), ("A", 5, 0)];

/// Those that may leave the configuration. When they come back, they may lie elsewhere in the
/// books, which matters to the walking order only among semaphores of one level.
const REMOVABLE: [usize; 2] = [0, 3];

/// Few enough for the limits to be met now and then.
const MAX_PEERS: usize = 4;
const MAX_EXPIRES_IN: u64 = 27;

/// Tokens of an earlier start are at most this.
const TOKENS_ABOVE: u64 = 100;

type Counts = BTreeMap<usize, i64>;

/// What each peer holds and waits for of each semaphore, as the events have it.
type Ledger = BTreeMap<(u64, String), (i64, i64)>;

#[derive(Clone, Debug)]
struct ModelPeer {
    valid_until: u64,
    held: Counts,
    ask: Option<ModelAsk>,
    /// The ask that made the peer, while no part of it was given back.
    origin: Option<Counts>,
    /// Of the locks that are held. The model does not draw tokens; it takes note of them.
    tokens: BTreeMap<usize, u64>,
}

#[derive(Clone, Debug)]
struct ModelAsk {
    arrival: u64,
    /// By index into `SEMAPHORES`, hence in walking order.
    locks: Counts,
    reserved: usize,
}

#[derive(Clone, Copy, Debug)]
struct ModelSemaphore {
    /// As it was set last.
    max: i64,
    paused: bool,
    /// As it was configured last.
    configured: i64,
    /// Whether the configuration names it.
    offered: bool,
    /// Whether it is there at all.
    exists: bool,
}

impl ModelSemaphore {
    fn new(max: i64) -> Self {
        ModelSemaphore { max, paused: false, configured: max, offered: true, exists: true }
    }
}

/// The max of each semaphore that a configuration names.
type Maxes = [Option<i64>; SEMAPHORES.len()];

#[derive(Clone, Debug)]
struct Model {
    semaphores: [ModelSemaphore; SEMAPHORES.len()],
    peers: BTreeMap<u64, ModelPeer>,
    arrivals: u64,
    now: u64,
    /// When a recovery window ends.
    grants_from: u64,
    /// Who must not come back, and until when.
    revoked: BTreeMap<u64, u64>,
}

impl ModelPeer {
    fn new(valid_until: u64, held: Counts) -> Self {
        ModelPeer { valid_until, held, ask: None, origin: None, tokens: BTreeMap::new() }
    }

    fn has(&self, semaphore: usize) -> bool {
        let ask = self.ask.as_ref();
        self.held.contains_key(&semaphore)
            || ask.is_some_and(|ask| ask.locks.contains_key(&semaphore))
    }

    fn is_pending(&self, locks: &Counts) -> bool {
        self.ask.as_ref().is_some_and(|ask| ask.locks == *locks)
    }

    fn holds(&self, locks: &Counts) -> bool {
        locks.iter().all(|(ix, count)| self.held.get(ix) == Some(count))
    }

    /// Part of what it has is given back or shrinks.
    fn part(&mut self, semaphore: usize) {
        self.origin.take_if(|origin| origin.contains_key(&semaphore));
    }
}

impl Default for Model {
    fn default() -> Self {
        Model {
            semaphores: SEMAPHORES.map(|(_, max, _)| ModelSemaphore::new(max)),
            peers: BTreeMap::new(),
            arrivals: 0,
            now: 0,
            grants_from: 0,
            revoked: BTreeMap::new(),
        }
    }
}

impl Model {
    fn acquired(&self, semaphore: usize) -> i64 {
        self.peers.values().filter_map(|peer| peer.held.get(&semaphore)).sum()
    }

    fn reserved(&self, semaphore: usize) -> i64 {
        let asks = self.peers.values().filter_map(|peer| peer.ask.as_ref());
        asks.filter_map(|ask| ask.locks.iter().take(ask.reserved).find(|(ix, _)| **ix == semaphore))
            .map(|(_, count)| count)
            .sum()
    }

    fn room(&self, semaphore: usize) -> i64 {
        self.semaphores[semaphore].max - self.acquired(semaphore) - self.reserved(semaphore)
    }

    /// Peers whose asks stand in the queue of this semaphore, and their counts, in arrival order.
    fn standing(&self, semaphore: usize) -> Vec<(u64, i64)> {
        let mut standing: Vec<_> = self
            .peers
            .iter()
            .filter_map(|(id, peer)| {
                let ask = peer.ask.as_ref()?;
                let (ix, count) = ask.locks.iter().nth(ask.reserved)?;
                (*ix == semaphore).then_some((ask.arrival, (*id, *count)))
            })
            .collect();
        standing.sort();
        standing.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Takes back reservations where more is acquired than there is, then serves all queues.
    fn settle(&mut self) {
        for semaphore in 0..SEMAPHORES.len() {
            while self.room(semaphore) < 0 || self.semaphores[semaphore].paused {
                let reserving = self.peers.values_mut().filter_map(|peer| peer.ask.as_mut());
                let latest = reserving
                    .filter(|ask| ask.locks.keys().take(ask.reserved).any(|ix| *ix == semaphore))
                    .max_by_key(|ask| ask.arrival);
                let Some(ask) = latest else { break };
                ask.reserved = ask.locks.keys().position(|ix| *ix == semaphore).unwrap();
            }
        }
        if self.now < self.grants_from {
            return;
        }
        for semaphore in 0..SEMAPHORES.len() {
            while let Some((id, count)) = self.standing(semaphore).first().copied()
                && count <= self.room(semaphore)
                && !self.semaphores[semaphore].paused
            {
                let peer = self.peers.get_mut(&id).unwrap();
                let ask = peer.ask.as_mut().unwrap();
                ask.reserved += 1;
                if ask.reserved == ask.locks.len() {
                    peer.held.append(&mut peer.ask.take().unwrap().locks);
                }
            }
        }
    }

    /// Pending asks by arrival: whose they are, and for what.
    fn asks(&self) -> BTreeMap<u64, (u64, Counts)> {
        let ask = |(id, peer): (&u64, &ModelPeer)| {
            peer.ask.as_ref().map(|ask| (ask.arrival, (*id, ask.locks.clone())))
        };
        self.peers.iter().filter_map(ask).collect()
    }

    /// Returns who expired.
    fn expire(&mut self, now: u64) -> Vec<u64> {
        self.now = now;
        let expired = self.peers.extract_if(.., |_, peer| peer.valid_until <= now);
        let expired = expired.map(|(id, _)| id).collect();
        self.settle();
        expired
    }

    /// What left the configuration is gone once nobody uses it, and with it what was set by hand.
    fn sweep(&mut self) {
        for ix in 0..SEMAPHORES.len() {
            let is_used = self.peers.values().any(|peer| peer.has(ix));
            if !self.semaphores[ix].offered && !is_used {
                self.semaphores[ix].exists = false;
            }
        }
    }

    /// Sets max, or pauses, or both.
    fn adjust(&mut self, semaphore: usize, max: i64, paused: bool) {
        let semaphore = &mut self.semaphores[semaphore];
        (semaphore.max, semaphore.paused) = (max, paused);
        self.withdraw_impossible();
        self.settle();
    }

    /// Another configuration. Returns who is added, changed, removed, and kept as it was set.
    fn configure(&mut self, maxes: Maxes) -> [Vec<usize>; 4] {
        let [mut added, mut changed, mut removed, mut kept] = [const { Vec::new() }; 4];
        for (ix, configured) in maxes.into_iter().enumerate() {
            let semaphore = &mut self.semaphores[ix];
            let before = *semaphore;
            semaphore.offered = configured.is_some();
            match configured {
                None if before.offered => removed.push(ix),
                None => {}
                Some(max) if !before.exists => {
                    *semaphore = ModelSemaphore::new(max);
                    added.push(ix);
                }
                Some(max) => {
                    semaphore.configured = max;
                    if before.max == before.configured {
                        semaphore.max = max;
                    } else if before.max != max {
                        kept.push(ix);
                    }
                    match before {
                        ModelSemaphore { offered: false, .. } => added.push(ix),
                        ModelSemaphore { configured, .. } if configured != max => changed.push(ix),
                        _ => {}
                    }
                }
            }
        }
        self.withdraw_impossible();
        self.settle();
        [added, changed, removed, kept]
    }

    /// Whoever asks for more than there ever is waits in vain.
    fn withdraw_impossible(&mut self) {
        for peer in self.peers.values_mut() {
            let is_impossible = |(ix, count): (&usize, &i64)| *count > self.semaphores[*ix].max;
            let ask = peer.ask.take_if(|ask| ask.locks.iter().any(is_impossible));
            ask.iter().flat_map(|ask| ask.locks.keys()).for_each(|ix| peer.part(*ix));
        }
    }

    /// Whether there are all of these.
    fn check_exist<'a>(
        &self,
        mut wanted: impl Iterator<Item = &'a usize>,
    ) -> Result<(), &'static str> {
        let exist = wanted.all(|ix| self.semaphores[*ix].exists);
        if exist { Ok(()) } else { Err("unknown semaphore") }
    }

    /// Whether somebody new may have them.
    fn check_are_offered(&self, wanted: &Counts) -> Result<(), &'static str> {
        let are_offered = wanted.keys().all(|ix| self.semaphores[*ix].offered);
        if are_offered { Ok(()) } else { Err("unknown semaphore") }
    }

    fn check_counts(&self, wanted: &Counts) -> Result<(), &'static str> {
        if wanted.iter().any(|(ix, count)| *count > self.semaphores[*ix].max) {
            return Err("count above max");
        }
        if wanted.values().any(|count| *count < 1) { Err("count below one") } else { Ok(()) }
    }

    fn check_may_enter(&self, id: u64) -> Result<(), &'static str> {
        if self.revoked.get(&id).is_some_and(|until| *until > self.now) {
            return Err("revoked");
        }
        if self.peers.len() >= MAX_PEERS { Err("too many peers") } else { Ok(()) }
    }

    /// Whether what is wanted is there already, held or pending; then nothing else is looked at.
    fn is_repeated(&self, id: u64, wanted: &Counts, is_whole: bool) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        let (ix, count) = wanted.first_key_value().unwrap();
        let within = |locks: &Counts| locks.get(ix).is_some_and(|has| (1..=*has).contains(count));
        if is_whole {
            return peer.holds(wanted) || peer.is_pending(wanted);
        }
        within(&peer.held) || peer.ask.as_ref().is_some_and(|ask| within(&ask.locks))
    }

    fn check_acquire(&self, id: u64, wanted: &Counts, whole: bool) -> Result<(), &'static str> {
        self.check_are_offered(wanted)?;
        self.check_counts(wanted)?;
        let peer = self.peers.get(&id).ok_or("unknown peer")?;
        if wanted.keys().any(|ix| peer.has(*ix)) {
            return Err(if whole { "partly locked" } else { "grow" });
        }
        let lowest = peer.held.keys().map(|ix| SEMAPHORES[*ix].2).min();
        if lowest.is_some_and(|lowest| wanted.keys().any(|ix| SEMAPHORES[*ix].2 >= lowest)) {
            return Err("level");
        }
        if peer.ask.is_some() { Err("already pending") } else { Ok(()) }
    }

    /// Returns whether the peer holds all of it afterwards. Whoever may not queue and would have to
    /// changes nothing: the whole world is put back.
    fn acquire(
        &mut self,
        id: u64,
        wanted: &Counts,
        whole: bool,
        may_queue: bool,
    ) -> Result<bool, &'static str> {
        self.check_exist(wanted.keys())?;
        if !self.is_repeated(id, wanted, whole) {
            self.check_acquire(id, wanted, whole)?;
            let before = self.clone();
            let is_granted = self.ask(id, wanted);
            if !is_granted && !may_queue {
                *self = before;
                return Err("would wait");
            }
            return Ok(is_granted);
        }
        let peer = self.peers.get_mut(&id).unwrap();
        let is_held = wanted.keys().all(|ix| peer.held.contains_key(ix));
        if !is_held && !may_queue {
            return Err("would wait");
        }
        let locks = if is_held { &mut peer.held } else { &mut peer.ask.as_mut().unwrap().locks };
        let shrunk = wanted.iter().find(|(ix, count)| locks[ix] != **count);
        let shrunk = shrunk.map(|(ix, _)| *ix);
        locks.extend(wanted);
        shrunk.into_iter().for_each(|ix| peer.part(ix));
        self.settle();
        Ok(self.peers[&id].ask.is_none() || is_held)
    }

    /// A new ask; returns whether it is granted at once.
    fn ask(&mut self, id: u64, wanted: &Counts) -> bool {
        let ask = ModelAsk { arrival: self.arrivals, locks: wanted.clone(), reserved: 0 };
        self.arrivals += 1;
        self.peers.get_mut(&id).unwrap().ask = Some(ask);
        self.settle();
        self.peers[&id].ask.is_none()
    }

    fn new_peer(
        &mut self,
        id: u64,
        wanted: &Counts,
        until: u64,
        may_queue: bool,
    ) -> Result<bool, &'static str> {
        self.check_exist(wanted.keys())?;
        if let Some(peer) = self.peers.get_mut(&id) {
            let is_held = peer.holds(wanted);
            if peer.origin.as_ref() != Some(wanted) || !(is_held || peer.is_pending(wanted)) {
                return Err("peer exists");
            }
            if !is_held && !may_queue {
                return Err("would wait");
            }
            peer.valid_until = until;
            return Ok(is_held);
        }
        self.check_are_offered(wanted)?;
        self.check_counts(wanted)?;
        self.check_may_enter(id)?;
        let before = self.clone();
        let peer = ModelPeer::new(until, Counts::new());
        self.peers.insert(id, ModelPeer { origin: Some(wanted.clone()), ..peer });
        let is_granted = wanted.is_empty() || self.ask(id, wanted);
        if !is_granted && !may_queue {
            *self = before;
            return Err("would wait");
        }
        Ok(is_granted)
    }

    fn release(&mut self, id: u64, semaphore: usize) -> Result<(), &'static str> {
        self.check_exist([semaphore].iter())?;
        let peer = self.peers.get_mut(&id).ok_or("unknown peer")?;
        if peer.has(semaphore) {
            peer.part(semaphore);
        }
        peer.held.remove(&semaphore);
        peer.ask.take_if(|ask| ask.locks.contains_key(&semaphore));
        self.settle();
        Ok(())
    }

    fn restore(
        &mut self,
        id: u64,
        held: &Counts,
        token: Option<u64>,
        until: u64,
    ) -> Result<(), &'static str> {
        self.check_exist(held.keys())?;
        if held.values().any(|count| *count < 1) {
            return Err("count below one");
        }
        let tokens: BTreeMap<_, _> =
            held.keys().filter_map(|semaphore| Some((*semaphore, token?))).collect();
        if tokens.values().any(|token| *token == 0) {
            return Err("bad token");
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            let is_same = tokens.iter().all(|(ix, token)| peer.tokens.get(ix) == Some(token));
            if peer.ask.is_some() || peer.held != *held || !is_same {
                return Err("restore conflict");
            }
            peer.valid_until = until;
            return Ok(());
        }
        self.check_are_offered(held)?;
        if tokens.values().any(|token| *token > TOKENS_ABOVE) {
            return Err("bad token");
        }
        self.check_may_enter(id)?;
        let peer = ModelPeer::new(until, held.clone());
        self.peers.insert(id, ModelPeer { tokens, ..peer });
        self.settle();
        Ok(())
    }

    fn revoke(&mut self, id: u64) -> bool {
        let Some(peer) = self.peers.remove(&id) else { return false };
        self.revoked.insert(id, peer.valid_until);
        self.settle();
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    NewPeer {
        id: u64,
        wanted: Counts,
        may_queue: bool,
        expires_in: u64,
    },
    Heartbeat {
        id: u64,
        expires_in: u64,
    },
    /// With `whole`, an ask for several that are granted together; else for a single lock.
    Acquire {
        id: u64,
        wanted: Counts,
        whole: bool,
        may_queue: bool,
        expires_in: Option<u64>,
    },
    Release {
        id: u64,
        semaphore: usize,
    },
    RemovePeer {
        id: u64,
    },
    Revoke {
        id: u64,
    },
    Restore {
        id: u64,
        held: Counts,
        token: Option<u64>,
        expires_in: u64,
    },
    Adjust {
        semaphore: usize,
        max: Option<i64>,
        paused: Option<bool>,
    },
    Reset {
        semaphore: usize,
    },
    Configure {
        maxes: Maxes,
    },
    /// Time passes, and nobody looks at the books until the next step.
    Wait {
        seconds: u64,
    },
    /// The litter collection looks.
    Collect,
    /// What was done so many steps ago is done again.
    Again {
        back: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 1..6_u64;
    let lease = || 1..30_u64;
    let semaphore = || 0..SEMAPHORES.len();
    let counts = |count, size| prop::collection::btree_map(0..SEMAPHORES.len(), count, size);
    let may_queue = || prop::bool::weighted(0.8);
    let acquire = |count, size, whole| {
        (id(), counts(count, size), may_queue(), prop::option::of(lease())).prop_map(
            move |(id, wanted, may_queue, expires_in)| {
                let whole = whole || wanted.len() > 1;
                Step::Acquire { id, wanted, whole, may_queue, expires_in }
            },
        )
    };
    let new_peer = |size| {
        (id(), counts(0..4_i64, size), may_queue(), lease()).prop_map(
            |(id, wanted, may_queue, expires_in)| Step::NewPeer {
                id,
                wanted,
                may_queue,
                expires_in,
            },
        )
    };
    let beat = (id(), lease()).prop_map(|(id, expires_in)| Step::Heartbeat { id, expires_in });
    let release = (id(), semaphore()).prop_map(|(id, semaphore)| Step::Release { id, semaphore });
    let token = prop::option::of(prop_oneof![1 => 0..1_u64, 9 => 1..TOKENS_ABOVE + 20]);
    let restore = (id(), counts(0..4_i64, 0..3), token, lease())
        .prop_map(|(id, held, token, expires_in)| Step::Restore { id, held, token, expires_in });
    let paused = prop::option::of(prop::bool::weighted(0.3));
    let adjust = (semaphore(), prop::option::of(0..7_i64), paused)
        .prop_map(|(semaphore, max, paused)| Step::Adjust { semaphore, max, paused });
    let configure = (prop::array::uniform4(0..7_i64), prop::array::uniform2(any::<bool>()))
        .prop_map(|(maxes, removed)| {
            let mut maxes = maxes.map(Some);
            for (ix, _) in REMOVABLE.into_iter().zip(removed).filter(|(_, is_removed)| *is_removed)
            {
                maxes[ix] = None;
            }
            Step::Configure { maxes }
        });
    prop_oneof![
        2 => new_peer(0..1),
        2 => new_peer(1..3),
        1 => beat,
        6 => acquire(0..6_i64, 1..2, false),
        6 => acquire(1..3_i64, 1..4, true),
        4 => release,
        2 => id().prop_map(|id| Step::RemovePeer { id }),
        1 => id().prop_map(|id| Step::Revoke { id }),
        2 => restore,
        2 => adjust,
        1 => semaphore().prop_map(|semaphore| Step::Reset { semaphore }),
        2 => configure,
        3 => (0..12_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Collect),
        8 => (1..6_usize).prop_map(|back| Step::Again { back }),
    ]
}

fn catalogue(maxes: &Maxes) -> Catalogue {
    let offered = SEMAPHORES.iter().zip(maxes);
    let config = offered.filter_map(|((name, _, level), max)| Some((*name, (*max)?, *level)));
    config.map(|(name, max, level)| (name.to_owned(), SemaphoreConfig { max, level })).collect()
}

/// Sorted.
fn names_of(semaphores: &[usize]) -> Vec<String> {
    let mut names: Vec<_> = semaphores.iter().map(|ix| SEMAPHORES[*ix].0.to_owned()).collect();
    names.sort();
    names
}

/// Those that are added, changed, removed, and kept as they were set, each sorted.
fn names_in(Changes { added, changed, removed, kept }: Changes) -> [Vec<String>; 4] {
    let kept = kept.into_iter().map(|kept| kept.semaphore).collect();
    [added, changed, removed, kept].map(|names| {
        let mut names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
        names.sort();
        names
    })
}

fn named(counts: &Counts) -> Vec<(&'static str, i64)> {
    counts.iter().map(|(ix, count)| (SEMAPHORES[*ix].0, *count)).collect()
}

fn reason(error: &Error) -> &'static str {
    match error {
        Error::UnknownPeer => "unknown peer",
        Error::CountBelowOne { .. } => "count below one",
        Error::CountAboveMax { .. } => "count above max",
        Error::LevelViolation { .. } => "level",
        Error::Grow { .. } => "grow",
        Error::PartlyLocked { .. } => "partly locked",
        Error::AlreadyPending { .. } => "already pending",
        Error::WouldWait { .. } => "would wait",
        Error::PeerExists { .. } => "peer exists",
        Error::Revoked { .. } => "revoked",
        Error::TooManyPeers { .. } => "too many peers",
        Error::LeaseTooLong { .. } => "lease too long",
        Error::BadToken { .. } => "bad token",
        Error::RestoreConflict => "restore conflict",
        Error::UnknownSemaphore => "unknown semaphore",
        Error::BadNames { .. }
        | Error::TokenWithoutLock { .. }
        | Error::TooManySemaphores { .. }
        | Error::RestoreOverflow { .. } => "other",
    }
}

fn is_acquired(standing: Status) -> bool {
    matches!(standing.progress, Progress::Acquired(_))
}

fn check_lease(expires_in: u64) -> Result<(), &'static str> {
    if expires_in > MAX_EXPIRES_IN { Err("lease too long") } else { Ok(()) }
}

/// Both worlds, one clock.
struct Pair {
    model: Model,
    leases: Leases,
    now: u64,
    /// The greatest token that was seen so far.
    latest_token: u64,
    ledger: Ledger,
}

impl Pair {
    /// With a recovery window of so many seconds.
    fn new(window: u64) -> Self {
        let rules = Rules {
            max_peers: MAX_PEERS,
            max_semaphores: SEMAPHORES.len(),
            max_expires_in: Some(Duration::from_secs(MAX_EXPIRES_IN)),
            grants_from: Timestamp::new(Duration::from_secs(window)),
            tokens_above: TOKENS_ABOVE,
        };
        Pair {
            model: Model { grants_from: window, ..Model::default() },
            leases: Leases::new(catalogue(&SEMAPHORES.map(|(_, max, _)| Some(max))), rules),
            now: 0,
            latest_token: TOKENS_ABOVE,
            ledger: Ledger::new(),
        }
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        if let Step::Wait { seconds } = step {
            self.now += seconds;
            return Ok(());
        }
        let now = Timestamp::new(Duration::from_secs(self.now));
        let asks_before = self.model.asks();
        let mut effects = Effects::new();
        let fx = &mut effects;
        let until = |expires_in| self.now + expires_in;
        let seconds = Duration::from_secs;
        let model = &mut self.model;
        model.sweep();
        let expired = model.expire(self.now);
        let asks_after_expiry: Vec<_> = model.asks().into_keys().collect();
        match step {
            Step::NewPeer { id, wanted, may_queue, expires_in } => {
                let acquire = &*named(wanted);
                let (lease, may_queue) = (seconds(*expires_in), *may_queue);
                let new = NewPeer { expires_in: lease, about: None, acquire, may_queue };
                let result = self.leases.new_peer(PeerId(*id), new, now, fx).map(is_acquired);
                let expected = check_lease(*expires_in)
                    .and_then(|()| model.new_peer(*id, wanted, until(*expires_in), may_queue));
                prop_assert_eq!(expected, result.map_err(|error| reason(&error)));
            }
            Step::Heartbeat { id, expires_in } => {
                let result = self.leases.heartbeat(PeerId(*id), seconds(*expires_in), now, fx);
                let peer = model.peers.get_mut(id).ok_or("unknown peer");
                let expected = check_lease(*expires_in).and(peer);
                let expected = expected.map(|peer| peer.valid_until = until(*expires_in));
                let result = result.map(|left| assert_eq!(seconds(*expires_in), left));
                prop_assert_eq!(expected, result.map_err(|error| reason(&error)));
            }
            Step::Acquire { id, wanted, whole, may_queue, expires_in } => {
                let wanted_by_name = named(wanted);
                let asking = match whole {
                    true => Asking::Together(&wanted_by_name),
                    false => Asking::Lock(wanted_by_name[0]),
                };
                let terms = Terms { expires_in: expires_in.map(seconds), may_queue: *may_queue };
                let result = self.leases.acquire(PeerId(*id), asking, terms, now, fx);
                let expected = expires_in
                    .map_or(Ok(()), check_lease)
                    .and_then(|()| model.acquire(*id, wanted, *whole, *may_queue));
                if let (Ok(_), Some(expires_in)) = (expected, *expires_in) {
                    model.peers.get_mut(id).unwrap().valid_until = until(expires_in);
                }
                let result = result.map(is_acquired);
                prop_assert_eq!(expected, result.map_err(|error| reason(&error)));
            }
            Step::Release { id, semaphore } => {
                let result = self.leases.release(PeerId(*id), SEMAPHORES[*semaphore].0, now, fx);
                let expected = model.release(*id, *semaphore);
                prop_assert_eq!(expected, result.map(drop).map_err(|error| reason(&error)));
            }
            Step::RemovePeer { id } => {
                let was_there = self.leases.remove_peer(PeerId(*id), now, fx);
                prop_assert_eq!(model.peers.remove(id).is_some(), was_there);
                model.settle();
            }
            Step::Revoke { id } => {
                prop_assert_eq!(
                    model.revoke(*id),
                    self.leases.revoke(PeerId(*id), now, fx).is_some()
                );
            }
            Step::Restore { id, held, token, expires_in } => {
                let tokens: Vec<_> = (named(held).into_iter())
                    .filter_map(|(name, _)| Some((name, (*token)?)))
                    .collect();
                let expected = check_lease(*expires_in)
                    .and_then(|()| model.restore(*id, held, *token, until(*expires_in)));
                let (acquired, tokens) = (&*named(held), &*tokens);
                let expires_in = seconds(*expires_in);
                let restored = Restored { acquired, tokens, about: None, expires_in };
                let result = self.leases.restore(PeerId(*id), restored, now, fx);
                prop_assert_eq!(expected, result.map(drop).map_err(|error| reason(&error)));
            }
            Step::Adjust { semaphore, max, paused } => {
                let adjustment = Adjustment { max: *max, paused: *paused };
                let result = self.leases.adjust(SEMAPHORES[*semaphore].0, adjustment, now, fx);
                let expected = model.check_exist([*semaphore].iter()).map(|()| {
                    let before = model.semaphores[*semaphore];
                    let (max, paused) =
                        (max.unwrap_or(before.max), paused.unwrap_or(before.paused));
                    model.adjust(*semaphore, max, paused);
                    (max, paused)
                });
                let result = result.map(|it| (it.max, it.is_paused));
                prop_assert_eq!(expected, result.map_err(|error| reason(&error)));
            }
            Step::Reset { semaphore } => {
                let result = self.leases.reset(SEMAPHORES[*semaphore].0, now, fx);
                let expected = model.check_exist([*semaphore].iter()).map(|()| {
                    let max = model.semaphores[*semaphore].configured;
                    model.adjust(*semaphore, max, false);
                    (max, false)
                });
                let result = result.map(|it| (it.max, it.is_paused));
                prop_assert_eq!(expected, result.map_err(|error| reason(&error)));
            }
            Step::Configure { maxes } => {
                let expected = model.configure(*maxes).map(|list| names_of(&list));
                let changes = self.leases.configure(catalogue(maxes), now, fx);
                prop_assert_eq!(expected, names_in(changes));
            }
            Step::Collect => {
                self.leases.expire(now, usize::MAX, fx);
            }
            Step::Wait { .. } | Step::Again { .. } => unreachable!("see above"),
        }
        self.compare_books()?;
        self.compare_tokens()?;
        self.compare_ledger(&effects)?;
        self.compare_effects(step, asks_before, &asks_after_expiry, &expired, &effects)
    }

    /// Whoever only reads the events knows who holds and who waits for what.
    fn compare_ledger(&mut self, effects: &Effects) -> Result<(), TestCaseError> {
        for Event { happening, peer, semaphore, count, .. } in &effects.events {
            let (held, pending) = self.ledger.entry((peer.0, semaphore.to_string())).or_default();
            match happening {
                Happening::Pending => *pending += count,
                Happening::Cancelled => *pending -= count,
                Happening::Released | Happening::Expired => *held -= count,
                Happening::Restored => *held += count,
                Happening::Granted => {
                    prop_assert!(*pending == 0 || pending == count, "granted as a whole");
                    *pending = 0;
                    *held += count;
                }
            }
        }
        self.ledger.retain(|_, counts| *counts != (0, 0));
        let mut expected = Ledger::new();
        for (id, peer) in &self.model.peers {
            for (ix, count) in &peer.held {
                expected.entry((*id, SEMAPHORES[*ix].0.to_owned())).or_default().0 += count;
            }
            for (ix, count) in peer.ask.iter().flat_map(|ask| &ask.locks) {
                expected.entry((*id, SEMAPHORES[*ix].0.to_owned())).or_default().1 += count;
            }
        }
        prop_assert_eq!(&expected, &self.ledger);
        Ok(())
    }

    fn compare_books(&self) -> Result<(), TestCaseError> {
        invariants::check(&self.leases);
        let now = Timestamp::new(Duration::from_secs(self.now));
        let mut actual = BTreeMap::new();
        for peer in self.leases.peers(Page::ALL, now) {
            let sorted = |mut locks: Vec<(std::sync::Arc<str>, i64)>| {
                locks.sort();
                locks.into_iter().map(|(name, count)| (name.to_string(), count)).collect::<Vec<_>>()
            };
            actual.insert(
                peer.id.0,
                (peer.expires_in.as_secs(), sorted(peer.acquired), sorted(peer.pending)),
            );
        }
        let sorted = |counts: &Counts| {
            let mut locks: Vec<_> =
                named(counts).into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
            locks.sort();
            locks
        };
        let expected: BTreeMap<_, _> = (self.model.peers.iter())
            .map(|(id, peer)| {
                let pending = peer.ask.as_ref().map(|ask| sorted(&ask.locks)).unwrap_or_default();
                (*id, (peer.valid_until - self.now, sorted(&peer.held), pending))
            })
            .collect();
        prop_assert_eq!(expected, actual);
        for (ix, (name, ..)) in SEMAPHORES.iter().enumerate() {
            let expected = self.model.semaphores[ix];
            let snapshot = self.leases.semaphores(now).find(|it| *it.name == **name);
            prop_assert_eq!(expected.exists, snapshot.is_some());
            let Some(snapshot) = snapshot else { continue };
            prop_assert_eq!(self.model.acquired(ix), snapshot.acquired);
            prop_assert_eq!(expected.offered, snapshot.source == Source::File);
            prop_assert_eq!((expected.max, expected.paused), (snapshot.max, snapshot.is_paused));
        }
        Ok(())
    }

    /// A lock keeps the token that it has; a new one has a greater token than all before it, and
    /// shares it with what was granted together with it, and with nothing else.
    fn compare_tokens(&mut self) -> Result<(), TestCaseError> {
        let now = Timestamp::new(Duration::from_secs(self.now));
        let mut granted: BTreeMap<u64, u64> = BTreeMap::new();
        for snapshot in self.leases.peers(Page::ALL, now) {
            let id = snapshot.id.0;
            let peer = self.model.peers.get_mut(&id).unwrap();
            let index = |name: &str| SEMAPHORES.iter().position(|it| it.0 == name).unwrap();
            let actual: BTreeMap<usize, u64> =
                snapshot.tokens.iter().map(|(name, token)| (index(name), token.number())).collect();
            peer.tokens.retain(|semaphore, _| peer.held.contains_key(semaphore));
            for (semaphore, token) in &actual {
                if peer.tokens.get(semaphore).is_some_and(|before| before == token) {
                    continue;
                }
                prop_assert!(*token > self.latest_token, "a grant has a new token");
                prop_assert_eq!(id, *granted.entry(*token).or_insert(id), "one token an ask");
            }
            for semaphore in peer.tokens.keys() {
                prop_assert!(actual.contains_key(semaphore), "a lock keeps its token");
            }
            peer.tokens = actual;
        }
        self.latest_token = granted.keys().next_back().copied().unwrap_or(self.latest_token);
        Ok(())
    }

    /// Whoever was pending before and is not now, or is for less now, was told so, and why.
    fn compare_effects(
        &self,
        step: &Step,
        before: BTreeMap<u64, (u64, Counts)>,
        after_expiry: &[u64],
        expired: &[u64],
        effects: &Effects,
    ) -> Result<(), TestCaseError> {
        let after = self.model.asks();
        for (arrival, (id, locks)) in before {
            let told: Vec<_> = (effects.ends.iter())
                .filter_map(|effect| match effect {
                    Effect::Acquired { ask, .. } if ask.0 == arrival => Some("acquired"),
                    Effect::Withdrawn(ask) if ask.0 == arrival => Some("withdrawn"),
                    Effect::PeerGone(ask) if ask.0 == arrival => Some("peer gone"),
                    _ => None,
                })
                .collect();
            let is_held = |peer: &ModelPeer| {
                peer.ask.is_none() && locks.keys().all(|ix| peer.held.contains_key(ix))
            };
            let shrank = matches!(step, Step::Acquire { id: asker, wanted, .. } if *asker == id
                && wanted.iter().any(|(ix, count)| locks.get(ix).is_some_and(|old| old > count)));
            let expected: &[&str] = match (after.get(&arrival), self.model.peers.get(&id)) {
                (Some((_, same)), _) if *same == locks => &[],
                (Some(_), _) => &["withdrawn"],
                _ if expired.contains(&id) => &["peer gone"],
                // Granted what others left, whatever the step did afterwards.
                _ if !after_expiry.contains(&arrival) => &["acquired"],
                (None, None) => &["peer gone"],
                (None, Some(peer)) if is_held(peer) && shrank => &["withdrawn", "acquired"],
                (None, Some(peer)) if is_held(peer) => &["acquired"],
                (None, Some(_)) => &["withdrawn"],
            };
            prop_assert_eq!(expected, &*told);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn books_equal_those_of_the_naive_model(
        window in prop_oneof![3 => Just(0_u64), 1 => 1..40_u64],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut pair = Pair::new(window);
        for (number, step) in steps.iter().enumerate() {
            let (mut number, mut step) = (number, step);
            while let Step::Again { back } = step
                && let Some(earlier) = number.checked_sub(*back)
            {
                (number, step) = (earlier, &steps[earlier]);
            }
            if !matches!(step, Step::Again { .. }) {
                pair.run(step)?;
            }
        }
    }
}

#[test]
fn semaphores_of_the_model_stand_in_walking_order() {
    let mut sorted = SEMAPHORES;

    sorted.sort_by_key(|(name, _, level)| (Reverse(*level), *name));

    assert_eq!(sorted, SEMAPHORES);
}
