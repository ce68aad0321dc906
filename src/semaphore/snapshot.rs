//! What the books show to those who only look: semaphores for metrics, peers for listings.

use std::{sync::Arc, time::Duration};

use super::{Leases, Locks, PeerId, SemaphoreIx, Timestamp};

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
    /// What is left of its lease.
    pub expires_in: Duration,
    /// Names and counts of the locks that it holds.
    pub acquired: NamedLocks,
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
        self.peers.iter().filter(move |(_, peer)| !peer.is_due(now)).map(move |(_, peer)| {
            PeerSnapshot {
                id: peer.id,
                expires_in: peer.valid_until.since(now),
                acquired: self.named(&peer.held),
                pending: peer
                    .pending
                    .map_or_else(Vec::new, |ask| self.named(&self.permits[ask].locks)),
            }
        })
    }

    /// Names and counts of some locks.
    pub fn named(&self, locks: &Locks) -> NamedLocks {
        let name = |semaphore: SemaphoreIx| self.permits[semaphore].name.clone();
        locks.iter().map(|lock| (name(lock.semaphore), lock.count)).collect()
    }
}
