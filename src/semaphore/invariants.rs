//! What is true of the books between any two operations. Checked in tests and debug builds.

use std::collections::BTreeMap;

use super::{Held, Leases, Lock, Timestamp, permits::Ask, units::AskIx};

/// Recounts everything. O(everything).
///
/// # Panics
/// If an invariant does not hold: a bug in this room.
pub fn check(leases: &Leases) {
    check_counters(leases);
    check_queues(leases);
    check_peers(leases);
}

/// Cached counters equal recounted ones, and reservations never stand above max.
fn check_counters(leases: &Leases) {
    let semaphores = &leases.permits.semaphores;
    let mut acquired = vec![0_i64; semaphores.len()];
    let mut reserved = vec![0_i64; semaphores.len()];
    let mut pending = vec![0_i128; semaphores.len()];
    for (_, peer) in leases.peers.iter() {
        for Held { lock, .. } in &peer.held {
            assert!(lock.count >= 1, "a lock has at least one permit");
            acquired[lock.semaphore.0 as usize] += lock.count;
        }
    }
    for (_, ask) in &leases.permits.asks {
        for (position, lock) in ask.locks.iter().enumerate() {
            assert!(lock.count >= 1, "a lock has at least one permit");
            pending[lock.semaphore.0 as usize] += i128::from(lock.count);
            if position < ask.stage {
                reserved[lock.semaphore.0 as usize] += lock.count;
            }
        }
    }
    for (ix, semaphore) in semaphores.iter().enumerate() {
        assert_eq!(acquired[ix], semaphore.acquired, "acquired of `{}`", semaphore.name);
        assert_eq!(reserved[ix], semaphore.reserved, "reserved of `{}`", semaphore.name);
        assert_eq!(pending[ix], semaphore.pending, "pending of `{}`", semaphore.name);
        assert!(
            semaphore.reserved == 0 || semaphore.room() >= 0,
            "reservations of `{}` give way before it is over-committed",
            semaphore.name
        );
    }
}

/// Each ask is in exactly the queues that its stage says, and nobody who may go is left waiting.
fn check_queues(leases: &Leases) {
    let asks = &leases.permits.asks;
    for (ix, semaphore) in leases.permits.semaphores.iter().enumerate() {
        let expected = |is_there: fn(usize, &Ask) -> bool| -> BTreeMap<_, _> {
            asks.iter()
                .filter(|(_, ask)| {
                    let mut locks = ask.locks.iter().enumerate();
                    locks.any(|(at, lock)| lock.semaphore.0 as usize == ix && is_there(at, ask))
                })
                .map(|(key, ask)| (ask.arrival, AskIx(key as u32)))
                .collect()
        };
        assert_eq!(expected(|at, ask| at > ask.stage), semaphore.approaching);
        assert_eq!(expected(|at, ask| at == ask.stage), semaphore.standing);
        assert_eq!(expected(|at, ask| at < ask.stage), semaphore.reserving);
        if let Some((_, first)) = semaphore.standing.first_key_value()
            && !leases.permits.is_closed
        {
            let ask = &leases.permits[*first];
            assert!(
                ask.locks[ask.stage].count > semaphore.room(),
                "whoever may go, goes: `{}`",
                semaphore.name
            );
        }
    }
}

/// One ask a peer at the most, each with its peer; every peer is found by its id and has an entry
/// in the expiry index that does not come up too late.
fn check_peers(leases: &Leases) {
    let mut asks = 0;
    for (ix, peer) in leases.peers.iter() {
        let mut locks: Vec<_> = peer.held.iter().map(|held| held.lock).collect();
        if let Some(ask) = peer.pending {
            assert_eq!(ix, leases.permits[ask].peer, "an ask knows its peer");
            locks.extend(&leases.permits[ask].locks);
            asks += 1;
        }
        let order = |lock: &Lock| leases.permits.walking_order(lock.semaphore);
        assert!(locks.is_sorted_by_key(order), "what is nested comes later in walking order");
        assert_eq!(Some(ix), leases.peers.find(peer.id), "a peer is found by its id");
        let entry = leases.peers.expiry.at(ix).unwrap_or(Timestamp::MAX);
        assert!(entry <= peer.valid_until, "no lease is looked at too late");
    }
    assert_eq!(asks, leases.permits.asks.len(), "each ask belongs to a peer");
}
