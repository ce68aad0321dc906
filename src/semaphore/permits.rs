//! Who gets permits, and when: asks walk through their semaphores, and are granted or wait.
//!
//! # The discipline
//!
//! First come, first served, in each semaphore. An ask for several semaphores walks through them
//! one after another, the highest level first (then by index): it stands in the next queue, under
//! its original arrival number, only once its permits in the one before are reserved. When the last
//! are reserved, it is granted as a whole. An ask for one semaphore is the shortest such walk.
//!
//! So whoever waits holds or reserves only what comes *earlier* in one total order, the same order
//! that levels impose on nested locks; hence no cycle of waiting peers can form.
//!
//! # Its price
//!
//! A large ask at the front of a queue holds back small ones behind it although permits are free,
//! and so does an ask that has reserved permits here while it waits elsewhere. That is what keeps
//! large asks from starving.
//!
//! Peers and leases are unknown here: an ask only carries the index of the peer it belongs to.

use std::cmp::Reverse;

use slab::Slab;
use smallvec::SmallVec;

use super::{
    Arrival, Lock, Locks, SemaphoreIx, Timestamp,
    queue::Semaphore,
    units::{AskIx, PeerIx},
};

/// What a peer is waiting for: one lock, or several that are granted together.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) arrival: Arrival,
    pub(super) peer: PeerIx,
    /// When it arrived.
    pub(super) since: Timestamp,
    /// What it asks for, in walking order.
    pub(super) locks: Locks,
    /// How many of `locks` are reserved. The ask stands in the queue of the next one.
    pub(super) stage: usize,
}

/// Some semaphores; while `settle` runs in reverse walking order, otherwise in none.
type Moved = SmallVec<[SemaphoreIx; 4]>;

/// All semaphores and all pending asks.
#[derive(Debug)]
pub(super) struct Permits {
    pub(super) semaphores: Slab<Semaphore>,
    pub(super) asks: Slab<Ask>,
    /// Whether nothing is granted yet: a recovery window lasts.
    pub(super) is_closed: bool,
    arrivals: u64,
    /// Semaphores in whose queues somebody may be able to go on (see `settle`).
    moved: Moved,
    /// Asks that were granted and that nobody has fetched yet (see `settle`).
    pub(super) granted: Vec<Ask>,
    /// Transient semaphores that nobody used any more when this was noted.
    pub(super) unused: Vec<SemaphoreIx>,
}

impl Permits {
    pub(super) fn new(is_closed: bool) -> Self {
        Permits {
            semaphores: Slab::new(),
            asks: Slab::new(),
            is_closed,
            arrivals: 0,
            moved: Moved::new(),
            granted: Vec::new(),
            unused: Vec::new(),
        }
    }

    /// The order in which asks walk: highest level first, then by index. It does not change while
    /// anybody uses the semaphore.
    pub(super) fn walking_order(&self, semaphore: SemaphoreIx) -> (Reverse<i32>, SemaphoreIx) {
        (Reverse(self[semaphore].level), semaphore)
    }

    /// Hands on what became free. Afterwards `granted` has the asks that were granted since it was
    /// emptied, in the order of their grants.
    ///
    /// To be called at the end of an operation, when it has freed all that it frees: each semaphore
    /// concerned is then served once, in walking order, so that an ask which goes on from one to
    /// the next finds its place there before that one is served.
    pub(super) fn settle(&mut self) {
        let mut moved = std::mem::take(&mut self.moved);
        // From behind, so that the first one is the next to be taken.
        moved.sort_unstable_by_key(|semaphore| Reverse(self.walking_order(*semaphore)));
        moved.dedup();
        while let Some(semaphore) = moved.pop() {
            self.serve(semaphore, &mut moved);
        }
    }

    /// From now on permits are granted. Whoever waited for that is served by `settle`.
    pub(super) fn open(&mut self) {
        self.is_closed = false;
        self.moved.extend(self.semaphores.iter().map(|(ix, _)| SemaphoreIx(ix as u32)));
    }

    /// This semaphore may be able to grant more than before.
    pub(super) fn touch(&mut self, semaphore: SemaphoreIx) {
        self.moved.push(semaphore);
    }

    /// Whether nobody uses this semaphore any more is to be looked at once the operation is over.
    pub(super) fn note_unused(&mut self, semaphore: SemaphoreIx) {
        if self[semaphore].is_transient() && self[semaphore].is_unused() {
            self.unused.push(semaphore);
        }
    }

