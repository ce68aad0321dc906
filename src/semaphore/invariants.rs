//! What is true of the books between any two operations. Checked in tests and debug builds.

use std::collections::BTreeMap;

use super::{Held, Leases, Lock, SemaphoreIx, Source, Timestamp, permits::Ask, units::AskIx};

/// Recounts everything. O(everything).
///
/// # Panics
/// If an invariant does not hold: a bug in this room.
pub fn check(leases: &Leases) {
    check_counters(leases);
    check_semaphores(leases);
    check_queues(leases);
    check_peers(leases);
}

/// Cached counters equal recounted ones, reservations never stand above max, and each lock knows
/// its place among the holders.
fn check_counters(leases: &Leases) {
    let semaphores = &leases.permits.semaphores;
    let mut acquired: BTreeMap<_, i64> = BTreeMap::new();
    let mut reserved: BTreeMap<_, i64> = BTreeMap::new();
    let mut pending: BTreeMap<_, i128> = BTreeMap::new();
    let mut holders: BTreeMap<_, usize> = BTreeMap::new();
    for (peer_ix, peer) in leases.peers.iter() {
        for held in &peer.held {
            assert!(held.count >= 1, "a lock has at least one permit");
            *acquired.entry(held.semaphore).or_default() += held.count;
            *holders.entry(held.semaphore).or_default() += 1;
            let semaphore = &leases.permits[held.semaphore];
            assert_eq!(peer_ix, semaphore.holders[held.place as usize], "a lock knows its place");
        }
    }
    for (_, ask) in &leases.permits.asks {
        for (position, lock) in ask.locks.iter().enumerate() {
            assert!(lock.count >= 1, "a lock has at least one permit");
            *pending.entry(lock.semaphore).or_default() += i128::from(lock.count);
            if position < ask.stage {
                *reserved.entry(lock.semaphore).or_default() += lock.count;
            }
        }
    }
    for (ix, semaphore) in semaphores {
        let ix = SemaphoreIx(ix as u32);
        let name = &semaphore.name;
        assert_eq!(acquired.remove(&ix).unwrap_or(0), semaphore.acquired, "acquired of `{name}`");
        assert_eq!(reserved.remove(&ix).unwrap_or(0), semaphore.reserved, "reserved of `{name}`");
        assert_eq!(pending.remove(&ix).unwrap_or(0), semaphore.pending, "pending of `{name}`");
        assert_eq!(holders.remove(&ix).unwrap_or(0), semaphore.holders.len(), "of `{name}`");
        assert!(
            semaphore.reserved == 0 || semaphore.room() >= 0 && !semaphore.is_paused,
            "reservations of `{name}` give way before it is over-committed, and when it is paused"
        );
    }
    assert!(acquired.is_empty() && pending.is_empty(), "nobody uses a semaphore that is gone");
}

/// Each semaphore is found by its name, and listed in the order of names; whatever is to go once
/// nobody uses it is noted then.
fn check_semaphores(leases: &Leases) {
    let semaphores = &leases.permits.semaphores;
    let names: Vec<_> = leases.in_order.iter().map(|ix| &leases.permits[*ix].name).collect();
    assert!(names.is_sorted(), "semaphores are listed in the order of their names");
    assert_eq!(semaphores.len(), names.len(), "all semaphores are listed");
    assert_eq!(semaphores.len(), leases.names.len(), "all semaphores have a name");
    for (ix, semaphore) in semaphores {
        let ix = SemaphoreIx(ix as u32);
        assert_eq!(Some(&ix), leases.names.get(&semaphore.name), "it is found by its name");
        let may_stay = !semaphore.is_transient()
            || !semaphore.is_unused()
            || semaphore.source == Source::Template && semaphore.is_adjusted()
            || leases.permits.unused.contains(&ix);
        assert!(may_stay, "`{}` is looked at when nobody uses it any more", semaphore.name);
    }
}

/// Each ask is in exactly the queues that its stage says, and nobody who may go is left waiting.
fn check_queues(leases: &Leases) {
    let asks = &leases.permits.asks;
    for (ix, semaphore) in &leases.permits.semaphores {
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
            && !semaphore.is_paused
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
        let mut locks: Vec<_> = peer.held.iter().map(Held::lock).collect();
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
