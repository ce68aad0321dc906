//! When must the books be looked at again? An indexed min-heap of deadlines, one entry a peer.
//!
//! An entry may lie *before* the deadline of its peer, never after it: a heartbeat that extends a
//! lease need not touch the heap at all, and whoever finds the early entry on top moves it back
//! (`postpone`). Thus heartbeats are O(1), and since an entry is removed with its peer, there is
//! never more than one for each.

use super::{Timestamp, units::PeerIx};

/// Each node has this many children: flatter than a binary heap, and kinder to caches.
const ARITY: usize = 4;

/// Stands in `positions` for a slot that has no entry.
const ABSENT: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Timestamp,
    peer: PeerIx,
}

/// The deadlines of all peers, the earliest one on top.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    heap: Vec<Entry>,
    /// Where the entry of a peer lies in `heap`, by the peer's index.
    positions: Vec<u32>,
}

impl Expiry {
    /// The earliest entry: no lease ends before it. O(1).
    pub(super) fn first(&self) -> Option<(Timestamp, PeerIx)> {
        self.heap.first().map(|entry| (entry.at, entry.peer))
    }

    /// How many peers have an entry.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// When the entry of this peer comes up, if it has one. O(1).
    pub(super) fn at(&self, peer: PeerIx) -> Option<Timestamp> {
        let position = *self.positions.get(peer.0 as usize)?;
        self.heap.get(position as usize).map(|entry| entry.at)
    }

    /// Enters a peer that has no entry yet. O(log P), and O(1) where `at` is the latest of all.
    pub(super) fn insert(&mut self, peer: PeerIx, at: Timestamp) {
        let slot = peer.0 as usize;
        if slot >= self.positions.len() {
            self.positions.resize(slot + 1, ABSENT);
        }
        debug_assert_eq!(ABSENT, self.positions[slot], "a peer has one entry");
        self.heap.push(Entry { at, peer });
        self.rise(self.heap.len() - 1);
    }

    /// Moves the entry of a peer to another point in time, earlier or later. O(log P).
    pub(super) fn change(&mut self, peer: PeerIx, at: Timestamp) {
        let position = self.positions[peer.0 as usize] as usize;
        self.heap[position].at = at;
        self.settle(position);
    }

    /// Forgets a peer. O(log P).
    pub(super) fn remove(&mut self, peer: PeerIx) {
        let position = self.positions[peer.0 as usize] as usize;
        self.positions[peer.0 as usize] = ABSENT;
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.settle(position);
        }
    }

    /// Brings the entry at `position` to its place, whichever way that lies.
    fn settle(&mut self, position: usize) {
        let peer = self.heap[position].peer;
        self.rise(position);
        self.sink(self.positions[peer.0 as usize] as usize);
    }

    fn rise(&mut self, mut position: usize) {
        let entry = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if self.heap[parent].at <= entry.at {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, entry);
    }

    fn sink(&mut self, mut position: usize) {
        let entry = self.heap[position];
        loop {
            let first = position * ARITY + 1;
            let children = first..(first + ARITY).min(self.heap.len());
            let Some(child) = children.min_by_key(|child| self.heap[*child].at) else { break };
            if entry.at <= self.heap[child].at {
                break;
            }
            self.place(position, self.heap[child]);
            position = child;
        }
        self.place(position, entry);
    }

    fn place(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        // Positions are slots of peers, whose number is bounded by `u32` (see `Peers::insert`).
        self.positions[entry.peer.0 as usize] = position as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn second(at: u64) -> Timestamp {
        Timestamp::new(Duration::from_secs(at))
    }

    #[test]
    fn removed_peer_leaves_no_entry_behind() {
        let mut expiry = Expiry::default();

        for round in 0..1_000 {
            expiry.insert(PeerIx(0), second(round));
            expiry.remove(PeerIx(0));
        }

        assert_eq!(0, expiry.len());
        assert_eq!(None, expiry.first());
        assert_eq!(None, expiry.at(PeerIx(0)));
    }

    fn steps() -> impl Strategy<Value = Vec<(u32, u64, bool)>> {
        prop::collection::vec((0..20_u32, 0..100_u64, prop::bool::weighted(0.3)), 0..200)
    }

    proptest! {
        #[test]
        fn first_is_always_the_earliest(steps in steps()) {
            let mut expiry = Expiry::default();
            let mut model = std::collections::BTreeMap::new();

            for (slot, at, is_removed) in steps {
                let peer = PeerIx(slot);
                if !model.contains_key(&slot) {
                    expiry.insert(peer, second(at));
                } else if is_removed {
                    expiry.remove(peer);
                } else {
                    expiry.change(peer, second(at));
                }
                if model.insert(slot, at).is_some() && is_removed {
                    model.remove(&slot);
                }

                let earliest = model.values().min().map(|at| second(*at));
                prop_assert_eq!(earliest, expiry.first().map(|(at, _)| at));
                for slot in 0..20 {
                    let expected = model.get(&slot).map(|at| second(*at));
                    prop_assert_eq!(expected, expiry.at(PeerIx(slot)));
                }
            }
        }
    }
}
