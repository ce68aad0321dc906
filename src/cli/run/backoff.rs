//! The pauses between tries.

use std::time::Duration;

use crate::ids::random_share;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// Whatever a server asks for, it is tried again by then.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(30);

/// Longer and longer pauses, and never quite the same.
#[derive(Clone, Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Backoff(FIRST)
    }
}

impl Backoff {
    /// How long to wait now: at least what the server asks for, within reason.
    pub fn next(&mut self, asked_for: Option<Duration>) -> Duration {
        let pause = self.0.mul_f64(random_share(0.5, 1.0));
        self.0 = (self.0 * 2).min(LONGEST);
        let asked_for = asked_for.unwrap_or_default().min(LONGEST_ASKED_FOR);
        pause.max(asked_for.mul_f64(random_share(1.0, 1.2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_two_seconds() {
        let mut backoff = Backoff::default();

        let pauses: Vec<_> = (0..10).map(|_| backoff.next(None)).collect();

        assert!(pauses[0] < FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses[9] >= LONGEST / 2 && pauses[9] < LONGEST);
    }

    #[test]
    fn server_is_left_alone_for_as_long_as_it_asks() {
        let mut backoff = Backoff::default();

        assert!(backoff.next(Some(Duration::from_secs(5))) >= Duration::from_secs(5));
        assert!(backoff.next(Some(Duration::from_secs(500))) <= Duration::from_secs(36));
    }
}
