//! What is sent, as the state behind the HTTP interface understands it.

use std::time::Duration;

use super::naive::SEMAPHORES;

/// Semaphores go by number: those of [`SEMAPHORES`], and two that there are not.
pub const NAMES: [&str; 6] =
    [SEMAPHORES[0].0, SEMAPHORES[1].0, SEMAPHORES[2].0, SEMAPHORES[3].0, "X", "tenant-1"];

/// Nobody configured it.
pub const UNKNOWN: usize = 4;
/// A template allows it, but there are as many semaphores as there may be.
pub const TOO_MANY: usize = 5;

/// Semaphores and counts.
pub type Wanted = Vec<(usize, i64)>;

/// A request. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    NewPeer {
        /// Without one, the server draws it.
        id: Option<u64>,
        wanted: Wanted,
        may_queue: bool,
        expires_in: u64,
        block_for: u64,
    },
    /// For one lock, or with `is_whole` for several that are granted together.
    Acquire {
        id: u64,
        wanted: Wanted,
        is_whole: bool,
        may_queue: bool,
        expires_in: Option<u64>,
        block_for: u64,
    },
    Heartbeat {
        id: u64,
        expires_in: u64,
    },
    Release {
        id: u64,
        semaphore: usize,
    },
    RemovePeer {
        id: u64,
    },
    IsAcquired {
        id: u64,
    },
    Remainder {
        semaphore: usize,
    },
    Restore {
        id: u64,
        acquired: Wanted,
        tokens: Vec<(usize, u64)>,
        expires_in: u64,
    },
}

impl Request {
    /// For how long the answer may be held back.
    pub fn park(&self) -> Duration {
        match self {
            Request::NewPeer { block_for, .. } | Request::Acquire { block_for, .. } => {
                Duration::from_millis(*block_for)
            }
            _ => Duration::ZERO,
        }
    }
}

/// What the server makes of a request that it has not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// All that was asked for is held.
    Acquired { peer: u64, token: Option<u64> },
    /// It waits.
    Pending { peer: u64 },
    /// Whatever else there is to say.
    Done,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which start of the server it comes from.
    pub instance: u64,
    /// What is left of the lease, in milliseconds.
    pub expires_in: Option<u64>,
    /// A refusal is named as the naive books name it.
    pub result: Result<Reply, &'static str>,
}

/// What comes back for a request, if anything does.
#[derive(Clone, Debug)]
pub enum Back {
    Answer(Answer),
    /// Nobody listens, or the connection was reset.
    Failed,
}