    /// The first lock of these that a new ask would have to wait for.
    pub(super) fn first_obstacle(&self, locks: &Locks) -> Option<Lock> {
        let is_free =
            |lock: &&Lock| !self.is_closed && self[lock.semaphore].has_room_for(lock.count);
        locks.iter().find(|lock| !is_free(lock)).copied()
    }

    /// A new ask, for locks in walking order, at least one. It is granted as far as possible at
    /// once: afterwards it is among `granted`, or among `asks` under the returned index.
    pub(super) fn ask(&mut self, peer: PeerIx, locks: Locks, now: Timestamp) -> AskIx {
        let arrival = Arrival(self.arrivals);
        self.arrivals += 1;
        for lock in &locks {
            self[lock.semaphore].pending += i128::from(lock.count);
        }
        // Pending asks are fewer than peers, whose number fits a `u32`.
        let ix = AskIx(self.asks.vacant_key() as u32);
        for lock in &locks[1..] {
            self[lock.semaphore].approaching.insert(arrival, ix);
        }
        self.asks.insert(Ask { arrival, peer, since: now, locks, stage: 0 });
        self.walk(ix);
        ix
    }

    /// Ends a pending ask.
    pub(super) fn withdraw(&mut self, ix: AskIx) -> Ask {
        self.step_back(ix, 0);
        let ask = self.asks.remove(ix.0 as usize);
        for lock in &ask.locks {
            let semaphore = &mut self[lock.semaphore];
            semaphore.pending -= i128::from(lock.count);
            semaphore.approaching.remove(&ask.arrival);
            semaphore.standing.remove(&ask.arrival);
            self.note_unused(lock.semaphore);
        }
        ask
    }

    /// Makes one lock of a pending ask smaller. The ask may be granted by that.
    pub(super) fn shrink(&mut self, ix: AskIx, position: usize, count: i64) {
        let ask = &mut self[ix];
        let lock = &mut ask.locks[position];
        let freed = lock.count - count;
        lock.count = count;
        let (semaphore, is_reserved) = (lock.semaphore, position < ask.stage);
        self[semaphore].pending -= i128::from(freed);
        if is_reserved {
            self[semaphore].reserved -= freed;
        }
        self.moved.push(semaphore);
    }

    /// Takes back permits that a peer held.
    pub(super) fn release(&mut self, semaphore: SemaphoreIx, count: i64) {
        self[semaphore].acquired -= count;
        self.moved.push(semaphore);
        self.note_unused(semaphore);
    }

    /// Counts permits as acquired that a restored peer holds, even beyond max. The caller knows
    /// that the sum fits an `i64`.
    pub(super) fn occupy(&mut self, semaphore: SemaphoreIx, count: i64) {
        self[semaphore].acquired += count;
        self.give_way(semaphore);
    }

    /// Takes back reservations, the latest arrival first, as far as there is no room for them: all
    /// of a paused semaphore. So no grant ever raises `acquired` above max.
    pub(super) fn give_way(&mut self, semaphore: SemaphoreIx) {
        while self[semaphore].room() < 0 || self[semaphore].is_paused {
            let Some((_, ix)) = self[semaphore].reserving.last_key_value() else { break };
            let ix = *ix;
            let locks = &self[ix].locks;
            // An ask is in `reserving` of a semaphore only while it has a lock there.
            let Some(stage) = locks.iter().position(|lock| lock.semaphore == semaphore) else {
                break;
            };
            self.step_back(ix, stage);
        }
    }

    /// Asks that want more of this semaphore than there ever is, in the order of their arrival.
    pub(super) fn impossible(&self, semaphore: SemaphoreIx) -> Vec<AskIx> {
        let Semaphore { max, approaching, standing, reserving, .. } = &self[semaphore];
        let is_impossible = |ask: &&AskIx| {
            let mut locks = self[**ask].locks.iter();
            locks.any(|lock| lock.semaphore == semaphore && lock.count > *max)
        };
        let queues = [approaching, standing, reserving].into_iter();
        let mut asks: Vec<_> =
            queues.flat_map(|queue| queue.values()).filter(is_impossible).copied().collect();
        asks.sort_unstable_by_key(|ask| self[*ask].arrival);
        asks
    }

