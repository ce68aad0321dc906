//! What an operation did to others than its caller: who was granted, who is gone.
//!
//! Operations append to a list that the caller owns, so that a request allocates nothing. The one
//! door (`State::apply`) empties it after every operation, so that no effect can be forgotten.

use std::time::Duration;

use super::{Arrival, PeerId, Token, peers::HeldLocks};

/// Something that happened to a pending ask or to a peer.
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
    /// A lease ran out, and with it went its peer and these acquired locks.
    Expired {
        /// Whose lease ran out.
        peer: PeerId,
        /// What people call it.
        name: Option<Box<str>>,
        /// The locks that are free again.
        held: HeldLocks,
    },
    /// The recovery window is over: from now on locks are granted.
    RecoveryEnded,
}

/// The effects of one operation, in the order in which they happened.
pub type Effects = Vec<Effect>;
