//! The small value types of the pure room: ids, indices, and a lock.

use std::{fmt, num::NonZeroU64};

use smallvec::SmallVec;

use super::Timestamp;

/// Names a peer. Ids drawn by the server lie in 1 ≤ id < 2^53; a restored one is any `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Numbers the asks in the order of their arrival: the place in every queue, and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arrival(pub u64);

/// Where a semaphore lies in the books, for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SemaphoreIx(pub(super) u32);

/// Where a peer lies in the books, for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PeerIx(pub(super) u32);

/// Where a pending ask lies in the books, for as long as it is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AskIx(pub(super) u32);

/// One peer's claim of `count` permits, at least 1, of one semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    /// The semaphore whose permits are claimed.
    pub semaphore: SemaphoreIx,
    /// How many permits, at least 1.
    pub count: i64,
}

/// The locks of one ask, in walking order (see `permits`). Most have a single one, which then costs
/// no allocation.
pub type Locks = SmallVec<[Lock; 1]>;

/// A fencing token: greater than those of all grants before it, also across restarts, and below
/// 2^53 so that JavaScript holds it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(NonZeroU64);

impl Token {
    /// The token of that number; 0 is none.
    pub fn new(number: u64) -> Option<Token> {
        NonZeroU64::new(number).map(Token)
    }

    /// The token that follows that number.
    pub(super) fn after(number: u64) -> Token {
        Token(NonZeroU64::MIN.saturating_add(number))
    }

    /// Its number, at least 1.
    pub fn number(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lock that a peer holds. Its fields lie side by side: one of them is kept for each lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The semaphore whose permits are held.
    pub semaphore: SemaphoreIx,
    /// Where the peer stands among the holders of the semaphore.
    pub(super) place: u32,
    /// How many permits, at least 1.
    pub count: i64,
    /// Drawn when the lock was granted, the same for all locks of one ask. A lock that was restored
    /// without its token has none.
    pub token: Option<Token>,
    /// When the lock was granted or restored.
    pub since: Timestamp,
}

impl Held {
    /// What is held.
    pub fn lock(&self) -> Lock {
        Lock { semaphore: self.semaphore, count: self.count }
    }
}

impl AsRef<SemaphoreIx> for Lock {
    fn as_ref(&self) -> &SemaphoreIx {
        &self.semaphore
    }
}

impl AsRef<SemaphoreIx> for Held {
    fn as_ref(&self) -> &SemaphoreIx {
        &self.semaphore
    }
}
