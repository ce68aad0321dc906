//! What an operator sets for all peers alike.

use std::time::Duration;

use super::{Error, Timestamp};

/// Limits, and what is special about this start of the server.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// There are never more peers than this.
    pub max_peers: usize,
    /// While there are so many semaphores, none is made from a template.
    pub max_semaphores: usize,
    /// No lease is longer; `None` for any length.
    pub max_expires_in: Option<Duration>,
    /// Nothing is granted before this point in time, so that peers of an earlier start can be
    /// restored first. The origin where there is no such recovery window.
    pub grants_from: Timestamp,
    /// All tokens of this start are greater, and those of earlier starts are not.
    pub tokens_above: u64,
}

impl Default for Rules {
    /// No limits, no recovery window, and tokens from 1 on.
    fn default() -> Self {
        Rules {
            max_peers: usize::MAX,
            max_semaphores: usize::MAX,
            max_expires_in: None,
            grants_from: Timestamp::default(),
            tokens_above: 0,
        }
    }
}

impl Rules {
    /// Refuses a lease that is longer than the maximum.
    pub(super) fn check_lease(&self, expires_in: Duration) -> Result<(), Error> {
        match self.max_expires_in {
            Some(max) if expires_in > max => Err(Error::LeaseTooLong { expires_in, max }),
            _ => Ok(()),
        }
    }
}
