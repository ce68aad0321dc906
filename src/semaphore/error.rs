//! Why an operation of the pure room was refused. A refusal leaves the books as they were.
//!
//! The texts are those of the wire contract, which published clients read; hence the capitals.

use thiserror::Error;

/// One variant for each reason.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// No such peer: never made, released, or expired.
    #[error("Unknown peer")]
    UnknownPeer,
    /// No semaphore of that name is configured.
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
