//! What the books show to those who only look: semaphores and peers, for lists and for metrics.

use std::{ops::Range, sync::Arc, time::Duration};

use super::{
    About, Arrival, Effects, Error, Held, Leases, Lock, PeerId, SemaphoreConfig, SemaphoreIx,
    Source, Timestamp, Token, Totals,
    leases::SLICE,
    queue::Semaphore,
    units::{AskIx, PeerIx},
};

/// Holders are shown in the order of their grants while there are no more than this: sorting them
/// all for each look would take too long.
const SORTED: usize = 1_000;

/// Names of semaphores, and the counts of their locks.
pub type NamedLocks = Vec<(Arc<str>, i64)>;

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// So many are left out at the front.
    pub offset: usize,
    /// No more than this are shown.
    pub limit: usize,
}

impl Page {
    /// The whole list.
    pub const ALL: Page = Page { offset: 0, limit: usize::MAX };

    /// The places that it has in a list of that length.
    fn places(self, length: usize) -> Range<usize> {
        let start = self.offset.min(length);
        start..start.saturating_add(self.limit).min(length)
    }

    fn of<I: Iterator>(self, all: I) -> impl Iterator<Item = I::Item> {
        all.skip(self.offset).take(self.limit)
    }
}

/// One semaphore at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemaphoreSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// How many permits there are.
    pub max: i64,
    /// Rank in the lock hierarchy.
    pub level: i32,
    /// Permits that peers hold; more than `max` after a restore or a lowered max.
    pub acquired: i64,
    /// Permits that peers wait for. The sum may exceed an `i64`.
    pub pending: i128,
    /// How many asks wait.
    pub waiting: usize,
    /// How many peers hold permits.
    pub holders: usize,
    /// For how long the ask that came first of the pending ones has waited; zero if there is none.
    pub longest_pending: Duration,
    /// Whether nothing is granted, for somebody said so.
    pub is_paused: bool,
    /// Where it comes from.
    pub source: Source,
    /// What the configuration says of it, as long as it does.
    pub configured: Option<SemaphoreConfig>,
    /// What ever happened to its locks.
    pub totals: Totals,
}

/// One semaphore, and who holds and waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemaphoreView {
    /// The semaphore itself.
    pub semaphore: SemaphoreSnapshot,
    /// Those who hold it, in the order of their grants (in none where there are very many).
    pub holders: Vec<Holding>,
    /// Those who wait for it, in the order of their arrival.
    pub queue: Vec<PendingLock>,
}

/// Who holds a semaphore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The peer.
    pub peer: PeerId,
    /// What people call it.
    pub about: Option<About>,
    /// How many permits.
    pub count: i64,
    /// The token of the lock, if it has one.
    pub token: Option<Token>,
    /// When it was granted or restored.
    pub since: Timestamp,
    /// For how long it is held.
    pub held_for: Duration,
    /// What is left of the lease.
    pub expires_in: Duration,
}

/// Who waits for a semaphore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingLock {
    /// Counted from 1.
    pub position: usize,
    /// The peer.
    pub peer: PeerId,
    /// What people call it.
    pub about: Option<About>,
    /// How many permits of this semaphore.
    pub count: i64,
    /// When it asked.
    pub since: Timestamp,
    /// For how long it waits.
    pub pending_for: Duration,
    /// What of its ask is not reserved for it yet, this semaphore or others.
    pub waits_for: NamedLocks,
    /// What is left of the lease.
    pub expires_in: Duration,
}

/// One peer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// Its id.
    pub id: PeerId,
    /// What people call it.
    pub about: Option<About>,
    /// What is left of its lease.
    pub expires_in: Duration,
    /// Names and counts of the locks that it holds.
    pub acquired: NamedLocks,
    /// Names and tokens of those locks that have one.
    pub tokens: Vec<(Arc<str>, Token)>,
    /// Names and counts of the locks that it waits for.
    pub pending: NamedLocks,
    /// Since when it holds or waits for each of them.
    pub since: Vec<(Arc<str>, Timestamp)>,
}

impl Leases {
    /// All semaphores in the order of their names. O(semaphores), however many peers there are.
    pub fn semaphores(&self, now: Timestamp) -> impl Iterator<Item = SemaphoreSnapshot> {
        self.in_order.iter().map(move |ix| self.overview_of(*ix, now))
    }

