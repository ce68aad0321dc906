//! A naive model of the pure room, and a property test that holds the two against each other.
//!
//! The model has no counters, no queues and no index: it keeps plain lists and recounts everything
//! after each step. It is slow, and plain enough to be believed.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{
    Effect, Effects, Error, Leases, PeerId, Progress, SemaphoreConfig, Timestamp, invariants,
};

/// Name, max and level of each semaphore, in walking order.
const SEMAPHORES: [(&str, i64, i32); 4] = [("D", 2, 7), ("B", 3, 1), ("C", 1, 1), ("A", 5, 0)];

type Counts = BTreeMap<usize, i64>;

#[derive(Debug)]
struct ModelPeer {
    valid_until: u64,
    held: Counts,
    ask: Option<ModelAsk>,
}

#[derive(Debug)]
struct ModelAsk {
    arrival: u64,
    /// By index into `SEMAPHORES`, hence in walking order.
    locks: Counts,
    reserved: usize,
}

#[derive(Debug, Default)]
struct Model {
    peers: BTreeMap<u64, ModelPeer>,
    arrivals: u64,
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
        SEMAPHORES[semaphore].1 - self.acquired(semaphore) - self.reserved(semaphore)
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
            while self.room(semaphore) < 0 {
                let reserving = self.peers.values_mut().filter_map(|peer| peer.ask.as_mut());
                let latest = reserving
                    .filter(|ask| ask.locks.keys().take(ask.reserved).any(|ix| *ix == semaphore))
                    .max_by_key(|ask| ask.arrival);
                let Some(ask) = latest else { break };
                ask.reserved = ask.locks.keys().position(|ix| *ix == semaphore).unwrap();
            }
        }
        for semaphore in 0..SEMAPHORES.len() {
            while let Some((id, count)) = self.standing(semaphore).first().copied()
                && count <= self.room(semaphore)
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

    fn expire(&mut self, now: u64) {
        self.peers.retain(|_, peer| peer.valid_until > now);
        self.settle();
    }

    fn check_acquire(&self, id: u64, wanted: &Counts) -> Result<(), &'static str> {
        let single = wanted.len() == 1;
        let peer = self.peers.get(&id);
        if let Some(peer) = peer {
            let pending = peer.ask.as_ref().map(|ask| &ask.locks);
            let within = |locks: &Counts| match wanted.first_key_value() {
                Some((ix, count)) if single => {
                    (1..=locks.get(ix).copied().unwrap_or(0)).contains(count)
                }
                _ => wanted.iter().all(|(ix, count)| locks.get(ix) == Some(count)),
            };
            let is_repeated =
                pending.is_some_and(|locks| within(locks) && (single || locks == wanted));
            if within(&peer.held) || is_repeated {
                return Ok(());
            }
        }
        for (ix, count) in wanted {
            if *count > SEMAPHORES[*ix].1 {
                return Err("count above max");
            }
            if *count < 1 {
                return Err("count below one");
            }
        }
        let peer = peer.ok_or("unknown peer")?;
        let in_ask = |ix| peer.ask.as_ref().is_some_and(|ask| ask.locks.contains_key(ix));
        if wanted.keys().any(|ix| peer.held.contains_key(ix) || in_ask(ix)) {
            return Err(if single { "grow" } else { "partly locked" });
        }
        let lowest = peer.held.keys().map(|ix| SEMAPHORES[*ix].2).min();
        if lowest.is_some_and(|lowest| wanted.keys().any(|ix| SEMAPHORES[*ix].2 >= lowest)) {
            return Err("level");
        }
        if peer.ask.is_some() { Err("already pending") } else { Ok(()) }
    }

    /// Returns whether the peer holds all of it afterwards.
    fn acquire(&mut self, id: u64, wanted: &Counts) -> Result<bool, &'static str> {
        self.check_acquire(id, wanted)?;
        let peer = self.peers.get_mut(&id).unwrap();
        let is_held = wanted.keys().all(|ix| peer.held.contains_key(ix));
        match &mut peer.ask {
            _ if is_held => peer.held.extend(wanted),
            Some(ask) => ask.locks.extend(wanted),
            None => {
                let arrival = self.arrivals;
                self.arrivals += 1;
                peer.ask = Some(ModelAsk { arrival, locks: wanted.clone(), reserved: 0 });
            }
        }
        self.settle();
        Ok(self.peers[&id].ask.is_none() || is_held)
    }

    fn release(&mut self, id: u64, semaphore: usize) -> Result<(), &'static str> {
        let peer = self.peers.get_mut(&id).ok_or("unknown peer")?;
        peer.held.remove(&semaphore);
        peer.ask.take_if(|ask| ask.locks.contains_key(&semaphore));
        self.settle();
        Ok(())
    }

    fn restore(&mut self, id: u64, held: &Counts, until: u64) -> Result<(), &'static str> {
        if held.values().any(|count| *count < 1) {
            return Err("count below one");
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            if peer.ask.is_some() || peer.held != *held {
                return Err("restore conflict");
            }
            peer.valid_until = until;
            return Ok(());
        }
        self.peers.insert(id, ModelPeer { valid_until: until, held: held.clone(), ask: None });
        self.settle();
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    NewPeer {
        id: u64,
        expires_in: u64,
    },
    Heartbeat {
        id: u64,
        expires_in: u64,
    },
    Acquire {
        id: u64,
        wanted: Counts,
        expires_in: Option<u64>,
    },
    Release {
        id: u64,
        semaphore: usize,
    },
    RemovePeer {
        id: u64,
    },
    Restore {
        id: u64,
        held: Counts,
        expires_in: u64,
    },
    /// Time passes, and nobody looks at the books until the next step.
    Wait {
        seconds: u64,
    },
    /// The litter collection looks.
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 1..8_u64;
    let lease = || 1..30_u64;
    let semaphore = || 0..SEMAPHORES.len();
    let counts = |count, size| prop::collection::btree_map(0..SEMAPHORES.len(), count, size);
    let acquire = |count, size| {
        (id(), counts(count, size), prop::option::of(lease()))
            .prop_map(|(id, wanted, expires_in)| Step::Acquire { id, wanted, expires_in })
    };
    let new_peer = (id(), lease()).prop_map(|(id, expires_in)| Step::NewPeer { id, expires_in });
    let beat = (id(), lease()).prop_map(|(id, expires_in)| Step::Heartbeat { id, expires_in });
    let release = (id(), semaphore()).prop_map(|(id, semaphore)| Step::Release { id, semaphore });
    let restore = (id(), counts(0..4_i64, 0..3), lease())
        .prop_map(|(id, held, expires_in)| Step::Restore { id, held, expires_in });
    prop_oneof![
        3 => new_peer,
        1 => beat,
        6 => acquire(0..6_i64, 1..2),
        6 => acquire(1..3_i64, 2..4),
        4 => release,
        2 => id().prop_map(|id| Step::RemovePeer { id }),
        1 => restore,
        3 => (0..12_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Collect),
    ]
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
        Error::RestoreConflict => "restore conflict",
        Error::BadNames { .. } | Error::UnknownSemaphore | Error::RestoreOverflow { .. } => "other",
    }
}

