//! The naive books themselves: plain lists, recounted whenever somebody asks. Whoever wants to hold
//! the real ones against them does to both what the contract says, and compares.
//!
//! They know no clock, no tokens and no names but those of [`SEMAPHORES`].

use std::collections::BTreeMap;

use super::Error;

/// Name, max and level of each semaphore, in walking order.
pub const SEMAPHORES: [(&str, i64, i32); 4] = [("D", 2, 7), ("B", 3, 1), ("C", 1, 1), ("A", 5, 0)];

/// The max of each semaphore that a configuration names.
pub type Maxes = [Option<i64>; SEMAPHORES.len()];

/// How many permits of which semaphores, by index into [`SEMAPHORES`].
pub type Counts = BTreeMap<usize, i64>;

#[derive(Clone, Debug)]
pub struct ModelPeer {
    pub valid_until: u64,
    pub held: Counts,
    pub ask: Option<ModelAsk>,
    /// The ask that made the peer, while no part of it was given back.
    pub origin: Option<Counts>,
    /// Of the locks that are held. The model does not draw tokens; it takes note of them.
    pub tokens: BTreeMap<usize, u64>,
}

#[derive(Clone, Debug)]
pub struct ModelAsk {
    pub arrival: u64,
    /// By index into `SEMAPHORES`, hence in walking order.
    pub locks: Counts,
    pub reserved: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct ModelSemaphore {
    /// As it was set last.
    pub max: i64,
    pub paused: bool,
    /// As it was configured last.
    pub configured: i64,
    /// Whether the configuration names it.
    pub offered: bool,
    /// Whether it is there at all.
    pub exists: bool,
}

impl ModelSemaphore {
    pub fn new(max: i64) -> Self {
        ModelSemaphore { max, paused: false, configured: max, offered: true, exists: true }
    }
}

/// What was set at the start.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_peers: usize,
    /// Tokens of an earlier start are at most this.
    pub tokens_above: u64,
    /// When a recovery window ends.
    pub grants_from: u64,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub semaphores: [ModelSemaphore; SEMAPHORES.len()],
    pub peers: BTreeMap<u64, ModelPeer>,
    pub arrivals: u64,
    pub now: u64,
    pub limits: Limits,
    /// Who must not come back, and until when.
    pub revoked: BTreeMap<u64, u64>,
}

impl ModelPeer {
    pub fn new(valid_until: u64, held: Counts) -> Self {
        ModelPeer { valid_until, held, ask: None, origin: None, tokens: BTreeMap::new() }
    }

    pub fn has(&self, semaphore: usize) -> bool {
        let ask = self.ask.as_ref();
        self.held.contains_key(&semaphore)
            || ask.is_some_and(|ask| ask.locks.contains_key(&semaphore))
    }

    pub fn is_pending(&self, locks: &Counts) -> bool {
        self.ask.as_ref().is_some_and(|ask| ask.locks == *locks)
    }

    pub fn holds(&self, locks: &Counts) -> bool {
        locks.iter().all(|(ix, count)| self.held.get(ix) == Some(count))
    }

    /// Part of what it has is given back or shrinks.
    pub fn part(&mut self, semaphore: usize) {
        self.origin.take_if(|origin| origin.contains_key(&semaphore));
    }
}

impl Model {
    pub fn new(limits: Limits) -> Self {
        Model {
            semaphores: SEMAPHORES.map(|(_, max, _)| ModelSemaphore::new(max)),
            peers: BTreeMap::new(),
            arrivals: 0,
            now: 0,
            limits,
            revoked: BTreeMap::new(),
        }
    }

    pub fn acquired(&self, semaphore: usize) -> i64 {
        self.peers.values().filter_map(|peer| peer.held.get(&semaphore)).sum()
    }

    pub fn reserved(&self, semaphore: usize) -> i64 {
        let asks = self.peers.values().filter_map(|peer| peer.ask.as_ref());
        asks.filter_map(|ask| ask.locks.iter().take(ask.reserved).find(|(ix, _)| **ix == semaphore))
            .map(|(_, count)| count)
            .sum()
    }

    pub fn room(&self, semaphore: usize) -> i64 {
        self.semaphores[semaphore].max - self.acquired(semaphore) - self.reserved(semaphore)
    }

