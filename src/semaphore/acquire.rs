//! Asking for locks and giving them back: what is refused, what is a repetition, what is new.
//!
//! Whether an ask is *granted* is not decided here, but in `permits`.

use std::time::Duration;

use super::{
    About, Arrival, Effect, Effects, Error, Event, Happening, Held, Leases, Lock, Locks, PeerId,
    SemaphoreIx, Timestamp, Token, Wanted,
    leases::SLICE,
    peers::{Origin, Peer},
    units::{AskIx, PeerIx},
};

/// How far a peer has come with what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<P = Arrival> {
    /// It holds all of it. The token is that of the grant; there is none where the locks were
    /// granted by different asks, or restored without it.
    Acquired(Option<Token>),
    /// It waits. The arrival of the ask names it in the [`Effect`] that ends this.
    Pending(P),
}

/// What a peer asks for.
#[derive(Clone, Copy, Debug)]
pub enum Asking<'a> {
    /// One lock, whatever ask it is or was part of. With a smaller count than it has, it shrinks.
    Lock(Wanted<'a>),
    /// Locks that are granted together, at least one. A repetition names all of them.
    Together(&'a [Wanted<'a>]),
}

/// On which terms a peer asks.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Renews the lease.
    pub expires_in: Option<Duration>,
    /// Whether it would wait. If not, it is granted at once or refused.
    pub may_queue: bool,
}

/// How a peer stands after it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// How far it has come.
    pub progress: Progress,
    /// What is left of its lease.
    pub expires_in: Duration,
}

/// A peer that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewPeer<'a> {
    /// The length of its lease.
    pub expires_in: Duration,
    /// What people call it.
    pub about: Option<&'a About>,
    /// What it asks for, if anything.
    pub acquire: &'a [Wanted<'a>],
    /// Whether it would wait for that.
    pub may_queue: bool,
}

impl Leases {
    /// Makes a peer, and lets it ask for locks that are granted together. Safe to repeat: where the
    /// peer was made by the same ask, and all of that is held or all of it pending, its lease is
    /// renewed and its progress returned.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::LeaseTooLong`],
    /// [`Error::UnknownSemaphore`], [`Error::TooManySemaphores`], [`Error::BadNames`],
    /// [`Error::PeerExists`], [`Error::CountAboveMax`], [`Error::CountBelowOne`],
    /// [`Error::Revoked`], [`Error::TooManyPeers`], [`Error::WouldWait`].
    pub fn new_peer(
        &mut self,
        id: PeerId,
        new: NewPeer<'_>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Status, Error> {
        let NewPeer { expires_in, about, acquire, may_queue } = new;
        self.expire(now, SLICE, effects);
        self.rules.check_lease(expires_in)?;
        let locks = self.resolve(acquire)?;
        if let Some(peer) = self.find(id, now, effects) {
            let progress = self.repeat_origin(peer, &locks).ok_or(Error::PeerExists { id })?;
            self.check_may_wait(peer, progress, may_queue)?;
            self.peers.renew(peer, expires_in, now);
            return Ok(self.status(peer, progress, now));
        }
        self.check_are_offered(&locks)?;
        self.check_counts(&locks)?;
        self.check_may_enter(id, now)?;
        self.check_is_free(&locks, may_queue)?;
        let origin = Origin::of(locks.len());
        let peer = self.peers.insert(id, about.cloned(), origin, now.after(expires_in));
        let progress = match locks.is_empty() {
            true => Progress::Acquired(None),
            false => self.ask(peer, locks, now, effects),
        };
        Ok(self.status(peer, progress, now))
    }

