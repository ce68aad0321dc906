//! The books of this server behind their one door.
//!
//! `State::apply` is the only way in: it reads the clock and calls the pure room under one lock,
//! takes out the wakers that the effects concern, and lets go of the lock before it wakes anybody.
//! Nothing is awaited inside. What is decided is decided in `semaphore`, not here.
//!
//! Here is what peers do; what operators do is in `hand`, and what onlookers see in `looks`.

mod hand;
mod looks;

use std::{sync::Arc, time::Duration};

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use tokio::{sync::Notify, time::sleep};

pub use self::looks::Overview;
use crate::{
    aftermath::Aftermath,
    clock::{self, Clock, WallClock},
    feed::{Feed, News},
    ids::random_peer_id,
    semaphore::{
        Asking, Catalogue, Effects, Error, Leases, NewPeer, PeerId, Progress, Restored, Rules,
        Status, Terms, Timestamp, invariants,
    },
    waiting::{Place, Registry, Waiter, Waiters},
};

/// Tokens of a start begin at the milliseconds since 1970, shifted by so many bits: fewer than 2^11
/// grants happen in a millisecond, so a later start begins above all that an earlier one granted,
/// unless the machine's clock was set back. They stay below 2^53 until the year 2109.
const TOKENS_A_MS: u32 = 11;

/// How many entries of the expiry index the litter collection clears away at once, or whoever looks
/// at everything. That takes some ten microseconds, as much as a few requests.
const COLLECTOR_SLICE: usize = 200;

/// How long the litter collection sleeps after a slice during which somebody else came: on one core
/// the others would have to wait for the scheduler otherwise.
const COLLECTOR_PAUSE: Duration = Duration::from_millis(1);

/// Debug builds recount the books after each operation while there are no more peers than this.
const CHECKED_PEERS: usize = 32;

/// All that the requests and the litter collection of one server share.
#[derive(Debug)]
pub struct State {
    clock: Clock,
    wall_clock: WallClock,
    inner: Mutex<Inner>,
    /// What happened, for those who look on.
    feed: Arc<Feed>,
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
    /// How often somebody came through the door.
    visits: u64,
}

/// What an operator sets for the state as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// There are never more peers than this.
    pub max_peers: usize,
    /// While there are so many semaphores, none is made from a template.
    pub max_semaphores: usize,
    /// There are never more parked requests than this.
    pub max_waiters: usize,
    /// No lease is longer.
    pub max_expires_in: Option<Duration>,
    /// For so long nothing is granted at first, so that peers of an earlier start can be restored.
    pub recovery_window: Option<Duration>,
}

/// What became of an ask.
pub struct Asked {
    /// Who asked.
    pub peer: PeerId,
    /// What is left of its lease.
    pub expires_in: Duration,
    /// How far it has come; with a [`Waiter`] where the request may be parked.
    pub progress: Progress<Option<Waiter>>,
}

/// Why an ask was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskError {
    /// The pure room refused.
    Semaphore(Error),
    /// The request would have to be parked, and there is no room for it.
    TooManyWaiters {
        /// How many may wait.
        max: usize,
    },
}

impl Default for Settings {
    /// No limits and no recovery window.
    fn default() -> Self {
        Settings {
            max_peers: usize::MAX,
            max_semaphores: usize::MAX,
            max_waiters: usize::MAX,
            max_expires_in: None,
            recovery_window: None,
        }
    }
}

impl State {
    /// A state in which nobody holds anything.
    pub fn new(semaphores: impl Into<Catalogue>, settings: Settings) -> Arc<Self> {
        State::started_at(clock::since_1970(), semaphores, settings)
    }

