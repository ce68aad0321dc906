//! What an operation did to others than its caller: who was granted, who is gone; and what happened
//! to which lock, for those who look on.
//!
//! Operations append to lists that the caller owns, so that a request allocates nothing. The one
//! door (`State::apply`) empties them after every operation, so that nothing can be forgotten.

use std::{sync::Arc, time::Duration};

use super::{About, Arrival, PeerId, Token};

/// What those are told who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The ask was granted: its peer has acquired all locks of it.
    Acquired {
        /// What was granted.
        ask: Arrival,
        /// The token of this grant.
        token: Token,
        /// What is left of the lease at this moment.
        expires_in: Duration,
    },
    /// The ask was cancelled, or its locks shrank: whoever waits for what it was, waits in vain.
    Withdrawn(Arrival),
    /// The ask ended because its peer was released or expired.
    PeerGone(Arrival),
    /// The recovery window is over: from now on locks are granted.
    RecoveryEnded,
}

/// What can happen to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It is acquired, at once or after it was pending.
    Granted,
    /// It was given back, as a whole or in part.
    Released,
    /// It waits.
    Pending,
    /// It was pending, and ended without a grant.
    Cancelled,
    /// It was lost with the lease of its peer.
    Expired,
    /// Its peer came back with it.
    Restored,
}

/// Something that happened to a lock, for those who look on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub happening: Happening,
    /// Whose lock it is.
    pub peer: PeerId,
    /// What people call that peer.
    pub about: Option<About>,
    /// The semaphore's name.
    pub semaphore: Arc<str>,
    /// How many permits.
    pub count: i64,
    /// The token of the lock, if it has one.
    pub token: Option<Token>,
    /// How long it had been pending or acquired before.
    pub after: Duration,
}

/// The effects of one operation, each list in the order in which it happened.
#[derive(Debug)]
pub struct Effects {
    /// For those who wait.
    pub ends: Vec<Effect>,
    /// For those who look on.
    pub events: Vec<Event>,
    /// How many of the events came before the operation changed a semaphore by hand. The others
    /// came of it.
    pub turn: usize,
    /// Whether anybody looks on. Otherwise only what expires is told.
    pub is_followed: bool,
}

impl Effects {
    /// None yet.
    #[expect(clippy::new_without_default, reason = "that somebody looks on is no default")]
    pub fn new() -> Self {
        Effects { ends: Vec::new(), events: Vec::new(), turn: 0, is_followed: true }
    }

    /// Adds one for those who look on, if there are any.
    pub(super) fn tell(&mut self, event: impl FnOnce() -> Event) {
        if self.is_followed {
            self.events.push(event());
        }
    }

    /// Adds one for those who wait.
    pub(super) fn push(&mut self, effect: Effect) {
        self.ends.push(effect);
    }
}
