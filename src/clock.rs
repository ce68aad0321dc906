//! The only reader of time. Everybody else is told what time it is.
//!
//! It is tokio's monotonic clock, so that a test can pause it; it never goes backwards, and a
//! change of the machine's wall clock does not touch it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};

use crate::semaphore::Timestamp;

/// A sleep longer than this is cut short by the timer anyway, and nobody waits for it.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A clock whose timestamps count from the moment at which it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::new_without_default, reason = "starting a clock is an act, not a default")]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn new() -> Self {
        Clock { origin: Instant::now() }
    }

    /// The time since the clock was made.
    pub fn now(&self) -> Timestamp {
        Timestamp::new(self.origin.elapsed())
    }

    /// Sleeps until `deadline`, not shorter; at once where it has passed.
    pub async fn sleep_until(&self, deadline: Timestamp) {
        let since_origin = deadline.since(Timestamp::default());
        let latest = self.origin + self.origin.elapsed() + FAR;
        let instant = self.origin.checked_add(since_origin).unwrap_or(latest);
        sleep_until(instant.min(latest)).await;
    }
}

/// The wall clock: the time since 1970, zero before. For what must outlast a restart or be read by
/// people; leases and waits go by [`Clock`].
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
