//! What a peer may do next, as far as it knows how it stands.

use std::time::{Duration, Instant};

use super::{
    books::{Books, Held, Lock, Peer, Stage},
    chance::Chance,
    refusals::Refusal,
    world::Class,
};

/// Peers that go on living renew their leases after so long.
pub const BEAT_AFTER: Duration = Duration::from_secs(45);

/// One step of one peer.
#[derive(Clone, Debug)]
pub enum Move {
    /// Is made without locks.
    Enter,
    /// Is made with an id of its own, a name, labels, and what it asks for.
    EnterWith { id: u64, locks: Vec<Lock>, floor: u64 },
    /// Comes back with locks that it says it held, some with the tokens of an earlier start.
    Restore { id: u64, locks: Vec<(Lock, Option<u64>)> },
    /// The same again, as long as it exists: renews the lease.
    RestoreAgain,
    /// Renews its lease.
    Beat,
    /// Renews its lease for a short time, and is not heard of until that is over.
    Vanish { lease: Duration },
    /// Asks for one lock, or several.
    Ask { locks: Vec<Lock>, floor: u64, terms: Terms },
    /// Asks again for what is pending.
    AskAgain { block_for: Option<Duration> },
    /// Asks again for a lock that it holds.
    AskHeld { held: Held },
    /// Gives a lock back.
    Release { semaphore: usize },
    /// Withdraws what is pending by one of its locks.
    Withdraw { semaphore: usize },
    /// Makes a lock smaller.
    Shrink { semaphore: usize, count: i64, is_pending: bool },
    /// Is released with all its locks; for good, with `revoke`.
    Remove { revoke: bool },
    /// Tries to come back though it was released for good.
    ComeBack,
    /// Comes too late.
    Late(Late),
    /// Looks how it stands.
    Look,
    /// Asks whether it waits.
    IsAcquired,
    /// Does what is refused.
    Refused(Refusal),
}

/// How an ask waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Pending, and the answer comes at once.
    Pending,
    /// The request is parked.
    Parked(Duration),
    /// Not at all.
    NoQueue,
}

/// What somebody tries whose lease is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// To renew it.
    Beat,
    /// To lock.
    Ask,
    /// To look.
    Look,
}

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A request is parked for so long at most.
    pub longest_wait: Duration,
    /// Whoever vanishes has a lease of so long at most.
    pub longest_absence: Duration,
}

/// Draws the next moves of the peer at a place.
#[derive(Debug)]
pub struct Chooser<'a> {
    /// What is known.
    pub books: &'a Books,
    /// What is drawn.
    pub chance: &'a mut Chance,
    /// How long things take.
    pub pace: Pace,
}

