//! The books of this server behind their one door.
//!
//! `State::apply` is the only way in: it reads the clock and calls the pure room under one lock,
//! takes out the wakers that the effects concern, and lets go of the lock before it wakes anybody.
//! Nothing is awaited inside. What is decided is decided in `semaphore`, not here.

use std::{sync::Arc, time::Duration};

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::{
    aftermath::Aftermath,
    clock::Clock,
    ids::random_peer_id,
    semaphore::{
        Effects, Error, Leases, PeerId, PeerSnapshot, Progress, SemaphoreConfig, SemaphoreSnapshot,
        Timestamp, Wanted, invariants,
    },
    waiting::{Place, Registry, Waiter, Waiters},
};

/// How many entries of the expiry index the litter collection looks at before others have a turn.
const COLLECTOR_SLICE: usize = 1_000;

/// Debug builds recount the books after each operation while there are no more peers than this.
const CHECKED_PEERS: usize = 32;

/// All that the requests and the litter collection of one server share.
#[derive(Debug)]
pub struct State {
    clock: Clock,
    inner: Mutex<Inner>,
    /// Tells the litter collection that a lease ends sooner than it means to wake up.
    nudge: Notify,
}

#[derive(Debug)]
struct Inner {
    leases: Leases,
    waiters: Waiters,
    /// Empty outside of `apply`; kept for its allocation.
    effects: Effects,
    /// When the litter collection will look again without a nudge.
    collector_wakes_at: Timestamp,
}

/// What became of an ask.
pub enum Asked {
    /// The peer holds what it asked for.
    Acquired,
    /// It waits in the queue.
    Pending,
    /// It waits in the queue, and so may the request.
    Parked(Waiter),
}

impl State {
    /// A state in which nobody holds anything.
    pub fn new(semaphores: impl IntoIterator<Item = (String, SemaphoreConfig)>) -> Arc<Self> {
        Arc::new(State {
            clock: Clock::new(),
            inner: Mutex::new(Inner {
                leases: Leases::new(semaphores),
                waiters: Waiters::default(),
                effects: Effects::new(),
                collector_wakes_at: Timestamp::default(),
            }),
            nudge: Notify::new(),
        })
    }

    /// Makes a peer under a fresh random id.
    pub fn new_peer(&self, expires_in: Duration) -> PeerId {
        loop {
            let id = random_peer_id();
            if self.apply(|leases, now, fx| leases.new_peer(id, expires_in, now, fx)) {
                return id;
            }
        }
    }

    /// See [`Leases::heartbeat`].
    pub fn heartbeat(&self, id: PeerId, expires_in: Duration) -> Result<(), Error> {
        self.apply(|leases, now, fx| leases.heartbeat(id, expires_in, now, fx))
    }

