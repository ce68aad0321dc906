//! Counts the requests that are being answered, so that a shutdown can wait for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How often a shutdown looks whether all requests are answered.
const POLL: Duration = Duration::from_millis(5);

/// A cheap handle; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<AtomicUsize>);

/// One request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct Entered(InFlight);

impl InFlight {
    /// Counts one more request.
    pub fn enter(&self) -> Entered {
        self.0.fetch_add(1, Ordering::AcqRel);
        Entered(self.clone())
    }

    /// Returns once no request is being answered, and after `at_most` in any case.
    pub async fn drained(&self, at_most: Duration) {
        let polls = at_most.as_millis() / POLL.as_millis();
        for _ in 0..polls {
            if self.0.load(Ordering::Acquire) == 0 {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}
