//! Many clients pass few permits to each other; nobody holds one for longer than it takes to give
//! it back.
//!
//! What is measured is the time from the release that was sent to the grant that was received by
//! whoever came next. How a client asks, waits and releases is for a [`Dialect`].

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{Counting, Tally};
use crate::engine::{Load, Reply, Turn};

/// What an answer means to a client that wants a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It holds the permit.
    Granted,
    /// It does not hold it yet, and has to send the next request.
    NotYet,
    /// It does not hold it yet, and tries again after a pause.
    TryAfter(Duration),
    /// It has given the permit back.
    Released,
}

/// How the clients of one kind of server speak.
pub trait Dialect {
    /// Writes what a client that wants a permit sends next.
    fn ask(&mut self, client: usize, request: &mut Vec<u8>);

    /// Writes what gives the permit back.
    fn release(&mut self, client: usize, request: &mut Vec<u8>);

    /// Reads an answer to either.
    ///
    /// # Errors
    /// Where it is neither a grant, nor a wait, nor a release.
    fn read(&mut self, client: usize, reply: &Reply<'_>) -> Result<Meaning>;
}

impl Dialect for Box<dyn Dialect> {
    fn ask(&mut self, client: usize, request: &mut Vec<u8>) {
        (**self).ask(client, request);
    }

    fn release(&mut self, client: usize, request: &mut Vec<u8>) {
        (**self).release(client, request);
    }

    fn read(&mut self, client: usize, reply: &Reply<'_>) -> Result<Meaning> {
        (**self).read(client, reply)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Wants,
    Pauses(Instant),
    Holds,
}

/// The clients, and what is known of the permits.
#[derive(Debug)]
pub struct HandOff<D> {
    dialect: D,
    max: usize,
    phases: Vec<Phase>,
    /// The asks in the order in which they were sent, and by whom; those that are granted are taken
    /// out.
    queue: VecDeque<usize>,
    is_queued: Vec<bool>,
    /// The releases that no grant was seen for yet.
    released_at: VecDeque<Instant>,
    holders: usize,
    /// Grants of each client.
    pub grants: Vec<u64>,
    /// How many earlier asks a grant overtook at the most.
    pub overtaken: usize,
    /// How often more clients than the semaphore's max believed that they hold a permit.
    pub violations: u64,
    tally: Tally,
}

impl<D: Dialect> HandOff<D> {
    /// So many clients, one a connection, and a semaphore with that max.
    pub fn new(dialect: D, max: usize, clients: usize) -> Self {
        HandOff {
            dialect,
            max,
            phases: vec![Phase::Wants; clients],
            queue: VecDeque::new(),
            is_queued: vec![false; clients],
            released_at: VecDeque::new(),
            holders: 0,
            grants: vec![0; clients],
            overtaken: 0,
            violations: 0,
            tally: Tally::default(),
        }
    }

    /// Jain's index of the grants: 1 where all clients had as many, 1/n where one had them all.
    pub fn fairness(&self) -> f64 {
        let sum: f64 = self.grants.iter().map(|grants| *grants as f64).sum();
        let squares: f64 = self.grants.iter().map(|grants| (*grants as f64).powi(2)).sum();
        sum * sum / (squares * self.grants.len() as f64)
    }

    fn granted(&mut self, client: usize, now: Instant) {
        self.phases[client] = Phase::Holds;
        self.grants[client] += 1;
        self.holders += 1;
        self.violations += u64::from(self.holders > self.max);
        if let Some(position) = self.queue.iter().position(|queued| *queued == client) {
            self.queue.remove(position);
            self.overtaken = self.overtaken.max(position);
            self.is_queued[client] = false;
        }
        if let Some(released_at) = self.released_at.pop_front() {
            self.tally.add(now - released_at);
        }
    }
}

impl<D: Dialect> Load for HandOff<D> {
    fn turn(&mut self, client: usize, now: Instant, request: &mut Vec<u8>) -> Turn {
        match self.phases[client] {
            Phase::Holds => {
                self.dialect.release(client, request);
                self.holders -= 1;
                self.released_at.push_back(now);
                Turn::Send
            }
            Phase::Pauses(until) if until > now => Turn::At(until),
            Phase::Pauses(_) | Phase::Wants => {
                self.dialect.ask(client, request);
                if !std::mem::replace(&mut self.is_queued[client], true) {
                    self.queue.push_back(client);
                }
                Turn::Send
            }
        }
    }

    fn reply(&mut self, client: usize, reply: &Reply<'_>, now: Instant) -> Result<()> {
        match self.dialect.read(client, reply)? {
            Meaning::Granted => self.granted(client, now),
            Meaning::NotYet | Meaning::Released => self.phases[client] = Phase::Wants,
            Meaning::TryAfter(pause) => self.phases[client] = Phase::Pauses(now + pause),
        }
        Ok(())
    }
}

impl<D: Dialect> Counting for HandOff<D> {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// But for who holds and who waits.
    fn begin_anew(&mut self) {
        self.tally = Tally::default();
        self.grants.fill(0);
        (self.overtaken, self.violations) = (0, 0);
    }
}