    /// See [`Leases::acquire`]. With `may_park`, a request whose ask is pending gets a [`Waiter`].
    pub fn acquire(
        self: &Arc<Self>,
        id: PeerId,
        wanted: &[Wanted<'_>],
        expires_in: Option<Duration>,
        may_park: bool,
    ) -> Result<Asked, Error> {
        self.apply_and(
            |leases, now, fx| leases.acquire(id, wanted, expires_in, now, fx),
            |waiters, progress| {
                Ok(match progress? {
                    Progress::Acquired => Asked::Acquired,
                    Progress::Pending(_) if !may_park => Asked::Pending,
                    Progress::Pending(ask) => {
                        Asked::Parked(Waiter::register(waiters, self.clone(), ask))
                    }
                })
            },
        )
    }

    /// See [`Leases::release`].
    pub fn release(&self, id: PeerId, semaphore: &str) -> Result<(), Error> {
        self.apply(|leases, now, fx| leases.release(id, semaphore, now, fx))
    }

    /// See [`Leases::remove_peer`].
    pub fn remove_peer(&self, id: PeerId) -> bool {
        self.apply(|leases, now, fx| leases.remove_peer(id, now, fx))
    }

    /// See [`Leases::is_acquired`].
    pub fn is_acquired(&self, id: PeerId) -> Result<bool, Error> {
        self.apply(|leases, now, fx| leases.is_acquired(id, now, fx))
    }

    /// See [`Leases::restore`].
    pub fn restore(
        &self,
        id: PeerId,
        acquired: &[Wanted<'_>],
        expires_in: Duration,
    ) -> Result<(), Error> {
        self.apply(|leases, now, fx| leases.restore(id, acquired, expires_in, now, fx))
    }

    /// See [`Leases::remainder`].
    pub fn remainder(&self, semaphore: &str) -> Result<i64, Error> {
        self.apply(|leases, now, fx| leases.remainder(semaphore, now, fx))
    }

    /// All semaphores in the order of their names.
    pub fn semaphores(&self) -> Vec<SemaphoreSnapshot> {
        self.apply(|leases, now, fx| {
            leases.expire(now, COLLECTOR_SLICE, fx);
            leases.semaphores(now).collect()
        })
    }

    /// All peers. Looks at each, under the lock: for people, not for loops.
    pub fn peers(&self) -> Vec<PeerSnapshot> {
        self.apply(|leases, now, _| leases.peers(now).collect())
    }

    /// Expires all peers whose leases have ended, and returns how many there were. Others get their
    /// turn in between.
    pub async fn remove_expired(&self) -> usize {
        let mut expired = 0;
        loop {
            let (count, is_done) = self.apply(|leases, now, fx| {
                let count = leases.expire(now, COLLECTOR_SLICE, fx);
                (count, leases.next_expiry().is_none_or(|at| at > now))
            });
            expired += count;
            if is_done {
                return expired;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sleeps until the next lease may end, but no longer than `at_most`. For the litter collection
    /// alone: only one may sleep here.
    pub async fn sleep_until_next_expiry(&self, at_most: Duration) {
        let wakes_at = {
            let mut inner = self.inner.lock();
            let latest = self.clock.now().after(at_most);
            inner.collector_wakes_at = inner.leases.next_expiry().unwrap_or(latest).min(latest);
            inner.collector_wakes_at
        };
        tokio::select! {
            () = self.clock.sleep_until(wakes_at) => {}
            () = self.nudge.notified() => {}
        }
    }

    /// Ends all waits, those to come included: the server shuts down. Whoever is parked is told
    /// that its lock is pending still, and asks again elsewhere or later.
    pub fn shut_down(&self) {
        let parked = self.waiters().close();
        drop(parked);
    }

    /// Whether the server shuts down.
    pub fn is_shutting_down(&self) -> bool {
        self.waiters().is_closed()
    }

    /// Access to the waiters alone; the books are not touched.
    pub(crate) fn waiters(&self) -> MappedMutexGuard<'_, Waiters> {
        MutexGuard::map(self.inner.lock(), |inner| &mut inner.waiters)
    }

    /// The one door to the books.
    fn apply<R>(&self, operation: impl FnOnce(&mut Leases, Timestamp, &mut Effects) -> R) -> R {
        self.apply_and(operation, |_, result| result)
    }

    /// The one door to the books, for those who may want to wait for what they find there:
    /// `register` runs under the same lock, after the effects of `operation` were drained.
    fn apply_and<R, S>(
        &self,
        operation: impl FnOnce(&mut Leases, Timestamp, &mut Effects) -> R,
        register: impl FnOnce(&mut Waiters, R) -> S,
    ) -> S {
        let mut aftermath = Aftermath::default();
        let mut inner = self.inner.lock();
        let Inner { leases, waiters, effects, collector_wakes_at } = &mut *inner;
        let now = self.clock.now();
        let result = operation(leases, now, effects);
        for effect in effects.drain(..) {
            aftermath.add(&effect, leases, waiters);
        }
        let result = register(waiters, result);
        if let Some(at) = leases.next_expiry().filter(|at| at < collector_wakes_at) {
            *collector_wakes_at = at;
            aftermath.is_collector_late = true;
        }
        if cfg!(debug_assertions) && leases.peer_count() <= CHECKED_PEERS {
            invariants::check(leases);
        }
        drop(inner);
        aftermath.follow(&self.nudge);
        result
    }
}

impl Registry for State {
    fn forget_waiter(&self, place: Place) {
        self.waiters().forget(place);
    }
}
