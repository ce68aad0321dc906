//! The pure room: semaphores, peers, leases and locks, and the rules by which they change.
//!
//! Everything that Throttle decides is decided here, from arguments alone. This room knows no
//! clock, no randomness, no HTTP, no async and no log: the same calls give the same outcome, today,
//! in a test with time as plain numbers, or replayed from a record. (Hash tables are seeded anew in
//! each process; nothing iterates over them.)
//!
//! Start reading at [`Leases`]; how permits are handed out stands in `permits`.

mod about;
mod acquire;
mod catalogue;
mod effects;
mod error;
mod expiry;
mod holdings;
pub mod invariants;
mod leases;
mod peers;
mod permits;
mod queue;
mod restore;
mod rules;
mod semaphore_config;
mod snapshot;
mod timestamp;
mod totals;
mod units;

#[cfg(any(test, feature = "model"))]
pub mod model;
#[cfg(test)]
mod tests;

pub use self::{
    about::{About, breaks_lines, shows},
    acquire::{Asking, NewPeer, Progress, Status, Terms},
    catalogue::{Adjustment, Changes, Kept, Reason},
    effects::{Effect, Effects, Event, Happening},
    error::Error,
    leases::{Leases, Wanted},
    restore::Restored,
    rules::Rules,
    semaphore_config::{Catalogue, SemaphoreConfig, Source, Template},
    snapshot::{
        Holding, NamedLocks, Page, PeerSnapshot, PendingLock, SemaphoreSnapshot, SemaphoreView,
    },
    timestamp::Timestamp,
    totals::{BOUNDS, Durations, Totals},
    units::{Arrival, Held, Lock, Locks, PeerId, SemaphoreIx, Token},
};
