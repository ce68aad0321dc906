//! Counts the requests that are being answered, so that a shutdown can wait for them.

use std::{
    borrow::Borrow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};

/// How often a shutdown looks whether all requests are answered.
const POLL: Duration = Duration::from_millis(5);

/// It must find so many times in a row that they are: what a client had sent already when the
/// shutdown began is still to be read, and answers are still to be written.
const QUIET_POLLS: u32 = 10;

/// A cheap handle; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicUsize,
    is_draining: AtomicBool,
}

/// One request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct Entered<H: Borrow<InFlight>>(H);

impl InFlight {
    /// Counts one more request.
    pub fn enter(&self) -> Entered<&Self> {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
        Entered(self)
    }

    /// Whether a shutdown waits: connections are to be closed after their next answer.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Acquire)
    }

    /// From now on connections are closed after their next answer.
    pub fn start_draining(&self) {
        self.0.is_draining.store(true, Ordering::Release);
    }

    /// Returns once no request is being answered any more, and after `at_most` in any case.
    pub async fn drain(&self, at_most: Duration) {
        // Either way the shutdown goes on.
        let _ = timeout(at_most, self.quiet()).await;
    }

    async fn quiet(&self) {
        let mut quiet_polls = 0;
        while quiet_polls < QUIET_POLLS {
            sleep(POLL).await;
            let is_quiet = self.0.requests.load(Ordering::Acquire) == 0;
            quiet_polls = if is_quiet { quiet_polls + 1 } else { 0 };
        }
    }
}

impl Entered<&InFlight> {
    /// The same for whoever cannot borrow: counts once more.
    pub fn to_owned(&self) -> Entered<InFlight> {
        self.0.0.requests.fetch_add(1, Ordering::AcqRel);
        Entered(self.0.clone())
    }
}

impl<H: Borrow<InFlight>> Drop for Entered<H> {
    fn drop(&mut self) {
        self.0.borrow().0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_the_last_request() {
        let in_flight = InFlight::default();
        let entered = in_flight.enter();

        in_flight.start_draining();
        let draining = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.drain(Duration::from_secs(60)).await }
        });
        sleep(Duration::from_secs(10)).await;
        assert!(!draining.is_finished());
        assert!(in_flight.is_draining());
        drop(entered);
        sleep(Duration::from_secs(1)).await;

        assert!(draining.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn drain_does_not_wait_for_ever() {
        let in_flight = InFlight::default();
        let _entered = in_flight.enter();

        in_flight.drain(Duration::from_secs(5)).await;
    }
}
