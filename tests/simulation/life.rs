//! What one peer holds, by the books and by the clock of its client.
//!
//! The lease is that of `throttle run` itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use throttle::{cli::run::lease::Lease, client};

use super::{
    client::Local,
    wire::{Answer, Request, Wanted},
};

/// One lock that the client believes in.
#[derive(Clone, Copy, Debug)]
pub struct Belief {
    pub peer: u64,
    pub semaphore: usize,
    pub count: i64,
    pub token: Option<u64>,
    /// Which start of the server was the last to confirm it.
    pub instance: u64,
}

/// One life of a peer: from its first lock to its last. Ids are not used again.
#[derive(Debug)]
pub struct Life {
    pub peer: u64,
    /// Whether the server was heard to know it.
    pub is_known: bool,
    pub length: Duration,
    /// Before the first good answer there is none.
    pub lease: Option<Lease>,
    /// Counts and tokens.
    pub held: BTreeMap<usize, (i64, Option<u64>)>,
    /// What it has asked for so far. A request that the network held back may still arrive, so
    /// nothing is asked for twice in one life: it would be hit by what was meant for the first.
    pub had: BTreeSet<usize>,
    /// Which start of the server is known to have each of these locks: has granted or restored it.
    known_to: BTreeMap<usize, u64>,
}

impl Life {
    /// A new one, that the server does not know yet.
    pub fn new(peer: u64, length: Duration) -> Self {
        Life {
            peer,
            is_known: false,
            length,
            lease: None,
            held: BTreeMap::new(),
            had: BTreeSet::new(),
            known_to: BTreeMap::new(),
        }
    }

    /// Takes note of a good answer to a request that was sent then. Returns whether it counts: it
    /// does not if it comes from a start of the server that is not known to have all that is held.
    pub fn renew(&mut self, sent_at: Local, now: Local, answer: &Answer) -> bool {
        self.is_known = true;
        if self.is_in_doubt(answer.instance) {
            return false;
        }
        let answer = client::Answer {
            status: 200,
            body: String::new(),
            sent_at,
            received_at: now,
            expires_in: answer.expires_in.map(Duration::from_millis),
            token: None,
            instance: Some(answer.instance),
            retry_after: None,
            is_problem: false,
        };
        match &mut self.lease {
            Some(lease) => lease.renew(&answer),
            None => self.lease = Some(Lease::begun(self.length, &answer)),
        }
        true
    }

    /// When what is held is lost, if nothing happens.
    pub fn ends_at(&self) -> Option<Local> {
        self.lease.as_ref().filter(|_| !self.held.is_empty()).map(Lease::ends_at)
    }

    /// Whether that start of the server is not known to have all that is held.
    pub fn is_in_doubt(&self, instance: u64) -> bool {
        self.held.keys().any(|ix| self.known_to.get(ix) != Some(&instance))
    }

    /// Enters a grant.
    pub fn grant(&mut self, wanted: &Wanted, token: Option<u64>, instance: u64) {
        self.held.extend(wanted.iter().map(|(ix, count)| (*ix, (*count, token))));
        self.confirm(wanted, instance);
    }

    /// Takes note that a start of the server has these locks: it granted or restored them.
    pub fn confirm(&mut self, wanted: &Wanted, instance: u64) {
        self.known_to.extend(wanted.iter().map(|(ix, _)| (*ix, instance)));
    }

    /// Whether that start of the server was the last to know it.
    pub fn is_of(&self, instance: u64) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.instance == Some(instance))
    }

    /// As requests spell it.
    pub fn length_ms(&self) -> u64 {
        self.length.as_millis() as u64
    }

    /// The request that brings it back.
    pub fn restore(&self, with_tokens: bool) -> Request {
        let held = self.held.iter().map(|(ix, (count, _))| (*ix, *count));
        let tokens = self.held.iter().filter_map(|(ix, (_, token))| Some((*ix, (*token)?)));
        Request::Restore {
            id: self.peer,
            acquired: held.collect(),
            tokens: tokens.filter(|_| with_tokens).collect(),
            expires_in: self.length_ms(),
        }
    }

    /// Whether the lease goes on for certain.
    pub fn is_good(&self, now: Local) -> bool {
        self.lease.as_ref().is_some_and(|lease| now < lease.ends_at())
    }

    /// What is held, as others may find it.
    pub fn beliefs(&self) -> impl Iterator<Item = Belief> {
        let instance = self.lease.as_ref().and_then(|lease| lease.instance).unwrap_or(0);
        self.held.iter().map(move |(semaphore, (count, token))| Belief {
            peer: self.peer,
            semaphore: *semaphore,
            count: *count,
            token: *token,
            instance,
        })
    }
}
