//! What the server tells of itself, event by event, held against what it promises: no grant above
//! max, first come, first served, tokens that grow, nothing granted in a recovery window or of a
//! semaphore that is paused. And everything that it counts, recounted from that.
//!
//! This knows nothing of the naive books, nor of what was asked: it could follow any server.

use std::collections::BTreeMap;

use throttle::semaphore::{Event, Happening, SemaphoreSnapshot, Totals};

use super::{coverage::Coverage, naive::SEMAPHORES};

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    pub promise: &'static str,
    pub how: String,
}

pub type Kept<T = ()> = Result<T, Broken>;

/// Breaks a promise unless that holds.
pub fn promise(promise: &'static str, is_kept: bool, how: impl FnOnce() -> String) -> Kept {
    if is_kept { Ok(()) } else { Err(Broken { promise, how: how() }) }
}

/// A lock that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLock {
    pub count: i64,
    pub token: Option<u64>,
    /// Whether this start of the server granted it. Strangers restore what nobody ever granted.
    pub is_granted: bool,
}

/// What somebody waits for.
#[derive(Clone, Debug)]
struct Ask {
    arrival: u64,
    locks: BTreeMap<usize, i64>,
}

/// Who holds and who waits, by the events of one start of the server.
#[derive(Debug)]
pub struct Ledger {
    held: BTreeMap<(u64, usize), HeldLock>,
    asks: BTreeMap<u64, Ask>,
    arrivals: u64,
    acquired: [i64; SEMAPHORES.len()],
    totals: [Totals; SEMAPHORES.len()],
    /// As they were told last.
    maxes: [i64; SEMAPHORES.len()],
    paused: [bool; SEMAPHORES.len()],
    /// The greatest token so far, of whatever start of the server, and whose it is.
    latest_token: (u64, u64),
    /// What was granted under it.
    latest_locks: Vec<usize>,
}

/// The number of a semaphore.
pub fn index(name: &str) -> usize {
    let found = SEMAPHORES.iter().position(|(known, ..)| *known == name);
    found.unwrap_or_else(|| panic!("no semaphore `{name}`"))
}

impl Ledger {
    /// Of a server that begins with these maxes, after others that have granted that token last.
    pub fn new(maxes: [i64; SEMAPHORES.len()], latest_token: u64) -> Self {
        Ledger {
            held: BTreeMap::new(),
            asks: BTreeMap::new(),
            arrivals: 0,
            acquired: [0; SEMAPHORES.len()],
            totals: [Totals::default(); SEMAPHORES.len()],
            maxes,
            paused: [false; SEMAPHORES.len()],
            latest_token: (latest_token, u64::MAX),
            latest_locks: Vec::new(),
        }
    }

    pub fn latest_token(&self) -> u64 {
        self.latest_token.0
    }

    /// A semaphore was set.
    pub fn set(&mut self, ix: usize, max: i64, is_paused: bool, coverage: &mut Coverage) {
        if self.acquired[ix] > max && self.acquired[ix] <= self.maxes[ix] {
            coverage.count("over-committed by a lowered max");
        }
        (self.maxes[ix], self.paused[ix]) = (max, is_paused);
    }

    /// A semaphore is gone, with all that was counted of it.
    pub fn forget_totals(&mut self, ix: usize) {
        self.totals[ix] = Totals::default();
    }

    /// The locks that a peer holds.
    pub fn locks_of(&self, peer: u64) -> impl Iterator<Item = (usize, HeldLock)> {
        let locks = self.held.range((peer, 0)..=(peer, usize::MAX));
        locks.map(|((_, ix), lock)| (*ix, *lock))
    }

    /// How many locks are held.
    pub fn locks(&self) -> usize {
        self.held.len()
    }

    /// What is counted of a semaphore.
    pub fn totals(&self, ix: usize) -> &Totals {
        &self.totals[ix]
    }

    /// A lock.
    pub fn lock(&self, peer: u64, ix: usize) -> Option<HeldLock> {
        self.held.get(&(peer, ix)).copied()
    }

    /// The greatest token of those who were granted a semaphore, and hold it.
    pub fn greatest_token(&self, ix: usize) -> Option<u64> {
        let holders = self.held.iter().filter(|((_, at), _)| *at == ix);
        holders.filter(|(_, lock)| lock.is_granted).filter_map(|(_, lock)| lock.token).max()
    }

    /// Whether some holder of a semaphore has that token: what a resource asks the server.
    pub fn is_current(&self, ix: usize, token: u64) -> bool {
        self.held.iter().any(|((_, at), lock)| *at == ix && lock.token == Some(token))
    }

    /// Enters what has happened. `is_closed` says whether a recovery window lasts.
    pub fn enter(&mut self, event: &Event, is_closed: bool, coverage: &mut Coverage) -> Kept {
        let (peer, ix) = (event.peer.0, index(&event.semaphore));
        let token = event.token.map(|token| token.number());
        match event.happening {
            Happening::Pending => {
                let arrival = self.arrivals;
                let ask = Ask { arrival, locks: BTreeMap::new() };
                self.asks.entry(peer).or_insert(ask).locks.insert(ix, event.count);
                self.arrivals += 1;
            }
            Happening::Granted => return self.grant(event, is_closed, coverage),
            Happening::Cancelled => {
                if self.wait_less(peer, ix, event.count)? {
                    self.totals[ix].cancelled += 1;
                }
            }
            Happening::Released | Happening::Expired => {
                let Some(held) = self.held.get_mut(&(peer, ix)) else {
                    return Err(accounting(format!("{event:?} of what was not held")));
                };
                let is_as_told = held.token == token && held.count >= event.count;
                promise(ACCOUNTING, is_as_told, || format!("{event:?}, but held was {held:?}"))?;
                held.count -= event.count;
                self.acquired[ix] -= event.count;
                if held.count == 0 {
                    self.held.remove(&(peer, ix));
                    let totals = &mut self.totals[ix];
                    totals.holds.observe(event.after);
                    *match event.happening {
                        Happening::Expired => &mut totals.expired,
                        _ => &mut totals.released,
                    } += 1;
                }
            }
            Happening::Restored => {
                self.totals[ix].restored += 1;
                self.acquired[ix] += event.count;
                if self.acquired[ix] > self.maxes[ix] {
                    coverage.count("over-committed by a restore");
                }
                self.held
                    .insert((peer, ix), HeldLock { count: event.count, token, is_granted: false });
            }
        }
        Ok(())
    }

