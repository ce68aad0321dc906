//! What is left to do once the lock of the books is let go: wake, log, nudge.

use std::{sync::Arc, time::Duration};

use log::{info, warn};
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::{
    feed::Feed,
    log_text,
    semaphore::{About, Effect, Event, Happening, PeerId},
    waiting::{Outcome, Waiters, Wakes},
};

/// Of peers that expire together no more than this are named, each in a line of its own: whoever
/// has lost thousands at once reads no further, and others wait meanwhile.
const MOST_NAMED: usize = 10;

/// Collected under the lock, followed after it.
#[derive(Default)]
pub struct Aftermath {
    waiters: SmallVec<[(Wakes, Outcome); 2]>,
    expired: Vec<Expired>,
    /// How many more peers expired, and which was the last.
    more_expired: usize,
    last_expired: Option<PeerId>,
    has_recovery_ended: bool,
    /// Whether something happened that others look out for.
    pub has_news: bool,
    /// The litter collection means to sleep for longer than it may.
    pub is_collector_late: bool,
}

/// A peer that expired.
struct Expired {
    peer: PeerId,
    about: Option<About>,
    locks: Vec<Lost>,
}

/// A lock that expired with its peer: the semaphore, how many permits, and how long it was held.
type Lost = (Arc<str>, i64, Duration);

impl Aftermath {
    /// Takes out the waiters whom an effect concerns, and notes what is to be logged.
    pub fn add(&mut self, effect: Effect, waiters: &mut Waiters) {
        self.waiters.extend(waiters.take(&effect));
        self.has_recovery_ended |= matches!(effect, Effect::RecoveryEnded);
    }

    /// Notes what is to be logged of what happened.
    pub fn look_at(&mut self, event: &Event) {
        self.has_news = true;
        if event.happening != Happening::Expired {
            return;
        }
        let is_another = self.last_expired.replace(event.peer) != Some(event.peer);
        if is_another && self.expired.len() == MOST_NAMED {
            self.more_expired += 1;
        } else if is_another {
            let Event { peer, about, .. } = event;
            let (peer, about) = (*peer, about.clone());
            self.expired.push(Expired { peer, about, locks: Vec::new() });
        }
        if let Some(expired) = self.expired.last_mut()
            && expired.peer == event.peer
        {
            expired.locks.push((event.semaphore.clone(), event.count, event.after));
        }
    }

    /// Wakes, logs and nudges. To be called without the lock.
    pub fn follow(self, nudge: &Notify, feed: &Feed) {
        for (waiters, outcome) in self.waiters {
            for waiter in waiters {
                // A waiter that has hung up meanwhile has no use for the outcome.
                let _ = waiter.send(outcome);
            }
        }
        if self.is_collector_late {
            nudge.notify_one();
        }
        if self.has_news {
            feed.wake();
        }
        if self.has_recovery_ended {
            info!(target: "throttle", "recovery window is over, locks are granted from now on");
        }
        for Expired { peer, about, locks } in self.expired {
            let named = log_text::named(peer, about.as_ref());
            let name = about.as_ref().and_then(About::name);
            warn!(
                target: "throttle", peer = peer.0, name, locks = locks.len();
                "expired peer {named}, held {}", listed(&locks)
            );
        }
        if let more @ 1.. = self.more_expired {
            warn!(target: "throttle", more; "expired {more} more peers that held locks");
        }
    }
}

/// Names the locks.
fn listed(locks: &[Lost]) -> String {
    let named = locks.iter().map(|(name, count, held_for)| {
        // Milliseconds of a lock that was held for minutes are of no use to anybody.
        let held_for = match held_for.as_secs() {
            0 => Duration::from_millis(held_for.as_millis() as u64),
            seconds => Duration::from_secs(seconds),
        };
        format!("{count} of `{name}` for {}", humantime::format_duration(held_for))
    });
    log_text::listed(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(count: u64) -> Vec<Lost> {
        (0..count)
            .map(|ix| (format!("S{ix}").into(), 1, Duration::from_millis(720_500 * ix)))
            .collect()
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!("1 of `S0` for 0s, 1 of `S1` for 12m", listed(&lost(2)));
        assert!(listed(&lost(10)).ends_with("1 of `S9` for 1h 48m 4s"));
        assert!(listed(&lost(12)).ends_with(" and 2 more"));
    }

    #[test]
    fn of_many_peers_the_first_are_named_and_the_others_counted() {
        let mut aftermath = Aftermath::default();

        for peer in 0..25 {
            for semaphore in ["A", "B"] {
                aftermath.look_at(&Event {
                    happening: Happening::Expired,
                    peer: PeerId(peer),
                    about: None,
                    semaphore: semaphore.into(),
                    count: 1,
                    token: None,
                    after: Duration::ZERO,
                });
            }
        }

        assert_eq!(10, aftermath.expired.len());
        assert!(aftermath.expired.iter().all(|expired| expired.locks.len() == 2));
        assert_eq!(15, aftermath.more_expired);
    }
}
