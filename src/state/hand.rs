//! What operators do by hand: revoke, resize, pause, and configure anew.
//!
//! Each of these is logged with who asked for it, as a warning, so that it stands in the log by
//! default. Who may ask is decided elsewhere.

use std::sync::Arc;

use log::warn;

use super::State;
use crate::{
    feed::{News, Reloaded},
    semaphore::{
        Adjustment, Catalogue, Effects, Error, Leases, PeerId, SemaphoreSnapshot, Timestamp,
    },
};

/// A semaphore as it is after somebody changed it.
type Resized = Result<SemaphoreSnapshot, Error>;

impl State {
    /// See [`Leases::revoke`].
    pub fn revoke(&self, id: PeerId, by: &str) -> bool {
        let was_there = self.apply(|leases, now, fx| leases.revoke(id, now, fx));
        if was_there {
            warn!(target: "throttle", peer = id.0, by; "peer {id} revoked by {by}");
        }
        was_there
    }

    /// See [`Leases::adjust`].
    pub fn adjust(
        &self,
        semaphore: &str,
        adjustment: Adjustment,
        by: &str,
    ) -> Result<SemaphoreSnapshot, Error> {
        self.resize(by, |leases, now, fx| leases.adjust(semaphore, adjustment, now, fx))
    }

    /// See [`Leases::reset`].
    pub fn reset(&self, semaphore: &str, by: &str) -> Result<SemaphoreSnapshot, Error> {
        self.resize(by, |leases, now, fx| leases.reset(semaphore, now, fx))
    }

    fn resize(
        &self,
        by: &str,
        operation: impl FnOnce(&mut Leases, Timestamp, &mut Effects) -> Resized,
    ) -> Resized {
        let resized = self.apply(|leases, now, fx| {
            let resized = operation(leases, now, fx)?;
            let news = News::Resized {
                semaphore: resized.name.clone(),
                max: resized.max,
                is_paused: resized.is_paused,
                by: by.into(),
            };
            self.feed.enter(now, std::iter::once(news));
            Ok(resized)
        })?;
        self.feed.wake();
        let SemaphoreSnapshot { name, max, is_paused, .. } = &resized;
        let paused = if *is_paused { "paused" } else { "not paused" };
        warn!(
            target: "throttle", semaphore = **name, max, paused = is_paused, by;
            "semaphore `{name}` set to max {max}, {paused}, by {by}"
        );
        Ok(resized)
    }

    /// See [`Leases::configure`]. `needs_restart` has what else of the configuration has changed.
    pub fn configure(
        &self,
        catalogue: Catalogue,
        needs_restart: Vec<&'static str>,
        by: &str,
    ) -> Arc<Reloaded> {
        let reloaded = self.apply(|leases, now, fx| {
            let changes = leases.configure(catalogue, now, fx);
            let reloaded = Arc::new(Reloaded { changes, needs_restart, by: by.into() });
            self.feed.enter(now, std::iter::once(News::Reloaded(reloaded.clone())));
            reloaded
        });
        self.feed.wake();
        reloaded
    }
}