    fn grant(&mut self, event: &Event, is_closed: bool, coverage: &mut Coverage) -> Kept {
        let (peer, ix, count) = (event.peer.0, index(&event.semaphore), event.count);
        let (acquired, max) = (self.acquired[ix] + count, self.maxes[ix]);
        coverage.count("grants");
        promise(S1, acquired <= max, || format!("{event:?} makes {acquired} of {max}"))?;
        promise(PAUSED, !self.paused[ix], || format!("{event:?} of a paused semaphore"))?;
        promise(RECOVERY, !is_closed, || format!("{event:?} while the recovery window lasts"))?;
        let Some(token) = event.token.map(|token| token.number()) else {
            return Err(Broken { promise: TOKENS, how: format!("{event:?} has no token") });
        };
        // The locks of one ask share theirs.
        let is_shared = (token, peer) == self.latest_token && !self.latest_locks.contains(&ix);
        let is_new = token > self.latest_token.0;
        promise(TOKENS, is_new || is_shared, || {
            format!("{event:?} after token {:?}", self.latest_token)
        })?;
        if is_new {
            self.latest_token = (token, peer);
            self.latest_locks.clear();
        }
        self.latest_locks.push(ix);
        let arrival = self.asks.get(&peer).map_or(u64::MAX, |ask| ask.arrival);
        if arrival != u64::MAX {
            coverage.count("grants after waiting");
            self.wait_less(peer, ix, count)?;
        }
        // An ask for one semaphore stands in its queue for as long as it waits: whoever came later
        // stands behind it.
        let earlier = self.asks.iter().find(|(_, ask)| {
            ask.arrival < arrival && ask.locks.len() == 1 && ask.locks.contains_key(&ix)
        });
        promise(FIFO, earlier.is_none(), || format!("{event:?} before {earlier:?}"))?;
        let before =
            self.held.insert((peer, ix), HeldLock { count, token: Some(token), is_granted: true });
        promise(ACCOUNTING, before.is_none(), || format!("{event:?}, but held was {before:?}"))?;
        self.acquired[ix] = acquired;
        self.totals[ix].acquired += 1;
        self.totals[ix].waits.observe(event.after);
        Ok(())
    }

    /// A pending lock is granted, ends, or shrinks. Returns whether it waits no more.
    fn wait_less(&mut self, peer: u64, ix: usize, count: i64) -> Kept<bool> {
        let not_there = || accounting(format!("peer {peer} did not wait for {count} of {ix}"));
        let ask = self.asks.get_mut(&peer).ok_or_else(not_there)?;
        let pending = ask.locks.get_mut(&ix).filter(|pending| **pending >= count);
        let pending = pending.ok_or_else(not_there)?;
        *pending -= count;
        let is_over = *pending == 0;
        if is_over {
            ask.locks.remove(&ix);
        }
        if ask.locks.is_empty() {
            self.asks.remove(&peer);
        }
        Ok(is_over)
    }

    /// Whether everything that is counted of a semaphore is what it comes to.
    pub fn check_counts(&self, ix: usize, shown: &SemaphoreSnapshot) -> Kept {
        let asks = self.asks.values().filter_map(|ask| ask.locks.get(&ix));
        let locks = self.held.keys().filter(|(_, at)| *at == ix);
        let recounted = (self.acquired[ix], asks.clone().map(|count| i128::from(*count)).sum());
        let numbers = (locks.count(), asks.count());
        let is_right = recounted == (shown.acquired, shown.pending)
            && numbers == (shown.holders, shown.waiting)
            && self.totals[ix] == shown.totals;
        promise(ACCOUNTING, is_right, || {
            format!("{shown:?}, but {recounted:?}, {numbers:?}, {:?}", self.totals[ix])
        })
    }
}

pub const S1: &str = "no grant raises what is acquired above max (S1)";
pub const S2: &str = "no two clients believe in a permit that is one (S2)";
pub const FIFO: &str = "first come, first served";
pub const PAUSED: &str = "nothing is granted of a paused semaphore";
pub const RECOVERY: &str = "nothing is granted in a recovery window";
pub const TOKENS: &str = "tokens grow with each grant, across restarts";
pub const ACCOUNTING: &str = "what is counted equals a recount";
pub const BOOKS: &str = "the books are those of the naive model";
pub const INVARIANTS: &str = "no invariant breaks, and nothing panics";
pub const WOKEN: &str = "whoever can go is told in the same step";
pub const GHOSTS: &str = "an ask of a dead client leaves within its lease";
pub const LEVELS: &str = "peers never wait for each other in a circle";
pub const PROGRESS: &str = "in peace everybody gets what they ask for";

fn accounting(how: String) -> Broken {
    Broken { promise: ACCOUNTING, how }
}
