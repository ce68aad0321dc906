//! Requests that are parked on a pending ask, and how they learn of its end.
//!
//! A request looks at the books and registers here under the same lock (`State::apply`), so no
//! wake-up is lost between the two. It is woken after the lock is let go. Whoever stops waiting,
//! for whatever reason, deregisters by dropping its [`Waiter`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use smallvec::SmallVec;
use tokio::{sync::oneshot, time::timeout};

use crate::semaphore::{Arrival, Effect, Token};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The locks that were waited for are acquired.
    Acquired {
        /// The token of the grant.
        token: Token,
        /// What was left of the lease at that moment.
        expires_in: Duration,
    },
    /// The ask was cancelled, or is for less than what was waited for.
    Withdrawn,
    /// The peer was released or expired.
    PeerGone,
    /// Time is over, or the server shuts down; the ask is pending still.
    StillPending,
}

/// Wakes one parked request.
pub type Wake = oneshot::Sender<Outcome>;

/// Wakes all who wait for one ask: a client that asked again has several requests parked.
pub type Wakes = SmallVec<[Wake; 1]>;

/// Names a parked request: the ask that it waits for, and a number of its own.
pub type Place = (Arrival, u64);

/// The parked requests. O(log) to enter and to leave, however many wait for one ask.
type Parked = BTreeMap<Place, Wake>;

/// Whoever keeps the [`Waiters`], behind a lock of its own.
pub trait Registry: Send + Sync {
    /// Forgets a request that waits no more.
    fn forget_waiter(&self, place: Place);
}

/// Who waits for which ask.
#[derive(Debug)]
pub struct Waiters {
    parked: Parked,
    /// There are never more parked requests than this.
    max: usize,
    /// How many requests were ever parked.
    numbers: u64,
    is_closed: bool,
}

impl Waiters {
    /// Nobody waits, and never more than `max` will.
    pub fn with_max(max: usize) -> Self {
        Waiters { parked: Parked::new(), max, numbers: 0, is_closed: false }
    }

    /// How many requests may be parked, where so many are that no other can be.
    pub fn limit_reached(&self) -> Option<usize> {
        (self.parked.len() >= self.max).then_some(self.max)
    }

    /// Parks a request. Once closed, the wait is over as soon as it starts.
    fn park(&mut self, ask: Arrival) -> (Place, oneshot::Receiver<Outcome>) {
        let (wake, outcome) = oneshot::channel();
        self.numbers += 1;
        let place = (ask, self.numbers);
        if !self.is_closed {
            self.parked.insert(place, wake);
        }
        (place, outcome)
    }

    /// Takes out the waiters whom an effect concerns, and what they shall be told.
    pub fn take(&mut self, effect: &Effect) -> Option<(Wakes, Outcome)> {
        let (ask, outcome) = match effect {
            Effect::Acquired { ask, token, expires_in } => {
                (ask, Outcome::Acquired { token: *token, expires_in: *expires_in })
            }
            Effect::Withdrawn(ask) => (ask, Outcome::Withdrawn),
            Effect::PeerGone(ask) => (ask, Outcome::PeerGone),
            Effect::RecoveryEnded => return None,
        };
        let mut wakes = Wakes::new();
        while let Some((place, _)) = self.parked.range((*ask, 0)..=(*ask, u64::MAX)).next() {
            let place = *place;
            wakes.extend(self.parked.remove(&place));
        }
        (!wakes.is_empty()).then_some((wakes, outcome))
    }

    /// Ends all waits, those to come included, as soon as what it returns is dropped: whose `Wake`
    /// is dropped finds its ask pending still.
    #[must_use = "to be dropped after the lock is let go"]
    pub fn close(&mut self) -> Parked {
        self.is_closed = true;
        std::mem::take(&mut self.parked)
    }

    /// Whether no wait is accepted any more, for the server shuts down.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Forgets a request that waits no more.
    pub fn forget(&mut self, place: Place) {
        self.parked.remove(&place);
    }

    /// How many requests are parked.
    pub fn count(&self) -> usize {
        self.parked.len()
    }
}

/// One parked request. Dropping it deregisters it; the ask stays pending.
pub struct Waiter {
    registry: Arc<dyn Registry>,
    place: Place,
    outcome: oneshot::Receiver<Outcome>,
}

impl Waiter {
    /// Registers a request that waits for `ask`. To be called under the lock under which the ask
    /// was seen pending.
    pub fn register(waiters: &mut Waiters, registry: Arc<dyn Registry>, ask: Arrival) -> Self {
        let (place, outcome) = waiters.park(ask);
        Waiter { registry, place, outcome }
    }