    /// One semaphore, and a page of those who hold it and of those who wait for it. O(holders) as
    /// long as these are sorted, then O(page); and O(offset + page) for the queue.
    ///
    /// # Errors
    /// [`Error::UnknownSemaphore`], [`Error::TooManySemaphores`].
    pub fn semaphore(
        &mut self,
        name: &str,
        page: Page,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<SemaphoreView, Error> {
        self.expire(now, SLICE, effects);
        let ix = self.index_of(name)?;
        let count = self.permits[ix].holders.len();
        let holders: Vec<_> = if count <= SORTED {
            let mut sorted: Vec<_> = self.holders(ix, 0..count).collect();
            sorted.sort_unstable_by_key(|(_, held)| (held.since, held.token));
            page.of(sorted.into_iter()).collect()
        } else {
            self.holders(ix, page.places(count)).collect()
        };
        let queue = page.of(self.queue(ix).enumerate());
        Ok(SemaphoreView {
            semaphore: self.overview_of(ix, now),
            holders: holders
                .into_iter()
                .map(|(peer, held)| self.holding(peer, held, now))
                .collect(),
            queue: queue.map(|(before, ask)| self.pending_lock(ix, ask, before + 1, now)).collect(),
        })
    }

    /// Peers in no particular order. O(peers) for all: the one operation that looks at each.
    pub fn peers(&self, page: Page, now: Timestamp) -> impl Iterator<Item = PeerSnapshot> {
        let living = self.peers.iter().filter(move |(_, peer)| !peer.is_due(now));
        page.of(living).map(move |(ix, _)| self.snapshot(ix, now))
    }

    /// One peer. O(its locks).
    ///
    /// # Errors
    /// [`Error::UnknownPeer`].
    pub fn peer(
        &mut self,
        id: PeerId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<PeerSnapshot, Error> {
        self.expire(now, SLICE, effects);
        let peer = self.find(id, now, effects).ok_or(Error::UnknownPeer)?;
        Ok(self.snapshot(peer, now))
    }

    pub(super) fn overview_of(&self, ix: SemaphoreIx, now: Timestamp) -> SemaphoreSnapshot {
        let semaphore = &self.permits[ix];
        let longest = semaphore.longest_pending().map(|ask| now.since(self.permits[ask].since));
        SemaphoreSnapshot {
            name: semaphore.name.clone(),
            max: semaphore.max,
            level: semaphore.level,
            acquired: semaphore.acquired,
            pending: semaphore.pending,
            waiting: semaphore.waiting(),
            holders: semaphore.holders.len(),
            longest_pending: longest.unwrap_or_default(),
            is_paused: semaphore.is_paused,
            source: semaphore.source,
            configured: (semaphore.source != Source::Removed).then_some(semaphore.configured),
            totals: semaphore.totals,
        }
    }

    /// All asks that name this semaphore, in the order of their arrival.
    fn queue(&self, ix: SemaphoreIx) -> impl Iterator<Item = AskIx> {
        let Semaphore { approaching, standing, reserving, .. } = &self.permits[ix];
        let mut queues = [approaching, standing, reserving].map(|queue| queue.iter().peekable());
        std::iter::from_fn(move || {
            let first = |queue: &mut std::iter::Peekable<_>| -> Option<Arrival> {
                queue.peek().map(|(arrival, _): &(&Arrival, &AskIx)| **arrival)
            };
            let heads = queues.each_mut().map(first);
            let earliest = heads.iter().flatten().min()?;
            let queue = heads.iter().position(|head| head.as_ref() == Some(earliest))?;
            queues[queue].next().map(|(_, ask)| *ask)
        })
    }

    fn holding(&self, ix: PeerIx, held: &Held, now: Timestamp) -> Holding {
        let (peer, about) = self.peers.who(ix);
        Holding {
            peer,
            about,
            count: held.count,
            token: held.token,
            since: held.since,
            held_for: now.since(held.since),
            expires_in: self.peers[ix].expires_in(now),
        }
    }

    fn pending_lock(
        &self,
        ix: SemaphoreIx,
        ask: AskIx,
        position: usize,
        now: Timestamp,
    ) -> PendingLock {
        let ask = &self.permits[ask];
        let (peer, about) = self.peers.who(ask.peer);
        let count = self.position_of(ix, &ask.locks).map_or(0, |at| ask.locks[at].count);
        PendingLock {
            position,
            peer,
            about,
            count,
            since: ask.since,
            pending_for: now.since(ask.since),
            waits_for: self.named(ask.locks[ask.stage..].iter().copied()),
            expires_in: self.peers[ask.peer].expires_in(now),
        }
    }

    fn snapshot(&self, ix: PeerIx, now: Timestamp) -> PeerSnapshot {
        let peer = &self.peers[ix];
        let (id, about) = self.peers.who(ix);
        let ask = peer.pending.map(|ask| &self.permits[ask]);
        let pending = ask.iter().flat_map(|ask| ask.locks.iter().map(|lock| (*lock, ask.since)));
        let with_token = peer.held.iter().filter_map(|held| Some((held.semaphore, held.token?)));
        let held = peer.held.iter().map(|held| (held.lock(), held.since));
        PeerSnapshot {
            id,
            about,
            expires_in: peer.expires_in(now),
            acquired: self.named(peer.held.iter().map(Held::lock)),
            tokens: with_token.map(|(semaphore, token)| (self.name(semaphore), token)).collect(),
            pending: self.named(pending.clone().map(|(lock, _)| lock)),
            since: held
                .chain(pending)
                .map(|(lock, since)| (self.name(lock.semaphore), since))
                .collect(),
        }
    }

    /// Names and counts of some locks.
    fn named(&self, locks: impl Iterator<Item = Lock>) -> NamedLocks {
        locks.map(|lock| (self.name(lock.semaphore), lock.count)).collect()
    }

    fn name(&self, semaphore: SemaphoreIx) -> Arc<str> {
        self.permits[semaphore].name.clone()
    }
}
