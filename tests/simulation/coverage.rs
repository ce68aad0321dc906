//! How often what was reached: a promise that was never tried is no promise.

use std::{collections::BTreeMap, fmt};

/// Counts by what is counted.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn add(&mut self, other: &Coverage) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.keys().map(|what| what.len()).max().unwrap_or(0);
        for (what, count) in &self.0 {
            writeln!(f, "| {what:width$} | {count:>12} |")?;
        }
        Ok(())
    }
}

/// What has to be reached: all faults, all refusals, and all that there is to be told.
pub const REACHED: [&str; 62] = [
    // Faults.
    "server killed",
    "server shut down",
    "clients paused",
    "clients crashed",
    "clients cut off",
    "clients forked",
    "litter collection stalled",
    "restarts with another configuration",
    "wall clock set forward",
    "messages lost",
    "messages doubled",
    "messages delayed",
    "messages reordered",
    // Operators.
    "semaphores set by hand",
    "semaphores reset",
    "peers revoked",
    "peers released by hand",
    "configurations read again",
    "expired by hand",
    // Refusals.
    "already pending",
    "bad names",
    "bad token",
    "count above max",
    "count below one",
    "grow",
    "lease too long",
    "level",
    "partly locked",
    "peer exists",
    "restore conflict",
    "restore overflow",
    "revoked",
    "still pending",
    "token without lock",
    "too many peers",
    "too many semaphores",
    "too many waiters",
    "unknown peer",
    "unknown semaphore",
    "would wait",
    // What clients learn.
    "a grant came after its lease",
    "a part of the ask was gone",
    "believed",
    "gave up giving back",
    "gave up waiting",
    "lost: it could not be restored",
    "lost: its lease ended by its own clock",
    "lost: the server has expired or released it",
    "restored",
    "shrank",
    "woken: acquired",
    "woken: peer gone",
    "woken: time is over",
    "woken: withdrawn",
    // What is looked at.
    "circles looked for",
    "grants after waiting",
    "over-committed by a lowered max",
    "over-committed by a restore",
    "runs that ended in peace",
    "S2: paused past its lease, and told by its token",
    "S2: released by hand, and told by its token",
    "S2: restarted without a window, and told by its token",
];

/// What the long form has to reach at least once.
pub const RARE: [&str; 3] = [
    "a grant did not count",
    "a heartbeat did not count",
    "lost: granted just before a restart, and restored without it",
];
