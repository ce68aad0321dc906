//! What the load knows of its peers and their locks, from what was answered to it; and what must
//! never be answered.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, Result, ensure};

use super::world::{Class, World};

/// A claim on one semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its place in the [`World`].
    pub semaphore: usize,
    /// How many permits.
    pub count: i64,
}

/// A lock that was granted or restored.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// What is held.
    pub lock: Lock,
    /// The token that came with it.
    pub token: Option<u64>,
    /// Whether it was granted, and is not being given back: then it counts against max.
    pub is_counted: bool,
}

/// How a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is none.
    Absent,
    /// It has a lease.
    Present,
    /// Nothing was heard of it; its lease is over by then.
    Gone(Instant),
    /// It was released for good.
    Revoked,
}

/// One peer.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its id.
    pub id: u64,
    /// How it stands.
    pub stage: Stage,
    /// When its lease was renewed last.
    pub beaten_at: Instant,
    /// What it surely holds.
    pub held: Vec<Held>,
    /// What it has asked for, and does not know that it was granted.
    pub pending: Vec<Lock>,
    /// The token of that grant must be above this one.
    pub floor: u64,
    /// What it held or asked for when it was last heard of.
    pub last_locks: Vec<Lock>,
    /// Part of what was pending may be over: somebody must look.
    pub must_look: bool,
    /// What was withdrawn by somebody else, and may have been asked for again after that.
    pub maybe_asked: Vec<Lock>,
    /// The lock that it waits for is withdrawn by somebody else, who is not done yet.
    pub is_withdrawn_by_other: bool,
}

/// What happened to the locks of one semaphore.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Locks that were asked for.
    pub asked: u64,
    /// Locks that are known to have been granted.
    pub granted: u64,
    /// Locks that were restored.
    pub restored: u64,
    /// Locks that were given back, withdrawn, or lost.
    pub ended: u64,
    /// Permits that are surely held after a grant.
    pub counted: i64,
    /// The greatest token so far.
    pub last_token: u64,
}

/// All that is known.
#[derive(Debug)]
pub struct Books {
    /// The semaphores.
    pub world: World,
    /// One place for each peer, which several fill one after the other.
    pub peers: Vec<Peer>,
    /// One for each semaphore.
    pub tallies: Vec<Tally>,
    /// The greatest token that was answered so far.
    pub newest_token: u64,
    /// Refusals by their code.
    pub refused: BTreeMap<&'static str, u64>,
    /// How often each kind of request was answered.
    pub done: BTreeMap<&'static str, u64>,
    /// Grants that were checked against max.
    pub grants_checked: u64,
}

impl Books {
    /// With so many places for peers.
    pub fn new(world: World, places: usize) -> Self {
        let nobody = Peer {
            id: 0,
            stage: Stage::Absent,
            beaten_at: Instant::now(),
            held: Vec::new(),
            pending: Vec::new(),
            floor: 0,
            last_locks: Vec::new(),
            must_look: false,
            maybe_asked: Vec::new(),
            is_withdrawn_by_other: false,
        };
        Books {
            tallies: vec![Tally::default(); world.semaphores.len()],
            world,
            peers: vec![nobody; places],
            newest_token: 0,
            refused: BTreeMap::new(),
            done: BTreeMap::new(),
            grants_checked: 0,
        }
    }

    /// Counts a refusal.
    pub fn refuse(&mut self, code: &'static str) {
        *self.refused.entry(code).or_default() += 1;
    }

    /// A peer has come.
    pub fn enter(&mut self, place: usize, id: u64, now: Instant) {
        let peer = &mut self.peers[place];
        (peer.id, peer.stage, peer.beaten_at, peer.must_look) = (id, Stage::Present, now, false);
    }

    /// A peer has asked for locks, when tokens had come as far as `floor`.
    pub fn ask(&mut self, place: usize, locks: &[Lock], floor: u64) {
        for lock in locks {
            self.tallies[lock.semaphore].asked += 1;
        }
        self.peers[place].pending = locks.to_vec();
        self.peers[place].floor = floor;
    }

    /// All that it asked for was granted.
    ///
    /// # Errors
    /// Where more is held than max allows, or tokens do not grow.
    pub fn grant(&mut self, place: usize, token: Option<u64>) -> Result<()> {
        let token = token.context("a grant without a token")?;
        let Peer { id, floor, .. } = self.peers[place];
        ensure!(token > floor, "peer {id}: token {token}, but {floor} was granted before");
        self.newest_token = self.newest_token.max(token);
        for lock in std::mem::take(&mut self.peers[place].pending) {
            let semaphore = &self.world.semaphores[lock.semaphore];
            let tally = &mut self.tallies[lock.semaphore];
            tally.granted += 1;
            tally.counted += lock.count;
            let name = &semaphore.name;
            ensure!(
                tally.counted <= semaphore.highest_max,
                "`{name}`: {} permits are held, max is {}",
                tally.counted,
                semaphore.highest_max
            );
            // Whoever comes next to a mutex was granted it after the last one gave it back.
            let last = std::mem::replace(&mut tally.last_token, token);
            ensure!(
                semaphore.class != Class::Mutex || token > last,
                "`{name}`: token {token} after {last}"
            );
            self.grants_checked += 1;
            let held = Held { lock, token: Some(token), is_counted: true };
            self.peers[place].held.push(held);
        }
        Ok(())
    }

