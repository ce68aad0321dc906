//! What is left to do once the lock of the books is let go: wake, log, nudge.

use std::sync::Arc;

use log::warn;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::{
    semaphore::{Effect, Leases, NamedLocks, PeerId},
    waiting::{Outcome, Waiters, Wakes},
};

/// Collected under the lock, followed after it.
#[derive(Default)]
pub struct Aftermath {
    waiters: SmallVec<[(Wakes, Outcome); 2]>,
    /// Peers that expired, with names and counts of the locks that they held.
    expired: Vec<(PeerId, NamedLocks)>,
    /// The litter collection means to sleep for longer than it may.
    pub is_collector_late: bool,
}

impl Aftermath {
    /// Takes out the waiters whom an effect concerns, and notes what is to be logged.
    pub fn add(&mut self, effect: &Effect, leases: &Leases, waiters: &mut Waiters) {
        self.waiters.extend(waiters.take(effect));
        if let Effect::Expired { peer, held } = effect
            && !held.is_empty()
        {
            self.expired.push((*peer, leases.named(held)));
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
        for (peer, held) in self.expired {
            let held: Vec<_> = held.iter().map(named_lock).collect();
            warn!("expired peer {peer}, held {}", held.join(", "));
        }
    }
}

fn named_lock((name, count): &(Arc<str>, i64)) -> String {
    format!("{count} of `{name}`")
}
