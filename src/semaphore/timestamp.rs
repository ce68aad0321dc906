//! Points in time, as the pure room sees them: plain numbers that somebody hands in.
//!
//! Reading a clock is not done here; `clock.rs` does that.

use std::time::Duration;

/// A point in time: nanoseconds since an origin that the caller chose, on a clock that never goes
/// backwards. Reaches 584 years; arithmetic saturates there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest point in time; a deadline that lies there is never reached.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The point that lies `since_origin` after the origin.
    pub fn new(since_origin: Duration) -> Self {
        Timestamp(u64::try_from(since_origin.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The point that lies `duration` later, at most [`Timestamp::MAX`].
    pub fn after(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_add(Timestamp::new(duration).0))
    }

    /// The time from `earlier` until `self`, zero where `earlier` is the later one.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
