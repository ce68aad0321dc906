//! What the books show to those who only look: semaphores for metrics, peers for listings.

use std::{sync::Arc, time::Duration};

use super::{
    Effects, Error, Leases, Lock, PeerId, SemaphoreIx, Timestamp, Token, leases::SLICE,
    peers::Peer, units::PeerIx,
};

/// Names of semaphores, and the counts of their locks.
pub type NamedLocks = Vec<(Arc<str>, i64)>;

/// One semaphore at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemaphoreSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// How many permits there are.
    pub max: i64,
    /// Rank in the lock hierarchy.
    pub level: i32,
    /// Permits that peers hold; more than `max` after a restore.
    pub acquired: i64,
    /// Permits that peers wait for. The sum may exceed an `i64`.
    pub pending: i128,
    /// For how long the ask that came first of the pending ones has waited; zero if there is none.
    pub longest_pending: Duration,
}

/// One peer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// Its id.
    pub id: PeerId,
    /// What people call it.
    pub name: Option<Box<str>>,
    /// What is left of its lease.
    pub expires_in: Duration,
    /// Names and counts of the locks that it holds.
    pub acquired: NamedLocks,
    /// Names and tokens of those locks that have one.
    pub tokens: Vec<(Arc<str>, Token)>,
    /// Names and counts of the locks that it waits for.
    pub pending: NamedLocks,
}

impl Leases {
    /// All semaphores in the order of their names. O(semaphores), however many peers there are.
    pub fn semaphores(&self, now: Timestamp) -> impl Iterator<Item = SemaphoreSnapshot> {
        self.permits.semaphores.iter().map(move |semaphore| SemaphoreSnapshot {
            name: semaphore.name.clone(),
            max: semaphore.max,
            level: semaphore.level,
            acquired: semaphore.acquired,
            pending: semaphore.pending,
            longest_pending: semaphore
                .longest_pending()
                .map_or(Duration::ZERO, |ask| now.since(self.permits[ask].since)),
        })
    }

    /// All peers, in no particular order. O(peers): the one operation that looks at each.
    pub fn peers(&self, now: Timestamp) -> impl Iterator<Item = PeerSnapshot> {
        let living = self.peers.iter().filter(move |(_, peer)| !peer.is_due(now));
        living.map(move |(ix, _)| self.snapshot(ix, now))
    }

    /// One peer. O(its locks).
    ///
    /// # Errors
    /// [`Error::UnknownPeer`].
    pub fn peer(
        &mut self,
        id: PeerId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<PeerSnapshot, Error> {
        self.expire(now, SLICE, effects);
        let peer = self.find(id, now, effects).ok_or(Error::UnknownPeer)?;
        Ok(self.snapshot(peer, now))
    }

    fn snapshot(&self, ix: PeerIx, now: Timestamp) -> PeerSnapshot {
        let peer: &Peer = &self.peers[ix];
        let with_token = peer.held.iter().filter_map(|held| Some((held.lock, held.token?)));
        PeerSnapshot {
            id: peer.id,
            name: self.peers.name(ix).map(Box::from),
            expires_in: peer.expires_in(now),
            acquired: self.named(&peer.held),
            tokens: with_token.map(|(lock, token)| (self.name(lock.semaphore), token)).collect(),
            pending: peer.pending.map_or_else(Vec::new, |ask| self.named(&self.permits[ask].locks)),
        }
    }

    /// Names and counts of some locks.
    pub fn named<L: AsRef<Lock>>(&self, locks: &[L]) -> NamedLocks {
        let locks = locks.iter().map(AsRef::as_ref);
        locks.map(|lock| (self.name(lock.semaphore), lock.count)).collect()
    }

    fn name(&self, semaphore: SemaphoreIx) -> Arc<str> {
        self.permits[semaphore].name.clone()
    }
}
