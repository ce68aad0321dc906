//! The small value types of the pure room: ids, indices, and a lock.

use std::fmt;

use smallvec::SmallVec;

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

/// Where a semaphore lies in the books. Semaphores are numbered in the order of their names.
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

/// The locks of one peer or one ask. Most have a single one, which then costs no allocation.
pub type Locks = SmallVec<[Lock; 1]>;