impl Chooser<'_> {
    /// The next move; `None` where the peer must wait.
    pub fn next(&mut self, place: usize, now: Instant) -> Option<Move> {
        let books = self.books;
        let peer = &books.peers[place];
        if peer.is_withdrawn_by_other {
            return None;
        }
        match peer.stage {
            Stage::Gone(until) if until > now => None,
            Stage::Gone(_) => Some(self.after_absence(peer)),
            Stage::Revoked => Some(Move::ComeBack),
            Stage::Absent => Some(self.entry()),
            Stage::Present if peer.must_look => Some(Move::Look),
            Stage::Present if now.saturating_duration_since(peer.beaten_at) > BEAT_AFTER => {
                Some(Move::Beat)
            }
            Stage::Present if !peer.pending.is_empty() => Some(self.while_pending(peer)),
            Stage::Present => Some(self.while_holding(peer)),
        }
    }

    fn entry(&mut self) -> Move {
        let id = self.chance.peer_id();
        match self.chance.below(10) {
            0..5 => Move::Enter,
            5..9 => {
                let locks = self.several(1, i32::MAX);
                Move::EnterWith { id, locks, floor: self.books.newest_token }
            }
            _ => {
                let locks = self.several(1, i32::MAX);
                Move::Restore { id, locks: self.with_tokens(locks) }
            }
        }
    }

    fn after_absence(&mut self, peer: &Peer) -> Move {
        let is_restorable = |lock: &Lock| {
            !matches!(
                self.books.world.semaphores[lock.semaphore].class,
                Class::Shrunk | Class::Fleeting
            )
        };
        let locks: Vec<Lock> = peer.last_locks.iter().copied().filter(is_restorable).collect();
        match self.chance.below(4) {
            0 => Move::Late(match self.chance.below(3) {
                0 => Late::Beat,
                1 => Late::Ask,
                _ => Late::Look,
            }),
            1 => Move::Restore { id: peer.id, locks: self.with_tokens(locks) },
            _ => self.entry(),
        }
    }

    fn while_pending(&mut self, peer: &Peer) -> Move {
        let Lock { semaphore, count } = peer.pending[0];
        if self.books.world.semaphores[semaphore].class == Class::Shrunk {
            return Move::Withdraw { semaphore };
        }
        let is_single = peer.pending.len() == 1;
        let block_for = self.wait();
        let shrink = Move::Shrink {
            semaphore,
            count: self.chance.count(1, (count - 1).max(1)),
            is_pending: true,
        };
        let choices = [
            (30, Move::AskAgain { block_for: None }),
            (14, Move::AskAgain { block_for: Some(block_for) }),
            (8, Move::Withdraw { semaphore }),
            (if is_single && count > 1 { 8 } else { 0 }, shrink),
            (6, Move::Refused(Refusal::AlreadyPending)),
            (6, Move::IsAcquired),
            (10, Move::Look),
            (6, Move::Beat),
            (3, Move::Vanish { lease: self.absence() }),
            (2, Move::Remove { revoke: false }),
            (1, Move::Remove { revoke: true }),
        ];
        self.one_of(choices)
    }

    fn while_holding(&mut self, peer: &Peer) -> Move {
        let refusal = Move::Refused(Refusal::any(self.chance));
        let ask = self.ask(peer);
        let weigh_ask = if ask.is_some() { 1 } else { 0 };
        let ask = ask.unwrap_or(Move::Beat);
        let vanish = Move::Vanish { lease: self.absence() };
        if peer.held.is_empty() {
            let choices = [
                (80 * weigh_ask, ask),
                (8, refusal),
                (4, Move::Beat),
                (2, Move::Look),
                (2, Move::IsAcquired),
                (3, vanish),
                (3, Move::Remove { revoke: false }),
            ];
            return self.one_of(choices);
        }
        let held = peer.held[self.chance.below(peer.held.len())];
        let Lock { semaphore, count } = held.lock;
        let class = self.books.world.semaphores[semaphore].class;
        let shrink = Move::Shrink {
            semaphore,
            count: self.chance.count(1, (count - 1).max(1)),
            is_pending: false,
        };
        let choices = [
            (36, Move::Release { semaphore }),
            (20 * weigh_ask, ask),
            (8, Move::AskHeld { held }),
            (if count > 1 && class != Class::Shrunk { 6 } else { 0 }, shrink),
            (8, refusal),
            (4, Move::RestoreAgain),
            (4, Move::Beat),
            (4, Move::Look),
            (2, Move::IsAcquired),
            (4, vanish),
            (3, Move::Remove { revoke: false }),
            (1, Move::Remove { revoke: true }),
        ];
        self.one_of(choices)
    }

    /// What the peer may ask for beside what it holds, if there is anything below that.
    fn ask(&mut self, peer: &Peer) -> Option<Move> {
        let level = |held: &Held| self.books.world.semaphores[held.lock.semaphore].level;
        let below = peer.held.iter().map(level).min().unwrap_or(i32::MAX);
        if below <= 0 {
            return None;
        }
        let terms = match self.chance.below(10) {
            0..6 => Terms::Pending,
            6..8 => Terms::Parked(self.wait()),
            _ => Terms::NoQueue,
        };
        let locks = match self.chance.below(6) {
            0 => self.several(2, below),
            _ => vec![self.one(below, false)],
        };
        Some(Move::Ask { locks, floor: self.books.newest_token, terms })
    }

    /// One lock below a level. One of those that may be withdrawn by a resize only where that is
    /// said to be all right.
    fn one(&mut self, below: i32, is_lasting: bool) -> Lock {
        loop {
            // Most hold the large ones: there is no room for ten thousand peers elsewhere.
            let class = match self.chance.below(100) {
                0..10 => Class::Mutex,
                10..62 => Class::Large,
                62..74 => Class::Nested,
                74..80 => Class::Reloaded,
                80..84 => Class::ByHand,
                84..86 if !is_lasting => Class::Shrunk,
                86..89 if !is_lasting => Class::Fleeting,
                _ => Class::Template,
            };
            let all: Vec<usize> = self.books.world.of_class(class).collect();
            let semaphore = all[self.chance.below(all.len())];
            let known = &self.books.world.semaphores[semaphore];
            if known.level < below {
                return Lock { semaphore, count: self.chance.count(1, known.most_asked) };
            }
        }
    }

    /// At least so many locks, and up to two more, of different semaphores.
    fn several(&mut self, at_least: usize, below: i32) -> Vec<Lock> {
        let count = at_least + self.chance.below(3);
        let mut locks: Vec<Lock> = Vec::new();
        while locks.len() < count {
            let lock = self.one(below, true);
            if locks.iter().all(|known| known.semaphore != lock.semaphore) {
                locks.push(lock);
            }
        }
        locks
    }

    /// Tokens of an earlier start for some.
    fn with_tokens(&mut self, locks: Vec<Lock>) -> Vec<(Lock, Option<u64>)> {
        let with_token = |lock| {
            let token = self.chance.below(1 << 40) as u64 + 1;
            (lock, self.chance.once_in(2).then_some(token))
        };
        locks.into_iter().map(with_token).collect()
    }

    fn wait(&mut self) -> Duration {
        self.chance.time(Duration::from_millis(50), self.pace.longest_wait)
    }

    fn absence(&mut self) -> Duration {
        self.chance.time(Duration::from_millis(20), self.pace.longest_absence)
    }

    fn one_of<const N: usize>(&mut self, choices: [(usize, Move); N]) -> Move {
        let weights: Vec<_> = choices.iter().enumerate().map(|(at, (w, _))| (*w, at)).collect();
        let drawn = self.chance.weighed(&weights).unwrap_or_default();
        let drawn = choices.into_iter().nth(drawn);
        drawn.map_or(Move::Beat, |(_, choice)| choice)
    }
}
