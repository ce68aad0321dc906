//! The peers: found by id in O(1), looked at for expiry in the order of their entries in the expiry
//! index, never scanned.

use std::{hash::BuildHasher, time::Duration};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use slab::Slab;
use smallvec::SmallVec;

use super::{
    About, Held, PeerId, Timestamp,
    expiry::Expiry,
    units::{AskIx, PeerIx},
};

/// The locks of one peer, in walking order (see `permits`): a lock that is nested lies at a lower
/// level, hence behind those that were there.
pub type HeldLocks = SmallVec<[Held; 1]>;

/// Who asks: owns locks and expires as a whole.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    /// The lease ends here, and never earlier.
    pub(super) valid_until: Timestamp,
    /// The acquired locks, one a semaphore at the most.
    pub(super) held: HeldLocks,
    /// What the peer is waiting for.
    pub(super) pending: Option<AskIx>,
    /// What became of the ask that made the peer.
    pub(super) origin: Origin,
}

/// The ask that made a peer, so that it can be repeated: how many locks it was for, as long as they
/// are all held or all pending. While they are held they are the first ones in `Peer::held`, for
/// whatever came later was nested below them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin(u32);

impl Origin {
    /// Part of the ask was given back, or no ask made the peer.
    pub(super) const GONE: Origin = Origin(u32::MAX);

    /// An ask for so many locks; 0 where the peer was made without one.
    pub(super) fn of(locks: usize) -> Self {
        Origin(u32::try_from(locks).unwrap_or(u32::MAX))
    }

    /// How many locks the ask was for.
    pub(super) fn len(self) -> Option<usize> {
        (self != Origin::GONE).then_some(self.0 as usize)
    }

    /// Notes that a lock was given back or shrunk, which stood, or would have stood, at `position`
    /// of those that are held.
    pub(super) fn lose(&mut self, position: usize) {
        if position < self.0 as usize {
            *self = Origin::GONE;
        }
    }
}

impl Peer {
    /// Whether the lease has ended.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.valid_until <= now
    }

    /// What is left of the lease.
    pub(super) fn expires_in(&self, now: Timestamp) -> Duration {
        self.valid_until.since(now)
    }
}

/// What there was to do about the lease that ends first.
pub(super) enum Due {
    /// No lease has ended.
    Nothing,
    /// A lease had been extended; its entry in the expiry index now says so.
    Postponed,
    /// The lease of this peer has ended.
    Ended(PeerIx),
}

/// All peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Slab<Peer>,
    /// Slots by peer id. Holding only slots, it costs a few bytes a peer.
    by_id: HashTable<u32>,
    /// Seeded anew in each process. No outcome depends on it: nothing iterates over `by_id`.
    hasher: RandomState,
    /// What people call them. Kept apart, for many have no name.
    about: HashMap<PeerIx, About, RandomState>,
    pub(super) expiry: Expiry,
}

impl Peers {
    /// How many peers exist, those included whose lease has ended but who were not looked at yet.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The peer of that id. O(1).
    pub(super) fn find(&self, id: PeerId) -> Option<PeerIx> {
        self.by_id
            .find(self.hasher.hash_one(id), |slot| self.slots[*slot as usize].id == id)
            .map(|slot| PeerIx(*slot))
    }

    /// The id of this peer, and what people call it.
    pub(super) fn who(&self, ix: PeerIx) -> (PeerId, Option<About>) {
        let about = match self.about.is_empty() {
            true => None,
            false => self.about.get(&ix).cloned(),
        };
        (self[ix].id, about)
    }

    /// A new peer without locks. The caller knows that no peer of that id exists.
    pub(super) fn insert(
        &mut self,
        id: PeerId,
        about: Option<About>,
        origin: Origin,
        valid_until: Timestamp,
    ) -> PeerIx {
        let peer = Peer { id, valid_until, held: HeldLocks::new(), pending: None, origin };
        // 2^32 peers would need hundreds of gigabytes: memory ends before the numbers do.
        let slot = self.slots.insert(peer) as u32;
        let Peers { slots, hasher, .. } = self;
        self.by_id.insert_unique(hasher.hash_one(id), slot, |slot| {
            hasher.hash_one(slots[*slot as usize].id)
        });
        self.expiry.insert(PeerIx(slot), valid_until);
        if let Some(about) = about {
            self.about.insert(PeerIx(slot), about);
        }
        PeerIx(slot)
    }

    /// Takes a peer and what people call it out of the books, its entry in the expiry index
    /// included. O(log P).
    pub(super) fn remove(&mut self, ix: PeerIx) -> (Peer, Option<About>) {
        let peer = self.slots.remove(ix.0 as usize);
        let hash = self.hasher.hash_one(peer.id);
        if let Ok(entry) = self.by_id.find_entry(hash, |slot| *slot == ix.0) {
            entry.remove();
        }
        self.expiry.remove(ix);
        (peer, self.about.remove(&ix))
    }

    /// Lets the lease end `expires_in` from now. O(1) where that extends it.
    pub(super) fn renew(&mut self, ix: PeerIx, expires_in: Duration, now: Timestamp) {
        let valid_until = now.after(expires_in);
        let before = std::mem::replace(&mut self[ix].valid_until, valid_until);
        // An entry of the index is never late, so it need not be looked at where the lease does not
        // shrink: with a million peers that look would cost as much as all the rest.
        if valid_until < before && self.expiry.at(ix).is_some_and(|at| valid_until < at) {
            self.expiry.change(ix, valid_until);
        }
    }

    /// Looks at the peer whose entry in the expiry index comes first. O(log P).
    pub(super) fn next_due(&mut self, now: Timestamp) -> Due {
        match self.expiry.first() {
            Some((at, ix)) if at <= now => {
                if self[ix].is_due(now) {
                    return Due::Ended(ix);
                }
                self.expiry.change(ix, self[ix].valid_until);
                Due::Postponed
            }
            _ => Due::Nothing,
        }
    }

    /// All peers in the order of their slots. This is the one scan, for those who ask for a list.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerIx, &Peer)> {
        self.slots.iter().map(|(slot, peer)| (PeerIx(slot as u32), peer))
    }
}

impl std::ops::Index<PeerIx> for Peers {
    type Output = Peer;

    fn index(&self, ix: PeerIx) -> &Peer {
        &self.slots[ix.0 as usize]
    }
}

impl std::ops::IndexMut<PeerIx> for Peers {
    fn index_mut(&mut self, ix: PeerIx) -> &mut Peer {
        &mut self.slots[ix.0 as usize]
    }
}