/// Both worlds, one clock.
struct Pair {
    model: Model,
    leases: Leases,
    now: u64,
}

impl Pair {
    fn new() -> Self {
        let config =
            |(name, max, level): (&str, _, _)| (name.to_owned(), SemaphoreConfig { max, level });
        Pair { model: Model::default(), leases: Leases::new(SEMAPHORES.map(config)), now: 0 }
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
        model.expire(self.now);
        let asks_after_expiry: Vec<_> = model.asks().into_keys().collect();
        match step {
            Step::NewPeer { id, expires_in } => {
                let is_new = self.leases.new_peer(PeerId(*id), seconds(*expires_in), now, fx);
                prop_assert_eq!(!model.peers.contains_key(id), is_new);
                let valid_until = until(*expires_in);
                let new = ModelPeer { valid_until, held: Counts::new(), ask: None };
                model.peers.entry(*id).or_insert(new);
            }
            Step::Heartbeat { id, expires_in } => {
                let result = self.leases.heartbeat(PeerId(*id), seconds(*expires_in), now, fx);
                let expected = model.peers.get_mut(id).ok_or("unknown peer");
                let expected = expected.map(|peer| peer.valid_until = until(*expires_in));
                prop_assert_eq!(expected, result.map_err(|error| reason(&error)));
            }
            Step::Acquire { id, wanted, expires_in } => {
                let lease = expires_in.map(seconds);
                let result = self.leases.acquire(PeerId(*id), &named(wanted), lease, now, fx);
                let expected = model.acquire(*id, wanted);
                if let (Ok(_), Some(expires_in)) = (expected, *expires_in) {
                    model.peers.get_mut(id).unwrap().valid_until = until(expires_in);
                }
                let result = result.map(|progress| progress == Progress::Acquired);
                prop_assert_eq!(expected, result.map_err(|error| reason(&error)));
            }
            Step::Release { id, semaphore } => {
                let result = self.leases.release(PeerId(*id), SEMAPHORES[*semaphore].0, now, fx);
                let expected = model.release(*id, *semaphore);
                prop_assert_eq!(expected, result.map_err(|error| reason(&error)));
            }
            Step::RemovePeer { id } => {
                let was_there = self.leases.remove_peer(PeerId(*id), now, fx);
                prop_assert_eq!(model.peers.remove(id).is_some(), was_there);
                model.settle();
            }
            Step::Restore { id, held, expires_in } => {
                let expected = model.restore(*id, held, until(*expires_in));
                let result =
                    self.leases.restore(PeerId(*id), &named(held), seconds(*expires_in), now, fx);
                prop_assert_eq!(expected, result.map_err(|error| reason(&error)));
            }
            Step::Collect => {
                self.leases.expire(now, usize::MAX, fx);
            }
            Step::Wait { .. } => unreachable!("see above"),
        }
        self.compare_books()?;
        self.compare_effects(step, asks_before, &asks_after_expiry, &effects)
    }

