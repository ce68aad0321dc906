//! What the books say at one moment, to see whether somebody has changed them.

use std::time::Duration;

use throttle::{
    semaphore::{Page, PeerSnapshot, SemaphoreSnapshot},
    state::{Overview, State},
};

/// All that can be seen of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Books {
    /// All semaphores, in the order of their names.
    pub semaphores: Vec<SemaphoreSnapshot>,
    /// All peers.
    pub peers: Vec<PeerSnapshot>,
    /// How many requests are parked.
    pub waiters: usize,
    /// How long nothing is granted yet.
    pub recovery_left: Option<Duration>,
}

impl Books {
    /// As they are now. What is over by now is gone.
    pub fn of(state: &State) -> Self {
        let Overview { semaphores, waiters, recovery_left, .. } = state.overview();
        let mut peers = state.peers(Page::ALL);
        peers.sort_by_key(|peer| peer.id.0);
        Books { semaphores, peers, waiters, recovery_left }
    }
}
