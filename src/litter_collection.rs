//! The background task that expires peers, at the moment at which their leases end.
//!
//! It decides nothing: it only sees to it that somebody looks at the books in time, even when no
//! request does.

use std::{sync::Arc, time::Duration};

use log::{debug, info};

use crate::state::State;

/// Runs for as long as the server does. `interval` bounds how long it sleeps at the most; a lease
/// that ends sooner wakes it.
pub async fn run(state: Arc<State>, interval: Duration) {
    let seconds = interval.as_secs_f64();
    info!(interval_seconds = seconds; "Start litter collection with interval: {seconds}s");
    loop {
        let expired = state.remove_expired().await;
        if expired > 0 {
            debug!(expired; "litter collection expired {expired} peers");
        }
        state.sleep_until_next_expiry(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::{
        clock::Clock,
        semaphore::{PeerId, Progress, SemaphoreConfig},
        state::Settings,
        waiting::Outcome,
    };

    const HOUR: Duration = Duration::from_secs(3_600);

    /// A state whose only permit is held by the first peer, and whose collector sleeps for an hour
    /// unless somebody nudges it.
    async fn state() -> (Arc<State>, PeerId, PeerId) {
        let state = State::new([("A", SemaphoreConfig::new(1))], Settings::default());
        tokio::spawn(run(state.clone(), HOUR));
        tokio::task::yield_now().await;
        let (holder, waiting) = (state.peer_for(24 * HOUR), state.peer_for(24 * HOUR));
        assert!(matches!(state.ask_for(holder, "A"), Ok(Progress::Acquired(_))));
        (state, holder, waiting)
    }

    /// Waits until the second peer has the permit, and returns how long that took.
    async fn time_until_granted(state: &Arc<State>, waiting: PeerId) -> Duration {
        let Ok(Progress::Pending(Some(mut waiter))) = state.ask_for(waiting, "A") else {
            panic!("the permit is free");
        };
        #[expect(clippy::disallowed_methods, reason = "the time is paused")]
        let start = Instant::now();
        assert!(matches!(waiter.outcome(12 * HOUR).await, Outcome::Acquired { .. }));
        start.elapsed()
    }

    fn assert_is(expected: Duration, actual: Duration) {
        // The timer goes by milliseconds, and never fires early.
        assert!(actual >= expected && actual < expected + Duration::from_millis(3), "{actual:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn lease_ends_at_its_deadline_whatever_the_interval() {
        let (state, holder, waiting) = state().await;

        state.heartbeat(holder, Duration::from_millis(1_500)).unwrap();

        assert_is(Duration::from_millis(1_500), time_until_granted(&state, waiting).await);
    }

    #[tokio::test(start_paused = true)]
    async fn extended_lease_does_not_end_at_its_old_deadline() {
        let (state, holder, waiting) = state().await;
        state.heartbeat(holder, Duration::from_secs(10)).unwrap();
        advance(Duration::from_secs(9)).await;

        state.heartbeat(holder, Duration::from_secs(10)).unwrap();

        assert_is(Duration::from_secs(10), time_until_granted(&state, waiting).await);
    }

    #[tokio::test(start_paused = true)]
    async fn lease_that_is_longer_than_the_interval_ends_on_time() {
        let (state, holder, waiting) = state().await;

        state.heartbeat(holder, 5 * HOUR / 2).unwrap();

        assert_is(5 * HOUR / 2, time_until_granted(&state, waiting).await);
    }

    #[tokio::test(start_paused = true)]
    async fn many_leases_that_end_together_are_all_cleared_away() {
        let (state, holder, waiting) = state().await;
        for _ in 0..10_000 {
            state.peer_for(Duration::from_secs(1));
        }
        state.heartbeat(holder, Duration::from_secs(1)).unwrap();

        // Others have their turns in between.
        let took = time_until_granted(&state, waiting).await;
        assert!((1_000..1_200).contains(&took.as_millis()), "{took:?}");

        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(1, state.overview().peers);
        assert_eq!(0, state.remove_expired().await);
    }

    #[tokio::test(start_paused = true)]
    async fn remove_expired_counts_what_it_expires() {
        let state = State::new([], Settings::default());
        for _ in 0..2_500 {
            state.peer_for(Duration::from_secs(1));
        }
        state.peer_for(HOUR);

        advance(Duration::from_secs(1)).await;

        assert_eq!(2_500, state.remove_expired().await);
        assert_eq!(0, state.remove_expired().await);
    }

    #[tokio::test(start_paused = true)]
    async fn clock_does_not_overflow() {
        let clock = Clock::new();

        let endless = tokio::spawn(async move {
            clock.sleep_until(crate::semaphore::Timestamp::MAX).await;
        });
        advance(HOUR).await;

        assert!(!endless.is_finished());
    }
}
