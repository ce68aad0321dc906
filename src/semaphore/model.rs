//! A naive model of the pure room, and a property test that holds the two against each other. The
//! fuzz target `operations` does so as well, by way of the feature `model`.
//!
//! The model has no counters, no queues and no index: it keeps plain lists and recounts everything
//! after each step. It is slow, and plain enough to be believed. The simulation in
//! `tests/simulation/` uses it, too.
#![allow(clippy::unwrap_used, reason = "this is a test, of whichever crate")]

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{
    Adjustment, Asking, Catalogue, Changes, Effect, Effects, Error, Event, Happening, Leases,
    NewPeer, Page, PeerId, Progress, Restored, Rules, SemaphoreConfig, Source, Status, Terms,
    Timestamp, invariants,
};

mod books;

pub use self::books::{Counts, Maxes, SEMAPHORES};
use self::books::{Limits, Model, ModelPeer, reason};

/// Those that may leave the configuration. When they come back, they may lie elsewhere in the
/// books, which matters to the walking order only among semaphores of one level.
pub const REMOVABLE: [usize; 2] = [0, 3];

/// Few enough for the limits to be met now and then.
const MAX_PEERS: usize = 4;
const MAX_EXPIRES_IN: u64 = 27;

/// Tokens of an earlier start are at most this.
const TOKENS_ABOVE: u64 = 100;

/// What each peer holds and waits for of each semaphore, as the events have it.
type Ledger = BTreeMap<(u64, String), (i64, i64)>;

/// What is done to both. Leases and waits are in whole seconds, the former at least one.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are called as the arguments of `Leases` are")]
pub enum Step {
    /// A peer comes, perhaps with an ask.
    NewPeer { id: u64, wanted: Counts, may_queue: bool, expires_in: u64 },
    /// A lease is renewed.
    Heartbeat { id: u64, expires_in: u64 },
    /// A peer asks: with `whole`, for several that are granted together; else for a single lock.
    Acquire { id: u64, wanted: Counts, whole: bool, may_queue: bool, expires_in: Option<u64> },
    /// A lock goes.
    Release { id: u64, semaphore: usize },
    /// A peer goes.
    RemovePeer { id: u64 },
    /// A peer must go.
    Revoke { id: u64 },
    /// A peer comes back.
    Restore { id: u64, held: Counts, token: Option<u64>, expires_in: u64 },
    /// A semaphore is set by hand.
    Adjust { semaphore: usize, max: Option<i64>, paused: Option<bool> },
    /// What was set by hand is undone.
    Reset { semaphore: usize },
    /// The configuration changes: those without a max leave it.
    Configure { maxes: Maxes },
    /// Time passes, and nobody looks at the books until the next step.
    Wait { seconds: u64 },
    /// The litter collection looks.
    Collect,
    /// What was done so many steps ago, at least one, is done again.
    Again { back: usize },
}

#[cfg(test)]
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
            model: Model::new(Limits {
                max_peers: MAX_PEERS,
                tokens_above: TOKENS_ABOVE,
                grants_from: window,
            }),
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
                let tokens: BTreeMap<_, _> =
                    held.keys().filter_map(|ix| Some((*ix, (*token)?))).collect();
                let expected = check_lease(*expires_in)
                    .and_then(|()| model.restore(*id, held, &tokens, until(*expires_in)));
                let tokens: Vec<_> =
                    tokens.into_iter().map(|(ix, token)| (SEMAPHORES[ix].0, token)).collect();
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

/// Does all of it to the books and to the model, which must agree after each step. At first,
/// nothing is granted for `window` seconds.
///
/// # Errors
/// Where they differ.
pub fn play(window: u64, steps: &[Step]) -> Result<(), TestCaseError> {
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
    Ok(())
}

#[cfg(test)]
proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn books_equal_those_of_the_naive_model(
        window in prop_oneof![3 => Just(0_u64), 1 => 1..40_u64],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        play(window, &steps)?;
    }
}

#[test]
fn semaphores_of_the_model_stand_in_walking_order() {
    let mut sorted = SEMAPHORES;

    sorted.sort_by_key(|(name, _, level)| (std::cmp::Reverse(*level), *name));

    assert_eq!(sorted, SEMAPHORES);
}
