//! What an operator says of one semaphore.

/// A semaphore's max and its rank in the lock hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SemaphoreConfig {
    /// How many permits there are, 0 or more. 1 makes a mutex; 0 a semaphore that grants nothing.
    pub max: i64,
    /// Rank in the lock hierarchy: a peer that holds locks may only take one at a level strictly
    /// lower than all of theirs. 0 where none is configured.
    pub level: i32,
}

impl SemaphoreConfig {
    /// A semaphore of `max` permits at level 0.
    pub fn new(max: i64) -> Self {
        SemaphoreConfig { max, level: 0 }
    }
}
