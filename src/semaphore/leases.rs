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
    Catalogue, Effect, Effects, Error, Happening, Lock, Locks, PeerId, Rules, SemaphoreIx, Source,
    Timestamp,
    peers::{Due, Peers},
    permits::Permits,
    restore::Revoked,
    units::PeerIx,
};

/// How many entries of the expiry index an operation looks at before it does its own work.
pub(super) const SLICE: usize = 4;

/// A semaphore and a count, as a caller names them. The count is not checked yet.
pub type Wanted<'a> = (&'a str, i64);

/// All semaphores, peers, leases and locks of a server.
#[derive(Debug)]
pub struct Leases {
    /// Hashed once a request; everything inside goes by index.
    pub(super) names: HashMap<Arc<str>, SemaphoreIx, foldhash::fast::RandomState>,
    /// All semaphores in the order of their names, for listings.
    pub(super) in_order: Vec<SemaphoreIx>,
    /// What the configuration says.
    pub(super) catalogue: Catalogue,
    pub(super) permits: Permits,
    pub(super) peers: Peers,
    pub(super) revoked: Revoked,
    pub(super) rules: Rules,
    /// How many asks were granted since the start.
    pub(super) grants: u64,
}

impl Leases {
    /// Books in which nobody holds anything.
    pub fn new(catalogue: impl Into<Catalogue>, rules: Rules) -> Self {
        let is_closed = rules.grants_from > Timestamp::default();
        let mut leases = Leases {
            names: HashMap::default(),
            in_order: Vec::new(),
            catalogue: Catalogue::default(),
            permits: Permits::new(is_closed),
            peers: Peers::default(),
            revoked: Revoked::default(),
            rules,
            grants: 0,
        };
        let catalogue = catalogue.into();
        for (name, config) in &catalogue.semaphores {
            leases.add(name, Source::File, *config);
        }
        leases.catalogue = catalogue;
        leases
    }

    /// When the recovery window ends, while it lasts.
    pub fn grants_from(&self) -> Option<Timestamp> {
        self.permits.is_closed.then_some(self.rules.grants_from)
    }

    /// How many peers there are, those included whose lease has ended a moment ago.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Whether a new peer cannot have this id: somebody has it, or it was revoked.
    pub fn is_taken(&self, id: PeerId, now: Timestamp) -> bool {
        self.peers.find(id).is_some() || self.revoked.contains(id, now)
    }

    /// Renews the lease of a peer: it ends `expires_in` from now, even if that is sooner. Returns
    /// what is left of it.
    ///
    /// # Errors
    /// [`Error::LeaseTooLong`], [`Error::UnknownPeer`].
    pub fn heartbeat(
        &mut self,
        id: PeerId,
        expires_in: Duration,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Duration, Error> {
        self.expire(now, SLICE, effects);
        self.rules.check_lease(expires_in)?;
        let peer = self.find(id, now, effects).ok_or(Error::UnknownPeer)?;
        self.peers.renew(peer, expires_in, now);
        Ok(self.peers[peer].expires_in(now))
    }

    /// Releases a peer and all its locks. Returns whether it existed.
    pub fn remove_peer(&mut self, id: PeerId, now: Timestamp, effects: &mut Effects) -> bool {
        self.expire(now, SLICE, effects);
        let Some(peer) = self.find(id, now, effects) else { return false };
        self.remove(peer, Happening::Released, now, effects);
        self.settle_grants(now, effects);
        true
    }

    /// Whether the peer waits for nothing, and what is left of its lease.
    ///
    /// # Errors
    /// [`Error::UnknownPeer`].
    pub fn is_acquired(
        &mut self,
        id: PeerId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(bool, Duration), Error> {
        self.expire(now, SLICE, effects);
        let peer = self.find(id, now, effects).ok_or(Error::UnknownPeer)?;
        let peer = &self.peers[peer];
        Ok((peer.pending.is_none(), peer.expires_in(now)))
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
        let semaphore = self.index_of(semaphore)?;
        let semaphore = &self.permits[semaphore];
        Ok(semaphore.max - semaphore.acquired)
    }

    /// The books must be looked at (see [`Leases::expire`]) at this point in time, not later. A
    /// lease may turn out to have been extended then.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let first = self.peers.expiry.first().map(|(at, _)| at);
        first.into_iter().chain(self.grants_from()).min()
    }

    /// Does what is to be done because time has passed: clears away peers whose leases have ended,
    /// hands on what they held, and ends the recovery window. Looks at no more than `at_most`
    /// entries of the expiry index. Returns how many peers expired.
    pub fn expire(&mut self, now: Timestamp, at_most: usize, effects: &mut Effects) -> usize {
        self.sweep();
        let mut expired = 0;
        for _ in 0..at_most {
            match self.peers.next_due(now) {
                Due::Nothing => break,
                Due::Postponed => {}
                Due::Ended(peer) => {
                    self.remove(peer, Happening::Expired, now, effects);
                    expired += 1;
                }
            }
        }
        if self.grants_from().is_some_and(|at| at <= now) {
            self.permits.open();
            effects.push(Effect::RecoveryEnded);
            self.settle_grants(now, effects);
        } else if expired > 0 {
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
            self.remove(peer, Happening::Expired, now, effects);
            self.settle_grants(now, effects);
            return None;
        }
        Some(peer)
    }

    /// Takes a peer out of the books. What it held is handed on by `settle_grants`.
    pub(super) fn remove(
        &mut self,
        peer: PeerIx,
        happening: Happening,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let (peer, about) = self.peers.remove(peer);
        if let Some(ask) = peer.pending {
            let ask = self.permits.withdraw(ask);
            effects.push(Effect::PeerGone(ask.arrival));
            self.cancel(ask, (peer.id, about.clone()), now, effects);
        }
        for held in peer.held {
            self.free(held, happening, (peer.id, about.clone()), now, effects);
        }
    }

    /// Turns names into locks, in walking order.
    pub(super) fn resolve(&mut self, wanted: &[Wanted<'_>]) -> Result<Locks, Error> {
        let mut locks = Locks::with_capacity(wanted.len());
        for (name, count) in wanted {
            locks.push(Lock { semaphore: self.index_of(name)?, count: *count });
        }
        locks.sort_unstable_by_key(|lock| self.permits.walking_order(lock.semaphore));
        let twice = locks.windows(2).find(|pair| pair[0].semaphore == pair[1].semaphore);
        match twice {
            Some(pair) => Err(Error::BadNames { found: self.name_of(pair[0].semaphore) }),
            None => Ok(locks),
        }
    }

    /// Where the lock of that semaphore stands, in locks that are in walking order. O(log k).
    pub(super) fn position_of<L: AsRef<SemaphoreIx>>(
        &self,
        semaphore: SemaphoreIx,
        locks: &[L],
    ) -> Option<usize> {
        // Most have a single one.
        if let [only] = locks {
            return (*only.as_ref() == semaphore).then_some(0);
        }
        let order = self.permits.walking_order(semaphore);
        locks.binary_search_by_key(&order, |lock| self.permits.walking_order(*lock.as_ref())).ok()
    }

    pub(super) fn name_of(&self, semaphore: SemaphoreIx) -> String {
        self.permits[semaphore].name.to_string()
    }
}
