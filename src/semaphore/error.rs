//! Why an operation of the pure room was refused. A refusal leaves the books as they were.
//!
//! The texts are those of the wire contract, which published clients read; hence the capitals.

use std::time::Duration;

use thiserror::Error;

use super::PeerId;

/// One variant for each reason.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// No such peer: never made, released, or expired.
    #[error("Unknown peer")]
    UnknownPeer,
    /// No semaphore of that name is configured, and none can be made.
    #[error("Unknown semaphore")]
    UnknownSemaphore,
    /// An ask or a restore names the same semaphore more than once, or none at all.
    #[error("Each semaphore may be named once, and at least one must be. Found: {found}.")]
    BadNames {
        /// The offending name, or `none`.
        found: String,
    },
    /// A lock must claim at least one permit.
    #[error("Lock count must be a positive number. Found: {found}.")]
    CountBelowOne {
        /// The count that was asked for.
        found: i64,
    },
    /// The lock could never be acquired, not even with nobody else around.
    #[error(
        "Lock can never be acquired, it would block forever. Lock asks for count {count} yet full \
         count is only {max}."
    )]
    CountAboveMax {
        /// The count that was asked for.
        count: i64,
        /// The permits that there are.
        max: i64,
    },
    /// The peer holds a lock at the same level or a lower one.
    #[error(
        "Lock hierarchy violation. This may deadlock. Asked for `{semaphore}` at level {level} \
         while holding `{held}` at level {held_level}; a lock must be at a strictly lower level \
         than all that its peer holds. Levels are set in the server's configuration."
    )]
    LevelViolation {
        /// The semaphore that was asked for.
        semaphore: String,
        /// Its level.
        level: i32,
        /// The lowest semaphore that the peer holds.
        held: String,
        /// The level of that one.
        held_level: i32,
    },
    /// The lock exists with a smaller count. Growing while holding can deadlock.
    #[error(
        "Lock hierarchy violation. This may deadlock. Asked for count {count} of `{semaphore}`, of \
         which the peer has a lock of count {existing}; a lock can shrink, but not grow. Release \
         it first."
    )]
    Grow {
        /// The semaphore that was asked for.
        semaphore: String,
        /// The count that was asked for.
        count: i64,
        /// The count of the lock that exists.
        existing: i64,
    },
    /// An ask for several locks matches neither what is pending nor what is acquired.
    #[error(
        "Lock hierarchy violation. This may deadlock. The peer already has a lock of \
         `{semaphore}`, but not just the locks that were asked for. Release it first."
    )]
    PartlyLocked {
        /// A semaphore of which the peer has a lock.
        semaphore: String,
    },
    /// The peer waits for another lock.
    #[error(
        "Already pending. Only one pending lock per peer is allowed. The peer is waiting for \
         `{semaphore}`."
    )]
    AlreadyPending {
        /// The semaphore that the peer waits for, the first one of several.
        semaphore: String,
    },
    /// The ask is not granted at once, and was not meant to wait.
    #[error(
        "Not free: count {count} of `{semaphore}` cannot be acquired at once, and `queue=false` \
         says not to wait for it."
    )]
    WouldWait {
        /// The semaphore that has no room, the first one of several.
        semaphore: String,
        /// The count that was asked for.
        count: i64,
    },
    /// A peer of the chosen id exists, and was not made by this very ask, or has not got all of it
    /// any more.
    #[error(
        "Peer {id} exists already, and is not as this request would make it. Draw another \
         `peer_id`, or ask for its locks with `PUT /peers/{id}`."
    )]
    PeerExists {
        /// The id that was chosen.
        id: PeerId,
    },
    /// The peer was released for good, and its lease would not have ended yet.
    #[error("Peer {id} was revoked. Its locks may be others' by now; start anew as another peer.")]
    Revoked {
        /// The peer that was to come back.
        id: PeerId,
    },
    /// There are as many peers as there may be.
    #[error("Limit `max_peers` reached: there are {max} peers already. Try again later.")]
    TooManyPeers {
        /// How many there may be.
        max: usize,
    },
    /// A template allows the semaphore, and there are as many semaphores as there may be.
    #[error(
        "Limit `max_semaphores` reached: there are {max} semaphores already, and this one would \
         have to be made. Try again later."
    )]
    TooManySemaphores {
        /// How many there may be before none is made any more.
        max: usize,
    },
    /// The lease would be longer than the operator allows.
    #[error(
        "`expires_in` of {expires_in:?} is above the maximum of {max:?}, which the server's \
         configuration sets."
    )]
    LeaseTooLong {
        /// What was asked for.
        expires_in: Duration,
        /// What is allowed.
        max: Duration,
    },
    /// A token to be restored was never granted by an earlier start of the server.
    #[error(
        "Token {token} of `{semaphore}` is none that an earlier start of this server has granted. \
         Expected an integer of 1 to {max}."
    )]
    BadToken {
        /// The semaphore whose token it is.
        semaphore: String,
        /// What was found.
        token: u64,
        /// The greatest that may be restored.
        max: u64,
    },
    /// A token to be restored belongs to none of the locks to be restored.
    #[error("Token for `{semaphore}`, of which no lock is to be restored.")]
    TokenWithoutLock {
        /// The semaphore whose token it is.
        semaphore: String,
    },
    /// The peer exists, but with other locks than those to be restored.
    #[error("Restore is not allowed to change existing peers.")]
    RestoreConflict,
    /// The sum of all acquired counts would leave the range of `i64`.
    #[error(
        "Restore is out of range. Count {count} on top of the {acquired} acquired of `{semaphore}` \
         is more than a 64-bit integer holds."
    )]
    RestoreOverflow {
        /// The semaphore whose sum it is.
        semaphore: String,
        /// The count that was to be restored.
        count: i64,
        /// What is acquired already.
        acquired: i64,
    },
}