    /// Waits until the ask ends, but no longer than `block_for`. To be called once.
    pub async fn outcome(&mut self, block_for: Duration) -> Outcome {
        match timeout(block_for, &mut self.outcome).await {
            Ok(Ok(outcome)) => outcome,
            // Either the waiters were closed, or time is over. An outcome that is being sent at
            // this very moment is not lost: whoever asks again is told the same by the books.
            Ok(Err(_)) | Err(_) => Outcome::StillPending,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // After an outcome there is nobody to deregister, nor is there after the waiters closed.
        if !self.outcome.is_terminated() {
            self.registry.forget_waiter(self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        semaphore::{PeerId, Progress, SemaphoreConfig},
        state::{AskError, Settings, State},
    };

    const HOUR: Duration = Duration::from_secs(3_600);

    fn state() -> (Arc<State>, [PeerId; 2]) {
        with_settings(Settings::default())
    }

    fn with_settings(settings: Settings) -> (Arc<State>, [PeerId; 2]) {
        let state = State::new([("A", SemaphoreConfig::new(1))], settings);
        let peers = [(); 2].map(|()| state.peer_for(HOUR));
        assert!(matches!(state.ask_for(peers[0], "A"), Ok(Progress::Acquired(Some(_)))));
        (state, peers)
    }

    fn park(state: &Arc<State>, peer: PeerId) -> Waiter {
        match state.ask_for(peer, "A") {
            Ok(Progress::Pending(Some(waiter))) => waiter,
            _ => panic!("not parked"),
        }
    }

    fn parked(state: &State) -> usize {
        state.waiters().count()
    }

    #[tokio::test(start_paused = true)]
    async fn outcome_that_came_before_the_wait_is_not_lost() {
        let (state, peers) = state();
        let mut waiter = park(&state, peers[1]);

        state.release(peers[0], "A").unwrap();

        assert!(matches!(waiter.outcome(Duration::ZERO).await, Outcome::Acquired { .. }));
        assert_eq!(0, parked(&state));
    }

    #[tokio::test(start_paused = true)]
    async fn wait_that_is_over_deregisters_one_waiter_and_no_other() {
        let (state, peers) = state();
        let (mut patient, mut hasty) = (park(&state, peers[1]), park(&state, peers[1]));
        assert_eq!(2, parked(&state));

        assert_eq!(Outcome::StillPending, hasty.outcome(Duration::from_secs(1)).await);
        drop(hasty);

        assert_eq!(1, parked(&state));
        assert!(state.remove_peer(peers[1]));
        assert_eq!(Outcome::PeerGone, patient.outcome(HOUR).await);
        assert_eq!(0, parked(&state));
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_waiter_deregisters_and_leaves_the_lock_pending() {
        let (state, peers) = state();

        drop(park(&state, peers[1]));

        assert_eq!(0, parked(&state));
        assert!(!state.is_acquired(peers[1]).unwrap().0);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_all_waits_those_to_come_included() {
        let (state, peers) = state();
        let mut before = park(&state, peers[1]);

        state.shut_down();

        assert_eq!(Outcome::StillPending, before.outcome(HOUR).await);
        assert_eq!(Outcome::StillPending, park(&state, peers[1]).outcome(HOUR).await);
        assert!(state.is_shutting_down());
    }

    #[tokio::test(start_paused = true)]
    async fn endless_wait_does_not_overflow() {
        let (state, peers) = state();
        let mut waiter = park(&state, peers[1]);

        let waiting = tokio::spawn(async move { waiter.outcome(Duration::MAX).await });
        tokio::task::yield_now().await;
        state.release(peers[0], "A").unwrap();

        assert!(matches!(waiting.await.unwrap(), Outcome::Acquired { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_limit_nobody_is_parked_and_nothing_is_queued() {
        let settings = Settings { max_waiters: 1, ..Settings::default() };
        let (state, peers) = with_settings(settings);
        let first = park(&state, peers[1]);
        let late = state.peer_for(HOUR);

        let refused = state.ask_for(late, "A").map(|_| ());
        assert_eq!(Err(AskError::TooManyWaiters { max: 1 }), refused);
        let refused = state.ask_for(peers[1], "A").map(|_| ());
        assert_eq!(Err(AskError::TooManyWaiters { max: 1 }), refused);

        assert!(state.is_acquired(late).unwrap().0, "nothing is queued");
        assert!(!state.is_acquired(peers[1]).unwrap().0, "what was queued keeps its place");
        assert!(
            matches!(state.ask_for(peers[0], "A"), Ok(Progress::Acquired(_))),
            "it need not wait"
        );
        drop(first);
        let second = park(&state, late);
        assert_eq!(Some(1), state.waiters().limit_reached());
        state.shut_down();
        assert_eq!(None, state.waiters().limit_reached(), "who waits now does not wait at all");
        assert_eq!(Outcome::StillPending, park(&state, peers[1]).outcome(HOUR).await);
        drop(second);
    }
}
