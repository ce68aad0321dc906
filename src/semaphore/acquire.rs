//! Asking for locks and giving them back: what is refused, what is a repetition, what is new.
//!
//! Whether an ask is *granted* is not decided here, but in `permits`.

use std::time::Duration;

use super::{
    Arrival, Effect, Effects, Error, Leases, Lock, Locks, PeerId, SemaphoreIx, Timestamp, Wanted,
    leases::SLICE, units::PeerIx,
};

/// How far a peer has come with what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It holds all of it.
    Acquired,
    /// It waits; this ask will be named in an [`Effect`] once that ends.
    Pending(Arrival),
}

impl Leases {
    /// Asks for one lock, or for several that are granted together. Safe to repeat: what the peer
    /// has already, pending or acquired, is left as it is, and its progress returned. A single lock
    /// can be asked for with a smaller count than it has, and then shrinks. `expires_in`, if given,
    /// renews the lease.
    ///
    /// # Errors
    /// In the order in which they are looked for: [`Error::BadNames`], [`Error::UnknownSemaphore`],
    /// [`Error::CountAboveMax`], [`Error::CountBelowOne`], [`Error::UnknownPeer`], [`Error::Grow`]
    /// or [`Error::PartlyLocked`], [`Error::LevelViolation`], [`Error::AlreadyPending`].
    pub fn acquire(
        &mut self,
        id: PeerId,
        wanted: &[Wanted<'_>],
        expires_in: Option<Duration>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Progress, Error> {
        self.expire(now, SLICE, effects);
        let locks = self.resolve(wanted)?;
        let peer = self.find(id, now, effects);
        let repeated = peer.and_then(|peer| self.repeat(peer, &locks, now, effects));
        let (peer, progress) = match (peer, repeated) {
            (Some(peer), Some(progress)) => (peer, progress),
            _ => {
                self.check_counts(&locks)?;
                let peer = peer.ok_or(Error::UnknownPeer)?;
                self.check_may_ask(peer, &locks)?;
                (peer, self.ask(peer, locks, now, effects))
            }
        };
        if let Some(expires_in) = expires_in {
            self.peers.renew(peer, expires_in, now);
        }
        Ok(progress)
    }

    /// Gives back one lock, or cancels it where it is pending; with it goes the whole ask that it
    /// is part of. Nothing happens where there is no such lock.
    ///
    /// # Errors
    /// [`Error::UnknownSemaphore`], [`Error::UnknownPeer`].
    pub fn release(
        &mut self,
        id: PeerId,
        semaphore: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        self.expire(now, SLICE, effects);
        let semaphore = self.index_of(semaphore)?;
        let peer = self.find(id, now, effects).ok_or(Error::UnknownPeer)?;
        if let Some(position) = position_of(semaphore, &self.peers[peer].held) {
            let lock = self.peers[peer].held.swap_remove(position);
            self.permits.release(semaphore, lock.count);
        } else if let Some(ask) = self.peers[peer].pending
            && position_of(semaphore, &self.permits[ask].locks).is_some()
        {
            self.peers[peer].pending = None;
            effects.push(Effect::Withdrawn(self.permits.withdraw(ask).arrival));
        }
        self.settle_grants(now, effects);
        Ok(())
    }

    /// Answers an ask that the peer made before: exactly that one, or a single lock with the same
    /// or a smaller count. `None` where it is something else.
    fn repeat(
        &mut self,
        peer: PeerIx,
        locks: &Locks,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Option<Progress> {
        if let [lock] = locks.as_slice() {
            return self.repeat_single(peer, *lock, now, effects);
        }
        let held = &self.peers[peer].held;
        if locks.iter().all(|lock| held.contains(lock)) {
            return Some(Progress::Acquired);
        }
        let ask = &self.permits[self.peers[peer].pending?];
        (*locks == ask.locks).then_some(Progress::Pending(ask.arrival))
    }

    fn repeat_single(
        &mut self,
        peer: PeerIx,
        lock: Lock,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Option<Progress> {
        let Lock { semaphore, count } = lock;
        let is_repeated = |existing: i64| 1 <= count && count <= existing;
        if let Some(position) = position_of(semaphore, &self.peers[peer].held) {
            let held = &mut self.peers[peer].held[position];
            if !is_repeated(held.count) {
                return None;
            }
            let freed = held.count - count;
            held.count = count;
            if freed > 0 {
                self.permits.release(semaphore, freed);
                self.settle_grants(now, effects);
            }
            return Some(Progress::Acquired);
        }
        let ix = self.peers[peer].pending?;
        let ask = &self.permits[ix];
        let position = position_of(semaphore, &ask.locks)?;
        let (arrival, existing) = (ask.arrival, ask.locks[position].count);
        if !is_repeated(existing) {
            return None;
        }
        if count < existing {
            // Those who wait for the larger lock must not take the smaller one for it.
            effects.push(Effect::Withdrawn(arrival));
            self.permits.shrink(ix, position, count);
            self.settle_grants(now, effects);
        }
        Some(match self.peers[peer].pending {
            Some(_) => Progress::Pending(arrival),
            None => Progress::Acquired,
        })
    }

    fn check_counts(&self, locks: &Locks) -> Result<(), Error> {
        for lock in locks {
            let max = self.permits[lock.semaphore].max;
            if lock.count > max {
                return Err(Error::CountAboveMax { count: lock.count, max });
            }
            if lock.count < 1 {
                return Err(Error::CountBelowOne { found: lock.count });
            }
        }
        Ok(())
    }

    /// Whether the peer may make a new ask for these locks.
    fn check_may_ask(&self, peer: PeerIx, locks: &Locks) -> Result<(), Error> {
        let peer = &self.peers[peer];
        let pending = peer.pending.map(|ask| &self.permits[ask].locks);
        for lock in locks {
            let mut existing = peer.held.iter().chain(pending.into_iter().flatten());
            let Some(existing) = existing.find(|other| other.semaphore == lock.semaphore) else {
                continue;
            };
            let semaphore = self.name_of(lock.semaphore);
            return Err(match locks.len() {
                1 => Error::Grow { semaphore, count: lock.count, existing: existing.count },
                _ => Error::PartlyLocked { semaphore },
            });
        }
        let level_of = |lock: &&Lock| self.permits[lock.semaphore].level;
        if let Some(lowest) = peer.held.iter().min_by_key(level_of)
            // Locks are in walking order: the first one has the highest level.
            && level_of(&&locks[0]) >= level_of(&lowest)
        {
            return Err(Error::LevelViolation {
                semaphore: self.name_of(locks[0].semaphore),
                level: level_of(&&locks[0]),
                held: self.name_of(lowest.semaphore),
                held_level: level_of(&lowest),
            });
        }
        match pending {
            Some(locks) => {
                Err(Error::AlreadyPending { semaphore: self.name_of(locks[0].semaphore) })
            }
            None => Ok(()),
        }
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
        match self.peers[peer].pending {
            Some(ask) => Progress::Pending(self.permits[ask].arrival),
            None => Progress::Acquired,
        }
    }
}

fn position_of(semaphore: SemaphoreIx, locks: &Locks) -> Option<usize> {
    locks.iter().position(|lock| lock.semaphore == semaphore)
}
