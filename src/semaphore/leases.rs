//! The books: which peer holds or waits for what, and until when.
//!
//! Each operation takes the time as an argument, changes the books, and appends what it did to
//! others to `effects`. A refused operation leaves the books as they were; what does happen even
//! then is that leases which have ended are cleared away, a slice at a time, and the one of the
//! peer that is named always. So no request acts for a peer whose lease has ended, and 100,000 of
//! them that end together hold nobody up.

use std::{sync::Arc, time::Duration};

use hashbrown::HashMap;

use super::{
    Effect, Effects, Error, Lock, Locks, PeerId, SemaphoreConfig, SemaphoreIx, Timestamp,
    peers::{Due, Peer, Peers},
    permits::Permits,
    queue::Semaphore,
    units::PeerIx,
};

/// How many entries of the expiry index an operation looks at before it does its own work.
pub(super) const SLICE: usize = 16;

/// A semaphore and a count, as a caller names them. The count is not checked yet.
pub type Wanted<'a> = (&'a str, i64);

/// All semaphores, peers, leases and locks of a server.
#[derive(Debug)]
pub struct Leases {
    /// Hashed once a request; everything inside goes by index.
    names: HashMap<Arc<str>, SemaphoreIx, foldhash::fast::RandomState>,
    pub(super) permits: Permits,
    pub(super) peers: Peers,
}

impl Leases {
    /// Books in which nobody holds anything. Of two semaphores of one name, the later counts.
    pub fn new(semaphores: impl IntoIterator<Item = (String, SemaphoreConfig)>) -> Self {
        let by_name: std::collections::BTreeMap<_, _> = semaphores.into_iter().collect();
        let semaphores: Vec<_> =
            by_name.into_iter().map(|(name, config)| Semaphore::new(name.into(), config)).collect();
        let names = (0..).map(SemaphoreIx);
        let names = semaphores.iter().map(|semaphore| semaphore.name.clone()).zip(names).collect();
        Leases { names, permits: Permits::new(semaphores), peers: Peers::default() }
    }

    /// How many peers there are, those included whose lease has ended a moment ago.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Makes a peer that holds nothing. Returns `false`, and makes none, where the id is taken.
    #[must_use]
    pub fn new_peer(
        &mut self,
        id: PeerId,
        expires_in: Duration,
        now: Timestamp,
        effects: &mut Effects,
    ) -> bool {
        self.expire(now, SLICE, effects);
        if self.find(id, now, effects).is_some() {
            return false;
        }
        self.peers.insert(id, now.after(expires_in));
        true
    }

    /// Renews the lease of a peer: it ends `expires_in` from now, even if that is sooner.
    ///
    /// # Errors
    /// [`Error::UnknownPeer`].
    pub fn heartbeat(
        &mut self,
        id: PeerId,
        expires_in: Duration,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        self.expire(now, SLICE, effects);
        let peer = self.find(id, now, effects).ok_or(Error::UnknownPeer)?;
        self.peers.renew(peer, expires_in, now);
        Ok(())
    }

    /// Releases a peer and all its locks. Returns whether it existed.
    pub fn remove_peer(&mut self, id: PeerId, now: Timestamp, effects: &mut Effects) -> bool {
        self.expire(now, SLICE, effects);
        let Some(peer) = self.find(id, now, effects) else { return false };
        self.remove(peer, effects);
        self.settle_grants(now, effects);
        true
    }

