//! Each connection does its requests in turn, again and again, as fast as they are answered.

use std::time::Instant;

use anyhow::Result;

use super::{Counting, Tally, expect_ok};
use crate::{
    api::PeerRequest,
    engine::{Connections, Load, Reply, Turn},
};

/// The requests of each connection. All must be answered with 200.
#[derive(Debug, Default)]
pub struct Cycle {
    requests: Vec<Vec<Vec<u8>>>,
    next: Vec<usize>,
    tally: Tally,
}

impl Cycle {
    /// `requests` has those of each connection.
    pub fn new(requests: Vec<Vec<Vec<u8>>>) -> Self {
        Cycle { next: vec![0; requests.len()], requests, ..Cycle::default() }
    }

    /// Acquire and release, each peer for itself: nobody waits.
    pub fn of_peers(connections: &Connections, ids: &[u64], semaphore: &str) -> Self {
        let address = connections.address();
        let acquire = PeerRequest::acquire(address, semaphore, None);
        let release = PeerRequest::release(address, semaphore);
        let both = |id: &u64| {
            let write = |template: &PeerRequest| {
                let mut request = Vec::new();
                template.write(*id, &mut request);
                request
            };
            vec![write(&acquire), write(&release)]
        };
        Cycle::new(ids.iter().map(both).collect())
    }

    /// The requests of each connection.
    pub fn into_requests(self) -> Vec<Vec<Vec<u8>>> {
        self.requests
    }
}

impl Load for Cycle {
    fn turn(&mut self, connection: usize, _: Instant, request: &mut Vec<u8>) -> Turn {
        let requests = &self.requests[connection];
        let next = &mut self.next[connection];
        request.extend_from_slice(&requests[*next]);
        *next = (*next + 1) % requests.len();
        Turn::Send
    }

    fn reply(&mut self, _: usize, reply: &Reply<'_>, _: Instant) -> Result<()> {
        self.tally.add(reply.waited);
        expect_ok(reply)
    }
}

impl Counting for Cycle {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