    /// The same, where the wall clock shows that time since 1970.
    pub fn started_at(
        since_1970: Duration,
        semaphores: impl Into<Catalogue>,
        settings: Settings,
    ) -> Arc<Self> {
        let clock = Clock::new();
        let start_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        let window = settings.recovery_window.unwrap_or_default();
        let rules = Rules {
            max_peers: settings.max_peers,
            max_semaphores: settings.max_semaphores,
            max_expires_in: settings.max_expires_in,
            grants_from: Timestamp::default().after(window),
            tokens_above: start_ms.saturating_mul(1 << TOKENS_A_MS),
        };
        Arc::new(State {
            clock,
            wall_clock: WallClock::beside(clock),
            feed: Feed::new(),
            inner: Mutex::new(Inner {
                leases: Leases::new(semaphores, rules),
                waiters: Waiters::with_max(settings.max_waiters),
                effects: Effects::new(),
                collector_wakes_at: Timestamp::default(),
                visits: 0,
            }),
            nudge: Notify::new(),
        })
    }

    /// Makes a peer, under a fresh random id unless its maker has chosen one. See
    /// [`Leases::new_peer`]. With `may_park`, a request whose ask is pending gets a [`Waiter`].
    pub fn new_peer(
        self: &Arc<Self>,
        chosen: Option<PeerId>,
        new: NewPeer<'_>,
        may_park: bool,
    ) -> Result<Asked, AskError> {
        self.ask(new.may_queue, may_park, |leases, may_queue, now, fx| {
            let mut id = chosen.unwrap_or_else(random_peer_id);
            while chosen.is_none() && leases.is_taken(id, now) {
                id = random_peer_id();
            }
            Ok((id, leases.new_peer(id, NewPeer { may_queue, ..new }, now, fx)?))
        })
    }

    /// See [`Leases::heartbeat`].
    pub fn heartbeat(&self, id: PeerId, expires_in: Duration) -> Result<Duration, Error> {
        self.apply(|leases, now, fx| leases.heartbeat(id, expires_in, now, fx))
    }

    /// See [`Leases::acquire`]. With `may_park`, a request whose ask is pending gets a [`Waiter`].
    pub fn acquire(
        self: &Arc<Self>,
        id: PeerId,
        asking: Asking<'_>,
        terms: Terms,
        may_park: bool,
    ) -> Result<Asked, AskError> {
        self.ask(terms.may_queue, may_park, |leases, may_queue, now, fx| {
            Ok((id, leases.acquire(id, asking, Terms { may_queue, ..terms }, now, fx)?))
        })
    }

    /// Asks, and parks the request where it may wait. Where it would have to be parked and cannot
    /// be, nothing is queued either.
    fn ask(
        self: &Arc<Self>,
        may_queue: bool,
        may_park: bool,
        operation: impl FnOnce(
            &mut Leases,
            bool,
            Timestamp,
            &mut Effects,
        ) -> Result<(PeerId, Status), Error>,
    ) -> Result<Asked, AskError> {
        self.apply_and(
            |leases, waiters, now, fx| {
                let full = waiters.limit_reached().filter(|_| may_queue && may_park);
                operation(leases, may_queue && full.is_none(), now, fx).map_err(|error| {
                    match (error, full) {
                        (Error::WouldWait { .. }, Some(max)) => AskError::TooManyWaiters { max },
                        (error, _) => AskError::Semaphore(error),
                    }
                })
            },
            |_| None,
            |waiters, asked| {
                let (peer, Status { progress, expires_in }) = asked?;
                let mut register = |ask| Waiter::register(waiters, self.clone(), ask);
                let progress = match progress {
                    Progress::Acquired(token) => Progress::Acquired(token),
                    Progress::Pending(ask) => Progress::Pending(may_park.then(|| register(ask))),
                };
                Ok(Asked { peer, expires_in, progress })
            },
        )
    }

    /// See [`Leases::release`].
    pub fn release(&self, id: PeerId, semaphore: &str) -> Result<Duration, Error> {
        self.apply(|leases, now, fx| leases.release(id, semaphore, now, fx))
    }

