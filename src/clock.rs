//! The only reader of time. Everybody else is told what time it is.
//!
//! It is tokio's monotonic clock, so that a test can pause it; it never goes backwards, and a
//! change of the machine's wall clock does not touch it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
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

/// Tells how long something takes. Costs less than a [`Clock`] that is read twice.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Stopwatch(Instant::now())
    }

    /// The time since it was started.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Tells people what the wall clock showed at a point in time of a [`Clock`].
#[derive(Debug)]
pub struct WallClock {
    clock: Clock,
    /// What the wall clock showed when the other one started. Kept as long as the two go together,
    /// so that a point in time is shown as the same each time.
    origin: Mutex<Duration>,
}

/// The two clocks may drift apart so far before the wall clock counts.
const DRIFT: Duration = Duration::from_millis(100);

impl WallClock {
    /// Beside this clock.
    pub fn beside(clock: Clock) -> Self {
        WallClock { clock, origin: Mutex::default() }
    }

    /// What the wall clock showed at `point`: the time since 1970.
    pub fn at(&self, point: Timestamp) -> Duration {
        let before = self.clock.now();
        let wall = since_1970();
        let after = self.clock.now();
        let mut kept = self.origin.lock();
        let origin = wall.saturating_sub(before.since(Timestamp::default()));
        // Whoever lost the core between the two looks has seen nothing of worth.
        let is_exact = after.since(before) < DRIFT / 4;
        if kept.is_zero() || is_exact && kept.abs_diff(origin) > DRIFT {
            *kept = origin;
        }
        kept.saturating_add(point.since(Timestamp::default()))
    }
}

/// The wall clock: the time since 1970, zero before. For what must outlast a restart or be read by
/// people; leases and waits go by [`Clock`].
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The clock that a holder's lease runs on: the time since the machine was started, that in which
/// it slept included, as the server may have been awake. Never set back.
#[cfg(unix)]
pub fn since_boot() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    // On macOS and BSD, this one goes on in sleep.
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    // It fails for clocks that the system does not have, and these it has.
    #[expect(clippy::expect_used, reason = "without a clock there is no lease")]
    Duration::from(clock_gettime(CLOCK).expect("the system has this clock"))
}

/// The clock that a holder's lease runs on. Here, it may stand still while the machine sleeps.
#[cfg(not(unix))]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn since_boot() -> Duration {
    static STARTED: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    STARTED.get_or_init(Instant::now).elapsed()
}