    /// Whether the peer waits for nothing.
    ///
    /// # Errors
    /// [`Error::UnknownPeer`].
    pub fn is_acquired(
        &mut self,
        id: PeerId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<bool, Error> {
        self.expire(now, SLICE, effects);
        let peer = self.find(id, now, effects).ok_or(Error::UnknownPeer)?;
        Ok(self.peers[peer].pending.is_none())
    }

    /// Brings back a peer with the locks that it held, even beyond max and regardless of levels.
    /// Where the peer exists with exactly these locks, its lease is renewed.
    ///
    /// # Errors
    /// [`Error::BadNames`] where a semaphore is named twice, [`Error::UnknownSemaphore`],
    /// [`Error::CountBelowOne`], [`Error::RestoreConflict`], [`Error::RestoreOverflow`].
    pub fn restore(
        &mut self,
        id: PeerId,
        acquired: &[Wanted<'_>],
        expires_in: Duration,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        self.expire(now, SLICE, effects);
        let locks = if acquired.is_empty() { Locks::new() } else { self.resolve(acquired)? };
        if let Some(lock) = locks.iter().find(|lock| lock.count < 1) {
            return Err(Error::CountBelowOne { found: lock.count });
        }
        if let Some(peer) = self.find(id, now, effects) {
            let Peer { pending, held, .. } = &self.peers[peer];
            if pending.is_some() || locks != self.sorted(held.clone()) {
                return Err(Error::RestoreConflict);
            }
            self.peers.renew(peer, expires_in, now);
            return Ok(());
        }
        for lock in &locks {
            let Semaphore { name, acquired, .. } = &self.permits[lock.semaphore];
            if acquired.checked_add(lock.count).is_none() {
                let (semaphore, acquired) = (name.to_string(), *acquired);
                return Err(Error::RestoreOverflow { semaphore, count: lock.count, acquired });
            }
        }
        for lock in &locks {
            self.permits.occupy(lock.semaphore, lock.count);
        }
        let peer = self.peers.insert(id, now.after(expires_in));
        self.peers[peer].held = locks;
        self.settle_grants(now, effects);
        Ok(())
    }

    /// Max minus acquired; negative where a restore over-committed the semaphore.
    ///
    /// # Errors
    /// [`Error::UnknownSemaphore`].
    pub fn remainder(
        &mut self,
        semaphore: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<i64, Error> {
        self.expire(now, SLICE, effects);
        let semaphore = &self.permits[self.index_of(semaphore)?];
        Ok(semaphore.max - semaphore.acquired)
    }

    /// The books must be looked at (see [`Leases::expire`]) at this point in time, not later. A
    /// lease may turn out to have been extended then.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.peers.expiry.first().map(|(at, _)| at)
    }

    /// Clears away peers whose leases have ended, and hands on what they held. Looks at no more
    /// than `at_most` entries of the expiry index. Returns how many peers expired.
    pub fn expire(&mut self, now: Timestamp, at_most: usize, effects: &mut Effects) -> usize {
        let mut expired = 0;
        for _ in 0..at_most {
            match self.peers.next_due(now) {
                Due::Nothing => break,
                Due::Postponed => {}
                Due::Ended(peer) => {
                    self.clear_away(peer, effects);
                    expired += 1;
                }
            }
        }
        if expired > 0 {
            self.settle_grants(now, effects);
        }
        expired
    }

    /// The peer of that id, unless its lease has ended: then it expires here and now.
    pub(super) fn find(
        &mut self,
        id: PeerId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Option<PeerIx> {
        let peer = self.peers.find(id)?;
        if self.peers[peer].is_due(now) {
            self.clear_away(peer, effects);
            self.settle_grants(now, effects);
            return None;
        }
        Some(peer)
    }

    /// Takes a peer whose lease has ended out of the books. What it held is handed on by
    /// `settle_grants`.
    fn clear_away(&mut self, peer: PeerIx, effects: &mut Effects) {
        let peer = self.remove(peer, effects);
        effects.push(Effect::Expired { peer: peer.id, held: peer.held });
    }

    /// Takes a peer out of the books. What it held is handed on by `settle_grants`.
    fn remove(&mut self, peer: PeerIx, effects: &mut Effects) -> Peer {
        let peer = self.peers.remove(peer);
        if let Some(ask) = peer.pending {
            effects.push(Effect::PeerGone(self.permits.withdraw(ask).arrival));
        }
        for lock in &peer.held {
            self.permits.release(lock.semaphore, lock.count);
        }
        peer
    }

    pub(super) fn index_of(&self, semaphore: &str) -> Result<SemaphoreIx, Error> {
        self.names.get(semaphore).copied().ok_or(Error::UnknownSemaphore)
    }

    /// Turns names into locks, in walking order.
    pub(super) fn resolve(&self, wanted: &[Wanted<'_>]) -> Result<Locks, Error> {
        let mut locks = Locks::with_capacity(wanted.len());
        for (name, count) in wanted {
            locks.push(Lock { semaphore: self.index_of(name)?, count: *count });
        }
        let locks = self.sorted(locks);
        let twice = locks.windows(2).find(|pair| pair[0].semaphore == pair[1].semaphore);
        match (twice, locks.is_empty()) {
            (Some(pair), _) => Err(Error::BadNames { found: self.name_of(pair[0].semaphore) }),
            (None, true) => Err(Error::BadNames { found: "none".to_owned() }),
            (None, false) => Ok(locks),
        }
    }

    /// The same locks in walking order.
    fn sorted(&self, mut locks: Locks) -> Locks {
        locks.sort_unstable_by_key(|lock| self.permits.walking_order(lock.semaphore));
        locks
    }

    pub(super) fn name_of(&self, semaphore: SemaphoreIx) -> String {
        self.permits[semaphore].name.to_string()
    }

    /// Hands on what became free, and enters the asks that are granted into the books of their
    /// peers. The last step of every operation that frees permits or asks for some.
    ///
    /// Where many leases end together, an ask may be granted whose peer is to be cleared away next.
    /// Its waiters are told so: nobody is told of a lock that is gone already.
    pub(super) fn settle_grants(&mut self, now: Timestamp, effects: &mut Effects) {
        for ask in self.permits.settle() {
            let peer = &mut self.peers[ask.peer];
            peer.pending = None;
            peer.held.extend(ask.locks);
            effects.push(match peer.is_due(now) {
                true => Effect::PeerGone(ask.arrival),
                false => Effect::Acquired(ask.arrival),
            });
        }
    }
}
