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
    /// With what a new start of the server may know the peer, while that has not said so yet.
    restored: Option<Wanted>,
    /// Which start of the server granted each.
    granted_by: BTreeMap<usize, u64>,
    /// When the last good request was sent.
    renewed_at: Local,
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
            restored: None,
            granted_by: BTreeMap::new(),
            renewed_at: Local::ZERO,
        }
    }

    /// Takes note of a good answer to a request that was sent then. Returns whether all is well: it
    /// is not where a new start of the server answers that was told of less than is held.
    pub fn renew(&mut self, sent_at: Local, now: Local, answer: &Answer) -> bool {
        let is_new_start = sent_at >= self.renewed_at && !self.is_of(answer.instance);
        let is_well = !is_new_start || !self.has_more(answer.instance);
        if is_new_start {
            self.restored = None;
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
        self.is_known = true;
        self.renewed_at = self.renewed_at.max(sent_at);
        match &mut self.lease {
            Some(lease) => lease.renew(&answer),
            None => self.lease = Some(Lease::begun(self.length, &answer)),
        }
        is_well
    }

    /// When what is held is lost, if nothing happens.
    pub fn ends_at(&self) -> Option<Local> {
        self.lease.as_ref().filter(|_| !self.held.is_empty()).map(Lease::ends_at)
    }

    /// Whether a grant counts. It does not if its answer comes late and from a start of the server
    /// that is gone, after the peer was restored without these locks.
    pub fn counts(&self, sent_at: Local, answer: &Answer) -> bool {
        sent_at >= self.renewed_at || self.is_of(answer.instance)
    }

    /// Enters a grant that counts.
    pub fn grant(&mut self, wanted: &Wanted, token: Option<u64>, instance: u64) {
        self.held.extend(wanted.iter().map(|(ix, count)| (*ix, (*count, token))));
        self.granted_by.extend(wanted.iter().map(|(ix, _)| (*ix, instance)));
    }

    /// Whether it holds what that start of the server was not told of and has not granted.
    pub fn has_more(&self, instance: u64) -> bool {
        let Some(restored) = &self.restored else { return false };
        let others = self.held.keys().filter(|ix| restored.iter().all(|(it, _)| it != *ix));
        others.into_iter().any(|other| self.granted_by.get(other) != Some(&instance))
    }

    /// Whether that start of the server was the last to know it.
    pub fn is_of(&self, instance: u64) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.instance == Some(instance))
    }

    /// As requests spell it.
    pub fn length_ms(&self) -> u64 {
        self.length.as_millis() as u64
    }

    /// Takes note that it is restored, with that.
    pub fn is_back(&mut self, restored: &Wanted) {
        self.restored = Some(restored.clone());
    }

    /// The request that brings it back.
    pub fn restore(&mut self, with_tokens: bool) -> Request {
        let held = self.held.iter().map(|(ix, (count, _))| (*ix, *count));
        let acquired: Wanted = held.collect();
        self.restored.get_or_insert_with(|| acquired.clone());
        let tokens = self.held.iter().filter_map(|(ix, (_, token))| Some((*ix, (*token)?)));
        Request::Restore {
            id: self.peer,
            acquired,
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
