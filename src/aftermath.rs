//! What is left to do once the lock of the books is let go: wake, log, nudge.

use log::{info, warn};
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::{
    semaphore::{Effect, Leases, NamedLocks, PeerId},
    waiting::{Outcome, Waiters, Wakes},
};

/// A log line names no more locks than this.
const LONGEST_LIST: usize = 10;

/// Of peers that expire together no more than this are named, each in a line of its own: whoever
/// has lost thousands at once reads no further, and others wait meanwhile.
const MOST_NAMED: usize = 10;

/// Collected under the lock, followed after it.
#[derive(Default)]
pub struct Aftermath {
    waiters: SmallVec<[(Wakes, Outcome); 2]>,
    /// Peers that expired, what people call them, and names and counts of the locks they held.
    expired: Vec<(PeerId, Option<Box<str>>, NamedLocks)>,
    has_recovery_ended: bool,
    /// The litter collection means to sleep for longer than it may.
    pub is_collector_late: bool,
}

impl Aftermath {
    /// Takes out the waiters whom an effect concerns, and notes what is to be logged.
    pub fn add(&mut self, effect: Effect, leases: &Leases, waiters: &mut Waiters) {
        self.waiters.extend(waiters.take(&effect));
        match effect {
            Effect::Expired { peer, name, held } if !held.is_empty() => {
                self.expired.push((peer, name, leases.named(&held)));
            }
            Effect::RecoveryEnded => self.has_recovery_ended = true,
            _ => {}
        }
    }

    /// Wakes, logs and nudges. To be called without the lock.
    pub fn follow(self, nudge: &Notify) {
        for (waiters, outcome) in self.waiters {
            for waiter in waiters {
                // A waiter that has hung up meanwhile has no use for the outcome.
                let _ = waiter.send(outcome);
            }
        }
        if self.is_collector_late {
            nudge.notify_one();
        }
        if self.has_recovery_ended {
            info!(target: "throttle", "recovery window is over, locks are granted from now on");
        }
        let more = self.expired.len().saturating_sub(MOST_NAMED);
        for (peer, name, held) in self.expired.into_iter().take(MOST_NAMED) {
            let named = name.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
            warn!(
                target: "throttle", peer = peer.0, name = name.as_deref(), locks = held.len();
                "expired peer {peer}{named}, held {}", listed(&held)
            );
        }
        if more > 0 {
            warn!(target: "throttle", more; "expired {more} more peers that held locks");
        }
    }
}

/// Names the locks, the first of many.
fn listed(locks: &NamedLocks) -> String {
    let named = locks.iter().take(LONGEST_LIST).map(|(name, count)| format!("{count} of `{name}`"));
    let mut listed = named.collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = locks.len().checked_sub(LONGEST_LIST) {
        listed.push_str(&format!(" and {more} more"));
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let locks = |count| (0..count).map(|ix: i64| (format!("S{ix}").into(), ix + 1)).collect();

        assert_eq!("1 of `S0`, 2 of `S1`", listed(&locks(2)));
        assert!(listed(&locks(10)).ends_with("10 of `S9`"));
        assert!(listed(&locks(12)).ends_with("10 of `S9` and 2 more"));
    }
}