    fn compare_books(&self) -> Result<(), TestCaseError> {
        invariants::check(&self.leases);
        let now = Timestamp::new(Duration::from_secs(self.now));
        let mut actual = BTreeMap::new();
        for peer in self.leases.peers(now) {
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
            let snapshot = self.leases.semaphores(now).find(|it| *it.name == **name).unwrap();
            prop_assert_eq!(self.model.acquired(ix), snapshot.acquired);
        }
        Ok(())
    }

    /// Whoever was pending before and is not now, or is for less now, was told so, and why.
    fn compare_effects(
        &self,
        step: &Step,
        before: BTreeMap<u64, (u64, Counts)>,
        after_expiry: &[u64],
        effects: &Effects,
    ) -> Result<(), TestCaseError> {
        let after = self.model.asks();
        for (arrival, (id, locks)) in before {
            let told: Vec<_> = (effects.iter())
                .filter_map(|effect| match effect {
                    Effect::Acquired(ask) if ask.0 == arrival => Some("acquired"),
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
            let is_expired = effects
                .iter()
                .any(|effect| matches!(effect, Effect::Expired { peer, .. } if peer.0 == id));
            let expected: &[&str] = match (after.get(&arrival), self.model.peers.get(&id)) {
                (Some((_, same)), _) if *same == locks => &[],
                (Some(_), _) => &["withdrawn"],
                _ if is_expired => &["peer gone"],
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
    fn books_equal_those_of_the_naive_model(steps in prop::collection::vec(step(), 1..80)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step)?;
        }
    }
}

#[test]
fn semaphores_of_the_model_stand_in_walking_order() {
    let mut sorted = SEMAPHORES;

    sorted.sort_by_key(|(name, _, level)| (Reverse(*level), *name));

    assert_eq!(sorted, SEMAPHORES);
}
