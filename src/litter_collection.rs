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
    info!("Start litter collection with interval: {}s", interval.as_secs_f64());
    loop {
        let expired = state.remove_expired().await;
        if expired > 0 {
            debug!("litter collection expired {expired} peers");
        }
        state.sleep_until_next_expiry(interval).await;
    }
}
