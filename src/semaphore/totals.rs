//! What ever happened to the locks of one semaphore, for those who draw curves.

use std::time::Duration;

/// The upper bounds of the buckets, from a millisecond to a day: locks are held that differently.
pub const BOUNDS: [Duration; 12] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(6 * 60 * 60),
    Duration::from_secs(24 * 60 * 60),
];

/// How long something took, how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many fall between each of [`BOUNDS`] and the one before; the last are beyond all.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Durations {
    /// Counts one more.
    pub fn observe(&mut self, duration: Duration) {
        let bucket = BOUNDS.iter().position(|bound| duration <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(duration);
    }
}

/// Counts locks since the semaphore was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Granted.
    pub acquired: u64,
    /// Given back.
    pub released: u64,
    /// Lost with the lease of their peer.
    pub expired: u64,
    /// Pending ones that ended without a grant.
    pub cancelled: u64,
    /// Restored.
    pub restored: u64,
    /// From the ask to the grant.
    pub waits: Durations,
    /// From the grant, or from when it was restored, until it was given back or lost.
    pub holds: Durations,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_reach_from_a_millisecond_to_a_day() {
        let seconds = [1, 5, 15, 60, 300, 900, 3_600, 21_600, 86_400];

        assert_eq!([1, 10, 100], *BOUNDS[..3].iter().map(Duration::as_millis).collect::<Vec<_>>());
        assert_eq!(seconds, *BOUNDS[3..].iter().map(Duration::as_secs).collect::<Vec<_>>());
    }

    #[test]
    fn each_duration_falls_into_one_bucket() {
        let mut durations = Durations::default();

        for millis in [0, 1, 2, 10, 86_400_000, 86_400_001] {
            durations.observe(Duration::from_millis(millis));
        }
        durations.observe(Duration::MAX);

        assert_eq!([2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2], durations.buckets);
        assert_eq!(Duration::MAX, durations.sum);
    }
}