    /// Peers whose asks stand in the queue of this semaphore, and their counts, in arrival order.
    pub fn standing(&self, semaphore: usize) -> Vec<(u64, i64)> {
        let mut standing: Vec<_> = self
            .peers
            .iter()
            .filter_map(|(id, peer)| {
                let ask = peer.ask.as_ref()?;
                let (ix, count) = ask.locks.iter().nth(ask.reserved)?;
                (*ix == semaphore).then_some((ask.arrival, (*id, *count)))
            })
            .collect();
        standing.sort();
        standing.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Takes back reservations where more is acquired than there is, then serves all queues.
    pub fn settle(&mut self) {
        for semaphore in 0..SEMAPHORES.len() {
            while self.room(semaphore) < 0 || self.semaphores[semaphore].paused {
                let reserving = self.peers.values_mut().filter_map(|peer| peer.ask.as_mut());
                let latest = reserving
                    .filter(|ask| ask.locks.keys().take(ask.reserved).any(|ix| *ix == semaphore))
                    .max_by_key(|ask| ask.arrival);
                let Some(ask) = latest else { break };
                ask.reserved = ask.locks.keys().position(|ix| *ix == semaphore).unwrap();
            }
        }
        if self.now < self.limits.grants_from {
            return;
        }
        for semaphore in 0..SEMAPHORES.len() {
            while let Some((id, count)) = self.standing(semaphore).first().copied()
                && count <= self.room(semaphore)
                && !self.semaphores[semaphore].paused
            {
                let peer = self.peers.get_mut(&id).unwrap();
                let ask = peer.ask.as_mut().unwrap();
                ask.reserved += 1;
                if ask.reserved == ask.locks.len() {
                    peer.held.append(&mut peer.ask.take().unwrap().locks);
                }
            }
        }
    }

    /// Pending asks by arrival: whose they are, and for what.
    pub fn asks(&self) -> BTreeMap<u64, (u64, Counts)> {
        let ask = |(id, peer): (&u64, &ModelPeer)| {
            peer.ask.as_ref().map(|ask| (ask.arrival, (*id, ask.locks.clone())))
        };
        self.peers.iter().filter_map(ask).collect()
    }

    /// Returns who expired.
    pub fn expire(&mut self, now: u64) -> Vec<u64> {
        self.now = now;
        let ended = self.peers.iter().filter(|(_, peer)| peer.valid_until <= now);
        let expired = ended.map(|(id, _)| *id).collect();
        self.peers.retain(|_, peer| peer.valid_until > now);
        self.settle();
        expired
    }

    /// What left the configuration is gone once nobody uses it, and with it what was set by hand.
    pub fn sweep(&mut self) {
        for ix in 0..SEMAPHORES.len() {
            let is_used = self.peers.values().any(|peer| peer.has(ix));
            if !self.semaphores[ix].offered && !is_used {
                self.semaphores[ix].exists = false;
            }
        }
    }

    /// Sets max, or pauses, or both.
    pub fn adjust(&mut self, semaphore: usize, max: i64, paused: bool) {
        let semaphore = &mut self.semaphores[semaphore];
        (semaphore.max, semaphore.paused) = (max, paused);
        self.withdraw_impossible();
        self.settle();
    }

    /// Another configuration. Returns who is added, changed, removed, and kept as it was set.
    pub fn configure(&mut self, maxes: Maxes) -> [Vec<usize>; 4] {
        let [mut added, mut changed, mut removed, mut kept] = [const { Vec::new() }; 4];
        for (ix, configured) in maxes.into_iter().enumerate() {
            let semaphore = &mut self.semaphores[ix];
            let before = *semaphore;
            semaphore.offered = configured.is_some();
            match configured {
                None if before.offered => removed.push(ix),
                None => {}
                Some(max) if !before.exists => {
                    *semaphore = ModelSemaphore::new(max);
                    added.push(ix);
                }
                Some(max) => {
                    semaphore.configured = max;
                    if before.max == before.configured {
                        semaphore.max = max;
                    } else if before.max != max {
                        kept.push(ix);
                    }
                    match before {
                        ModelSemaphore { offered: false, .. } => added.push(ix),
                        ModelSemaphore { configured, .. } if configured != max => changed.push(ix),
                        _ => {}
                    }
                }
            }
        }
        self.withdraw_impossible();
        self.settle();
        [added, changed, removed, kept]
    }

    /// Whoever asks for more than there ever is waits in vain.
    pub fn withdraw_impossible(&mut self) {
        for peer in self.peers.values_mut() {
            let is_impossible = |(ix, count): (&usize, &i64)| *count > self.semaphores[*ix].max;
            let ask = peer.ask.take_if(|ask| ask.locks.iter().any(is_impossible));
            ask.iter().flat_map(|ask| ask.locks.keys()).for_each(|ix| peer.part(*ix));
        }
    }

    /// Whether there are all of these.
    pub fn check_exist<'a>(
        &self,
        mut wanted: impl Iterator<Item = &'a usize>,
    ) -> Result<(), &'static str> {
        let exist = wanted.all(|ix| self.semaphores[*ix].exists);
        if exist { Ok(()) } else { Err("unknown semaphore") }
    }

    /// Whether somebody new may have them.
    pub fn check_are_offered(&self, wanted: &Counts) -> Result<(), &'static str> {
        let are_offered = wanted.keys().all(|ix| self.semaphores[*ix].offered);
        if are_offered { Ok(()) } else { Err("unknown semaphore") }
    }

    pub fn check_counts(&self, wanted: &Counts) -> Result<(), &'static str> {
        if wanted.iter().any(|(ix, count)| *count > self.semaphores[*ix].max) {
            return Err("count above max");
        }
        if wanted.values().any(|count| *count < 1) { Err("count below one") } else { Ok(()) }
    }

    pub fn check_may_enter(&self, id: u64) -> Result<(), &'static str> {
        if self.revoked.get(&id).is_some_and(|until| *until > self.now) {
            return Err("revoked");
        }
        if self.peers.len() >= self.limits.max_peers { Err("too many peers") } else { Ok(()) }
    }

    /// Whether what is wanted is there already, held or pending; then nothing else is looked at.
    pub fn is_repeated(&self, id: u64, wanted: &Counts, is_whole: bool) -> bool {
        let Some(peer) = self.peers.get(&id) else { return false };
        let (ix, count) = wanted.first_key_value().unwrap();
        let within = |locks: &Counts| locks.get(ix).is_some_and(|has| (1..=*has).contains(count));
        if is_whole {
            return peer.holds(wanted) || peer.is_pending(wanted);
        }
        within(&peer.held) || peer.ask.as_ref().is_some_and(|ask| within(&ask.locks))
    }

    pub fn check_acquire(&self, id: u64, wanted: &Counts, whole: bool) -> Result<(), &'static str> {
        self.check_are_offered(wanted)?;
        self.check_counts(wanted)?;
        let peer = self.peers.get(&id).ok_or("unknown peer")?;
        if wanted.keys().any(|ix| peer.has(*ix)) {
            return Err(if whole { "partly locked" } else { "grow" });
        }
        let lowest = peer.held.keys().map(|ix| SEMAPHORES[*ix].2).min();
        if lowest.is_some_and(|lowest| wanted.keys().any(|ix| SEMAPHORES[*ix].2 >= lowest)) {
            return Err("level");
        }
        if peer.ask.is_some() { Err("already pending") } else { Ok(()) }
    }

    /// Returns whether the peer holds all of it afterwards. Whoever may not queue and would have to
    /// changes nothing: the whole world is put back.
    pub fn acquire(
        &mut self,
        id: u64,
        wanted: &Counts,
        whole: bool,
        may_queue: bool,
    ) -> Result<bool, &'static str> {
        self.check_exist(wanted.keys())?;
        if !self.is_repeated(id, wanted, whole) {
            self.check_acquire(id, wanted, whole)?;
            let before = self.clone();
            let is_granted = self.ask(id, wanted);
            if !is_granted && !may_queue {
                *self = before;
                return Err("would wait");
            }
            return Ok(is_granted);
        }
        let peer = self.peers.get_mut(&id).unwrap();
        let is_held = wanted.keys().all(|ix| peer.held.contains_key(ix));
        if !is_held && !may_queue {
            return Err("would wait");
        }
        let locks = if is_held { &mut peer.held } else { &mut peer.ask.as_mut().unwrap().locks };
        let shrunk = wanted.iter().find(|(ix, count)| locks[ix] != **count);
        let shrunk = shrunk.map(|(ix, _)| *ix);
        locks.extend(wanted);
        shrunk.into_iter().for_each(|ix| peer.part(ix));
        self.settle();
        Ok(self.peers[&id].ask.is_none() || is_held)
    }

    /// A new ask; returns whether it is granted at once.
    pub fn ask(&mut self, id: u64, wanted: &Counts) -> bool {
        let ask = ModelAsk { arrival: self.arrivals, locks: wanted.clone(), reserved: 0 };
        self.arrivals += 1;
        self.peers.get_mut(&id).unwrap().ask = Some(ask);
        self.settle();
        self.peers[&id].ask.is_none()
    }

    pub fn new_peer(
        &mut self,
        id: u64,
        wanted: &Counts,
        until: u64,
        may_queue: bool,
    ) -> Result<bool, &'static str> {
        self.check_exist(wanted.keys())?;
        if let Some(peer) = self.peers.get_mut(&id) {
            let is_held = peer.holds(wanted);
            if peer.origin.as_ref() != Some(wanted) || !(is_held || peer.is_pending(wanted)) {
                return Err("peer exists");
            }
            if !is_held && !may_queue {
                return Err("would wait");
            }
            peer.valid_until = until;
            return Ok(is_held);
        }
        self.check_are_offered(wanted)?;
        self.check_counts(wanted)?;
        self.check_may_enter(id)?;
        let before = self.clone();
        let peer = ModelPeer::new(until, Counts::new());
        self.peers.insert(id, ModelPeer { origin: Some(wanted.clone()), ..peer });
        let is_granted = wanted.is_empty() || self.ask(id, wanted);
        if !is_granted && !may_queue {
            *self = before;
            return Err("would wait");
        }
        Ok(is_granted)
    }

    pub fn release(&mut self, id: u64, semaphore: usize) -> Result<(), &'static str> {
        self.check_exist([semaphore].iter())?;
        let peer = self.peers.get_mut(&id).ok_or("unknown peer")?;
        if peer.has(semaphore) {
            peer.part(semaphore);
        }
        peer.held.remove(&semaphore);
        peer.ask.take_if(|ask| ask.locks.contains_key(&semaphore));
        self.settle();
        Ok(())
    }

    pub fn restore(
        &mut self,
        id: u64,
        held: &Counts,
        tokens: &BTreeMap<usize, u64>,
        until: u64,
    ) -> Result<(), &'static str> {
        self.check_exist(held.keys())?;
        if held.values().any(|count| *count < 1) {
            return Err("count below one");
        }
        if tokens.values().any(|token| *token == 0) {
            return Err("bad token");
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            let is_same = tokens.iter().all(|(ix, token)| peer.tokens.get(ix) == Some(token));
            if peer.ask.is_some() || peer.held != *held || !is_same {
                return Err("restore conflict");
            }
            peer.valid_until = until;
            return Ok(());
        }
        self.check_are_offered(held)?;
        for (ix, count) in held {
            if tokens.get(ix).is_some_and(|token| *token > self.limits.tokens_above) {
                return Err("bad token");
            }
            if self.acquired(*ix).checked_add(*count).is_none() {
                return Err("restore overflow");
            }
        }
        self.check_may_enter(id)?;
        let peer = ModelPeer::new(until, held.clone());
        self.peers.insert(id, ModelPeer { tokens: tokens.clone(), ..peer });
        self.settle();
        Ok(())
    }

    pub fn revoke(&mut self, id: u64) -> bool {
        let Some(peer) = self.peers.remove(&id) else { return false };
        self.revoked.insert(id, peer.valid_until);
        self.settle();
        true
    }
}

/// What a refusal of the pure room is called here.
pub fn reason(error: &Error) -> &'static str {
    match error {
        Error::UnknownPeer => "unknown peer",
        Error::CountBelowOne { .. } => "count below one",
        Error::CountAboveMax { .. } => "count above max",
        Error::LevelViolation { .. } => "level",
        Error::Grow { .. } => "grow",
        Error::PartlyLocked { .. } => "partly locked",
        Error::AlreadyPending { .. } => "already pending",
        Error::WouldWait { .. } => "would wait",
        Error::PeerExists { .. } => "peer exists",
        Error::Revoked { .. } => "revoked",
        Error::TooManyPeers { .. } => "too many peers",
        Error::LeaseTooLong { .. } => "lease too long",
        Error::BadToken { .. } => "bad token",
        Error::RestoreConflict => "restore conflict",
        Error::UnknownSemaphore => "unknown semaphore",
        Error::RestoreOverflow { .. } => "restore overflow",
        Error::BadNames { .. } => "bad names",
        Error::TokenWithoutLock { .. } => "token without lock",
        Error::TooManySemaphores { .. } => "too many semaphores",
    }
}
