//! Many requests that are parked on one permit; then each that is granted gives it back.

use std::time::Instant;

use anyhow::Result;

use super::{Counting, Tally, expect_ok};
use crate::{
    api::PeerRequest,
    engine::{Load, Reply, Turn},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Waits,
    Holds,
    Releases,
    Done,
}

/// One peer on each connection, which waits once and releases once.
#[derive(Debug)]
pub struct Parked<'a> {
    ids: &'a [u64],
    acquire: PeerRequest,
    release: PeerRequest,
    phases: Vec<Phase>,
    last_event: Instant,
    tally: Tally,
}

impl<'a> Parked<'a> {
    /// One peer for each connection.
    pub fn new(ids: &'a [u64], acquire: PeerRequest, release: PeerRequest) -> Self {
        let phases = vec![Phase::New; ids.len()];
        let (last_event, tally) = (Instant::now(), Tally::default());
        Parked { ids, acquire, release, phases, last_event, tally }
    }

    /// The clock starts: the permit is about to be given back.
    pub fn start_drain(&mut self) {
        self.last_event = Instant::now();
    }

    /// When the last of them was granted.
    pub fn last_grant(&self) -> Instant {
        self.last_event
    }
}

impl Load for Parked<'_> {
    fn turn(&mut self, connection: usize, _: Instant, request: &mut Vec<u8>) -> Turn {
        let (template, next) = match self.phases[connection] {
            Phase::New => (&self.acquire, Phase::Waits),
            Phase::Holds => (&self.release, Phase::Releases),
            Phase::Waits | Phase::Releases | Phase::Done => return Turn::Rest,
        };
        template.write(self.ids[connection], request);
        self.phases[connection] = next;
        Turn::Send
    }

    fn reply(&mut self, connection: usize, reply: &Reply<'_>, now: Instant) -> Result<()> {
        expect_ok(reply)?;
        if self.phases[connection] == Phase::Waits {
            self.tally.add(now - self.last_event);
            self.last_event = now;
            self.phases[connection] = Phase::Holds;
        } else {
            self.phases[connection] = Phase::Done;
        }
        Ok(())
    }
}

impl Counting for Parked<'_> {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
