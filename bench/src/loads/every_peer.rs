//! The same request for one peer after the other, as fast as they are answered: heartbeats.

use std::time::Instant;

use anyhow::Result;

use super::{Counting, Tally, expect_ok};
use crate::{
    api::PeerRequest,
    engine::{Load, Reply, Turn},
};

/// Peers that were made one after the other lie side by side in a server's memory. They do not beat
/// in that order, so each step goes this far: a prime, which leads past all of them.
const STRIDE: usize = 611_953;

/// Goes round and round over many peers.
#[derive(Debug)]
pub struct EveryPeer {
    ids: Vec<u64>,
    next: usize,
    request: PeerRequest,
    tally: Tally,
}

impl EveryPeer {
    /// Does `request` for each of these peers, at least one.
    pub fn new(ids: Vec<u64>, request: PeerRequest) -> Self {
        EveryPeer { ids, next: 0, request, tally: Tally::default() }
    }
}

impl Load for EveryPeer {
    fn turn(&mut self, _: usize, _: Instant, request: &mut Vec<u8>) -> Turn {
        self.request.write(self.ids[self.next], request);
        self.next = (self.next + STRIDE) % self.ids.len();
        Turn::Send
    }

    fn reply(&mut self, _: usize, reply: &Reply<'_>, _: Instant) -> Result<()> {
        self.tally.add(reply.waited);
        expect_ok(reply)
    }
}

impl Counting for EveryPeer {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