    /// Lets whoever stands at the front of this queue go on, for as long as there is room. Who goes
    /// on to the next semaphore only enters its queue: that one is served later, when all who come
    /// from others that were served before have entered it as well.
    fn serve(&mut self, semaphore: SemaphoreIx, later: &mut Moved) {
        while let Some((_, ix)) = self[semaphore].standing.first_key_value() {
            let ix = *ix;
            let Ask { arrival, stage, ref locks, .. } = self[ix];
            let Semaphore { is_paused, .. } = self[semaphore];
            let is_closed = self.is_closed || is_paused;
            if is_closed || locks[stage].count > self[semaphore].room() {
                break;
            }
            self[semaphore].standing.pop_first();
            let Some(next) = self.reserve(ix) else { continue };
            self[next.semaphore].standing.insert(arrival, ix);
            let order = Reverse(self.walking_order(next.semaphore));
            let place = later.binary_search_by_key(&order, |ix| Reverse(self.walking_order(*ix)));
            if let Err(place) = place {
                later.insert(place, next.semaphore);
            }
        }
    }

    /// Moves a new ask, which stands in no queue yet, as far as it gets.
    fn walk(&mut self, ix: AskIx) {
        let Ask { arrival, ref locks, .. } = self[ix];
        let mut next = locks.first().copied();
        while let Some(lock) = next {
            if self.is_closed || !self[lock.semaphore].has_room_for(lock.count) {
                self[lock.semaphore].standing.insert(arrival, ix);
                return;
            }
            next = self.reserve(ix);
        }
    }

    /// Reserves the permits for which it is an ask's turn. Returns the lock that comes next, in
    /// whose queue the ask does not stand yet; there is none where the ask is granted by that.
    fn reserve(&mut self, ix: AskIx) -> Option<Lock> {
        let ask = &mut self[ix];
        let (arrival, lock) = (ask.arrival, ask.locks[ask.stage]);
        ask.stage += 1;
        let next = ask.locks.get(ask.stage).copied();
        self[lock.semaphore].reserved += lock.count;
        match next {
            Some(next) => {
                self[lock.semaphore].reserving.insert(arrival, ix);
                self[next.semaphore].approaching.remove(&arrival);
            }
            None => self.grant(ix),
        }
        next
    }

    /// All permits of the ask are reserved: they become acquired.
    fn grant(&mut self, ix: AskIx) {
        let ask = self.asks.remove(ix.0 as usize);
        for lock in &ask.locks {
            let semaphore = &mut self[lock.semaphore];
            semaphore.reserved -= lock.count;
            semaphore.acquired += lock.count;
            semaphore.pending -= i128::from(lock.count);
            semaphore.reserving.remove(&ask.arrival);
            debug_assert!(semaphore.acquired <= semaphore.max, "a grant raised acquired above max");
        }
        self.granted.push(ask);
    }

    /// Gives up all reservations from `stage` on, and stands in the queue of `stage` again.
    fn step_back(&mut self, ix: AskIx, stage: usize) {
        let ask = &mut self.asks[ix.0 as usize];
        let arrival = ask.arrival;
        for position in stage..=ask.stage {
            let lock = ask.locks[position];
            let semaphore = &mut self.semaphores[lock.semaphore.0 as usize];
            if position < ask.stage {
                semaphore.reserved -= lock.count;
                semaphore.reserving.remove(&arrival);
            } else {
                semaphore.standing.remove(&arrival);
            }
            let queue = if position == stage {
                &mut semaphore.standing
            } else {
                &mut semaphore.approaching
            };
            queue.insert(arrival, ix);
            self.moved.push(lock.semaphore);
        }
        ask.stage = stage;
    }
}

impl std::ops::Index<SemaphoreIx> for Permits {
    type Output = Semaphore;

    fn index(&self, ix: SemaphoreIx) -> &Semaphore {
        &self.semaphores[ix.0 as usize]
    }
}

impl std::ops::IndexMut<SemaphoreIx> for Permits {
    fn index_mut(&mut self, ix: SemaphoreIx) -> &mut Semaphore {
        &mut self.semaphores[ix.0 as usize]
    }
}

impl std::ops::Index<AskIx> for Permits {
    type Output = Ask;

    fn index(&self, ix: AskIx) -> &Ask {
        &self.asks[ix.0 as usize]
    }
}

impl std::ops::IndexMut<AskIx> for Permits {
    fn index_mut(&mut self, ix: AskIx) -> &mut Ask {
        &mut self.asks[ix.0 as usize]
    }
}