    /// What it asked for was granted, and is being taken away by somebody else.
    pub fn grant_briefly(&mut self, place: usize) {
        for lock in &self.peers[place].pending {
            self.tallies[lock.semaphore].granted += 1;
        }
    }

    /// A peer was restored with these locks.
    pub fn restore(&mut self, place: usize, locks: &[(Lock, Option<u64>)]) {
        for (lock, token) in locks {
            self.tallies[lock.semaphore].restored += 1;
            let held = Held { lock: *lock, token: *token, is_counted: false };
            self.peers[place].held.push(held);
        }
    }

    /// A request is on its way that gives back permits of this lock: no more than `left` are surely
    /// held from now on.
    pub fn let_go(&mut self, place: usize, semaphore: usize, left: i64) {
        let held = &mut self.peers[place].held;
        if let Some(held) = held.iter_mut().find(|held| held.lock.semaphore == semaphore)
            && held.is_counted
        {
            self.tallies[semaphore].counted -= held.lock.count - left;
            held.is_counted = left > 0;
        }
    }

    /// A request is on its way, or a lease is about to end, after which the peer holds nothing.
    pub fn let_go_all(&mut self, place: usize) {
        let held: Vec<_> = self.peers[place].held.iter().map(|held| held.lock.semaphore).collect();
        for semaphore in held {
            self.let_go(place, semaphore, 0);
        }
    }

    /// A lock that was held is over.
    pub fn end_held(&mut self, place: usize, semaphore: usize) {
        self.let_go(place, semaphore, 0);
        let held = &mut self.peers[place].held;
        let before = held.len();
        held.retain(|held| held.lock.semaphore != semaphore);
        self.tallies[semaphore].ended += (before - held.len()) as u64;
    }

    /// What was asked for is over.
    pub fn end_pending(&mut self, place: usize) {
        for lock in std::mem::take(&mut self.peers[place].pending) {
            self.tallies[lock.semaphore].ended += 1;
        }
    }

    /// All locks of a peer are over, and so is the peer.
    pub fn leave(&mut self, place: usize, stage: Stage) {
        let peer = &mut self.peers[place];
        peer.last_locks = peer.held.iter().map(|held| held.lock).collect();
        peer.last_locks.extend(&peer.pending);
        for lock in peer.held.iter().map(|held| held.lock.semaphore).collect::<Vec<_>>() {
            self.end_held(place, lock);
        }
        self.end_pending(place);
        self.peers[place].stage = stage;
        self.peers[place].must_look = false;
    }

    /// How many peers surely have a lease.
    pub fn present(&self) -> usize {
        self.peers.iter().filter(|peer| peer.stage == Stage::Present).count()
    }

    /// By when all leases are over that nobody renews.
    pub fn last_end(&self) -> Option<Instant> {
        let ends = self.peers.iter().filter_map(|peer| match peer.stage {
            Stage::Gone(until) => Some(until),
            _ => None,
        });
        ends.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_peers() -> (Books, Lock) {
        let mut books = Books::new(World::new(), 2);
        let mutex = books.world.of_class(Class::Mutex).next().unwrap();
        books.enter(0, 1, Instant::now());
        books.enter(1, 2, Instant::now());
        (books, Lock { semaphore: mutex, count: 1 })
    }

    #[test]
    fn second_holder_of_a_mutex_is_an_error() {
        let (mut books, mutex) = two_peers();
        books.ask(0, &[mutex], 0);
        books.ask(1, &[mutex], 0);

        books.grant(0, Some(1)).unwrap();

        assert!(books.grant(1, Some(2)).is_err());
    }

    #[test]
    fn next_holder_is_none_once_the_release_is_on_its_way() {
        let (mut books, mutex) = two_peers();
        books.ask(0, &[mutex], 0);
        books.ask(1, &[mutex], 0);
        books.grant(0, Some(1)).unwrap();

        books.let_go(0, mutex.semaphore, 0);

        books.grant(1, Some(2)).unwrap();
        books.end_held(0, mutex.semaphore);
        assert_eq!(1, books.tallies[mutex.semaphore].counted);
    }

    #[test]
    fn token_that_does_not_grow_is_an_error() {
        let (mut books, mutex) = two_peers();
        books.ask(0, &[mutex], 7);

        assert!(books.grant(0, Some(7)).is_err());
        assert!(books.grant(0, None).is_err());
    }

    #[test]
    fn each_lock_that_was_asked_for_ends_once() {
        let (mut books, mutex) = two_peers();
        books.ask(0, &[mutex], 0);
        books.grant(0, Some(1)).unwrap();
        books.ask(1, &[mutex], 0);

        books.leave(0, Stage::Absent);
        books.leave(1, Stage::Absent);

        let tally = books.tallies[mutex.semaphore];
        assert_eq!((2, 2, 1, 0), (tally.asked, tally.ended, tally.granted, tally.counted));
    }
}