    /// Asks for one lock, or for several that are granted together. Safe to repeat: what the peer
    /// has already, pending or acquired, is left as it is, and its progress returned. A refusal
    /// changes nothing; the lease is not renewed either.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::LeaseTooLong`],
    /// [`Error::UnknownSemaphore`], [`Error::TooManySemaphores`], [`Error::BadNames`],
    /// [`Error::CountAboveMax`], [`Error::CountBelowOne`], [`Error::UnknownPeer`],
    /// [`Error::Grow`] or [`Error::PartlyLocked`], [`Error::LevelViolation`],
    /// [`Error::AlreadyPending`], [`Error::WouldWait`].
    pub fn acquire(
        &mut self,
        id: PeerId,
        asking: Asking<'_>,
        terms: Terms,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Status, Error> {
        self.expire(now, SLICE, effects);
        terms.expires_in.map_or(Ok(()), |expires_in| self.rules.check_lease(expires_in))?;
        let (locks, is_single) = match &asking {
            Asking::Lock(wanted) => (self.resolve(std::slice::from_ref(wanted))?, true),
            Asking::Together([]) => return Err(Error::BadNames { found: "none".to_owned() }),
            Asking::Together(wanted) => (self.resolve(wanted)?, false),
        };
        let peer = self.find(id, now, effects);
        let repeated = match (peer, is_single) {
            (Some(peer), true) => {
                self.repeat_lock(peer, locks[0], terms.may_queue, now, effects)?
            }
            (Some(peer), false) => self.repeat_ask(peer, &locks),
            (None, _) => None,
        };
        let (peer, progress) = match (peer, repeated) {
            (Some(peer), Some(progress)) => {
                self.check_may_wait(peer, progress, terms.may_queue)?;
                (peer, progress)
            }
            _ => {
                self.check_are_offered(&locks)?;
                self.check_counts(&locks)?;
                let peer = peer.ok_or(Error::UnknownPeer)?;
                self.check_may_ask(peer, &locks, is_single)?;
                self.check_is_free(&locks, terms.may_queue)?;
                (peer, self.ask(peer, locks, now, effects))
            }
        };
        if let Some(expires_in) = terms.expires_in {
            self.peers.renew(peer, expires_in, now);
        }
        Ok(self.status(peer, progress, now))
    }

    /// Gives back one lock, or cancels it where it is pending; with it goes the whole ask that it
    /// is part of. Nothing happens where there is no such lock. Returns what is left of the lease.
    ///
    /// # Errors
    /// [`Error::UnknownSemaphore`], [`Error::UnknownPeer`].
    pub fn release(
        &mut self,
        id: PeerId,
        semaphore: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Duration, Error> {
        self.expire(now, SLICE, effects);
        let semaphore = self.index_of(semaphore)?;
        let peer = self.find(id, now, effects).ok_or(Error::UnknownPeer)?;
        if let Some(position) = self.position_of(semaphore, &self.peers[peer].held) {
            let held = self.peers[peer].held.remove(position);
            self.peers[peer].origin.lose(position);
            self.free(held, Happening::Released, self.peers.who(peer), now, effects);
        } else if let Some((ask, _)) = self.pending_part(peer, semaphore) {
            self.lose_pending(peer);
            self.peers[peer].pending = None;
            let ask = self.permits.withdraw(ask);
            effects.push(Effect::Withdrawn(ask.arrival));
            self.cancel(ask, self.peers.who(peer), now, effects);
        }
        self.settle_grants(now, effects);
        Ok(self.peers[peer].expires_in(now))
    }

    /// Answers the ask that made the peer, if it is the same, and all held or all pending.
    fn repeat_origin(&self, peer: PeerIx, locks: &Locks) -> Option<Progress> {
        let peer = &self.peers[peer];
        let count = peer.origin.len().filter(|count| *count == locks.len())?;
        match (peer.held.get(..count), peer.pending) {
            (Some(held), _) => {
                let is_same = held.iter().map(Held::lock).eq(locks.iter().copied());
                is_same.then(|| Progress::Acquired(common_token(held.iter())))
            }
            (None, pending) => self.repeat_pending(pending?, locks),
        }
    }

    /// Answers an ask that the peer made before: exactly that one, or locks all of which it holds.
    /// `None` where it is something else.
    fn repeat_ask(&self, peer: PeerIx, locks: &Locks) -> Option<Progress> {
        let Peer { held, pending, .. } = &self.peers[peer];
        let held_as = |lock: &Lock| {
            let position = self.position_of(lock.semaphore, held)?;
            (held[position].lock() == *lock).then(|| &held[position])
        };
        if let Some(held) = locks.iter().map(held_as).collect::<Option<Vec<_>>>() {
            return Some(Progress::Acquired(common_token(held.into_iter())));
        }
        self.repeat_pending((*pending)?, locks)
    }

    fn repeat_pending(&self, ask: AskIx, locks: &Locks) -> Option<Progress> {
        let ask = &self.permits[ask];
        (ask.locks == *locks).then_some(Progress::Pending(ask.arrival))
    }

    /// Answers an ask for one lock that the peer has with the same or a larger count, and shrinks
    /// it in the latter case. `None` where it is something else.
    fn repeat_lock(
        &mut self,
        peer: PeerIx,
        lock: Lock,
        may_queue: bool,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Option<Progress>, Error> {
        let Lock { semaphore, count } = lock;
        let is_repeated = |existing: i64| 1 <= count && count <= existing;
        if let Some(position) = self.position_of(semaphore, &self.peers[peer].held) {
            let Peer { held, origin, .. } = &mut self.peers[peer];
            let held = &mut held[position];
            if !is_repeated(held.count) {
                return Ok(None);
            }
            let Held { token, since, .. } = *held;
            let freed = held.count - count;
            held.count = count;
            if freed > 0 {
                origin.lose(position);
                self.permits.release(semaphore, freed);
                let freed = Lock { semaphore, count: freed };
                let event = || self.event(Happening::Released, peer, freed, now.since(since));
                effects.tell(|| Event { token, ..event() });
                self.settle_grants(now, effects);
            }
            return Ok(Some(Progress::Acquired(token)));
        }
        let Some((ix, position)) = self.pending_part(peer, semaphore) else { return Ok(None) };
        let ask = &self.permits[ix];
        let (arrival, since, existing) = (ask.arrival, ask.since, ask.locks[position].count);
        if !is_repeated(existing) {
            return Ok(None);
        }
        if !may_queue {
            return Err(self.would_wait(lock));
        }
        if count < existing {
            // Those who wait for the larger lock must not take the smaller one for it.
            effects.push(Effect::Withdrawn(arrival));
            self.lose_pending(peer);
            self.permits.shrink(ix, position, count);
            let less = Lock { semaphore, count: existing - count };
            effects.tell(|| self.event(Happening::Cancelled, peer, less, now.since(since)));
            self.settle_grants(now, effects);
        }
        let Peer { held, pending, .. } = &self.peers[peer];
        Ok(Some(match pending {
            Some(_) => Progress::Pending(arrival),
            None => Progress::Acquired(held.last().and_then(|held| held.token)),
        }))
    }

    /// The ask in which the peer waits for this semaphore, and where the lock stands in it.
    fn pending_part(&self, peer: PeerIx, semaphore: SemaphoreIx) -> Option<(AskIx, usize)> {
        let ask = self.peers[peer].pending?;
        Some((ask, self.position_of(semaphore, &self.permits[ask].locks)?))
    }

    /// Notes that the pending ask is not any more what it was.
    pub(super) fn lose_pending(&mut self, peer: PeerIx) {
        let Peer { held, origin, .. } = &mut self.peers[peer];
        origin.lose(held.len());
    }

    fn check_counts(&self, locks: &Locks) -> Result<(), Error> {
        for lock in locks {
            let max = self.permits[lock.semaphore].max;
            if lock.count > max {
                return Err(Error::CountAboveMax { count: lock.count, max });
            }
        }
        match locks.iter().find(|lock| lock.count < 1) {
            Some(lock) => Err(Error::CountBelowOne { found: lock.count }),
            None => Ok(()),
        }
    }

    /// Whether the peer may make a new ask for these locks.
    fn check_may_ask(&self, peer: PeerIx, locks: &Locks, is_single: bool) -> Result<(), Error> {
        let Peer { held, pending, .. } = &self.peers[peer];
        let pending = pending.map(|ask| &self.permits[ask].locks);
        for lock in locks {
            let position = |locks: &Locks| self.position_of(lock.semaphore, locks);
            let existing = match self.position_of(lock.semaphore, held) {
                Some(position) => held[position].lock(),
                None => match pending.and_then(|locks| Some(locks[position(locks)?])) {
                    Some(lock) => lock,
                    None => continue,
                },
            };
            let semaphore = self.name_of(lock.semaphore);
            return Err(match is_single {
                true => Error::Grow { semaphore, count: lock.count, existing: existing.count },
                false => Error::PartlyLocked { semaphore },
            });
        }
        // Locks are in walking order: the first one has the highest level, the last one the lowest.
        let highest = locks[0].semaphore;
        let level_of = |semaphore: SemaphoreIx| self.permits[semaphore].level;
        if let Some(lowest) = held.last()
            && level_of(highest) >= level_of(lowest.semaphore)
        {
            return Err(Error::LevelViolation {
                semaphore: self.name_of(highest),
                level: level_of(highest),
                held: self.name_of(lowest.semaphore),
                held_level: level_of(lowest.semaphore),
            });
        }
        match pending {
            Some(locks) => {
                Err(Error::AlreadyPending { semaphore: self.name_of(locks[0].semaphore) })
            }
            None => Ok(()),
        }
    }

    /// Refuses a new ask that would have to wait, unless it may.
    fn check_is_free(&self, locks: &Locks, may_queue: bool) -> Result<(), Error> {
        if may_queue {
            return Ok(());
        }
        self.permits.first_obstacle(locks).map_or(Ok(()), |lock| Err(self.would_wait(lock)))
    }

    /// Refuses the repetition of an ask that waits, unless it may.
    fn check_may_wait(
        &self,
        peer: PeerIx,
        progress: Progress,
        may_queue: bool,
    ) -> Result<(), Error> {
        match (progress, self.peers[peer].pending) {
            (Progress::Pending(_), Some(ask)) if !may_queue => {
                let ask = &self.permits[ask];
                Err(self.would_wait(ask.locks[ask.stage]))
            }
            _ => Ok(()),
        }
    }

    fn would_wait(&self, lock: Lock) -> Error {
        Error::WouldWait { semaphore: self.name_of(lock.semaphore), count: lock.count }
    }

    fn ask(
        &mut self,
        peer: PeerIx,
        locks: Locks,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Progress {
        let ask = self.permits.ask(peer, locks, now);
        self.peers[peer].pending = Some(ask);
        self.settle_grants(now, effects);
        let Peer { held, pending, .. } = &self.peers[peer];
        let Some(ask) = pending else {
            return Progress::Acquired(held.last().and_then(|held| held.token));
        };
        let ask = &self.permits[*ask];
        for lock in &ask.locks {
            effects.tell(|| self.event(Happening::Pending, peer, *lock, Duration::ZERO));
        }
        Progress::Pending(ask.arrival)
    }

    fn status(&self, peer: PeerIx, progress: Progress, now: Timestamp) -> Status {
        Status { progress, expires_in: self.peers[peer].expires_in(now) }
    }
}

/// The token of all these locks, if they have the same.
fn common_token<'a>(mut held: impl Iterator<Item = &'a Held>) -> Option<Token> {
    let token = held.next()?.token;
    token.filter(|_| held.all(|other| other.token == token))
}