    /// See [`Leases::remove_peer`].
    pub fn remove_peer(&self, id: PeerId) -> bool {
        self.apply(|leases, now, fx| leases.remove_peer(id, now, fx))
    }

    /// See [`Leases::is_acquired`].
    pub fn is_acquired(&self, id: PeerId) -> Result<(bool, Duration), Error> {
        self.apply(|leases, now, fx| leases.is_acquired(id, now, fx))
    }

    /// See [`Leases::restore`].
    pub fn restore(&self, id: PeerId, restored: Restored<'_>) -> Result<Duration, Error> {
        self.apply(|leases, now, fx| leases.restore(id, restored, now, fx))
    }

    /// Expires all peers whose leases have ended, and returns how many there were. Others get their
    /// turn in between.
    pub async fn remove_expired(&self) -> usize {
        let mut expired = 0;
        let mut visits = self.inner.lock().visits;
        loop {
            let (count, is_done) = self.apply(|leases, now, fx| {
                let count = leases.expire(now, COLLECTOR_SLICE, fx);
                (count, leases.next_expiry().is_none_or(|at| at > now))
            });
            expired += count;
            if is_done {
                return expired;
            }
            // The slice was one visit.
            let others = self.inner.lock().visits - visits > 1;
            visits += 1;
            if others {
                sleep(COLLECTOR_PAUSE).await;
                visits = self.inner.lock().visits;
            } else {
                // On one core nobody else could have come: they get the core now, if they want it.
                std::thread::yield_now();
                tokio::task::yield_now().await;
            }
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
        self.feed.close();
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
        self.apply_and(
            |leases, _, now, fx| operation(leases, now, fx),
            |_| None,
            |_, result| result,
        )
    }

    /// The one door to the books, for those who want more: `news` says what else has happened, and
    /// `register` may have a request wait for what was found. Both run under the same lock.
    fn apply_and<R, S>(
        &self,
        operation: impl FnOnce(&mut Leases, &Waiters, Timestamp, &mut Effects) -> R,
        news: impl FnOnce(&R) -> Option<News>,
        register: impl FnOnce(&mut Waiters, R) -> S,
    ) -> S {
        let mut aftermath = Aftermath::default();
        let mut inner = self.inner.lock();
        let Inner { leases, waiters, effects, collector_wakes_at, visits } = &mut *inner;
        *visits += 1;
        effects.is_followed = self.feed.is_followed();
        let now = self.clock.now();
        let result = operation(leases, waiters, now, effects);
        for effect in effects.ends.drain(..) {
            aftermath.add(effect, waiters);
        }
        effects.events.iter().for_each(|event| aftermath.look_at(event));
        let turn = std::mem::take(&mut effects.turn);
        if let Some(news) = news(&result) {
            let before = effects.events.drain(..turn).map(News::Lock);
            self.feed.enter(now, before.chain([news]));
            aftermath.has_news = true;
        }
        if !effects.events.is_empty() {
            self.feed.enter(now, effects.events.drain(..).map(News::Lock));
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
        aftermath.follow(&self.nudge, &self.feed);
        result
    }
}

impl Registry for State {
    fn forget_waiter(&self, place: Place) {
        self.waiters().forget(place);
    }
}

/// Shorthands for the tests of those who stand around the books.
#[cfg(test)]
impl State {
    /// A peer without locks.
    pub fn peer_for(self: &Arc<Self>, expires_in: Duration) -> PeerId {
        let new = NewPeer { expires_in, about: None, acquire: &[], may_queue: true };
        self.new_peer(None, new, false).unwrap().peer
    }

    /// Asks for one permit, with a request that may be parked.
    pub fn ask_for(
        self: &Arc<Self>,
        id: PeerId,
        semaphore: &str,
    ) -> Result<Progress<Option<Waiter>>, AskError> {
        let terms = Terms { expires_in: None, may_queue: true };
        self.acquire(id, Asking::Lock((semaphore, 1)), terms, true).map(|asked| asked.progress)
    }
}
