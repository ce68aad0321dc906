//! What operators do by hand: revoke, resize, pause, and configure anew.
//!
//! Each of these is logged with who asked for it, as a warning, so that it stands in the log by
//! default. Who may ask is decided elsewhere.

use std::sync::Arc;

use log::warn;

use super::State;
use crate::{
    feed::{News, Reloaded},
    log_text,
    semaphore::{
        About, Adjustment, Catalogue, Effects, Error, Leases, PeerId, SemaphoreSnapshot, Timestamp,
    },
};

/// A semaphore as it is after somebody changed it.
type Changed = Result<SemaphoreSnapshot, Error>;

impl State {
    /// See [`Leases::revoke`].
    pub fn revoke(&self, id: PeerId, by: &str) -> bool {
        let Some(about) = self.apply(|leases, now, fx| leases.revoke(id, now, fx)) else {
            return false;
        };
        let name = about.as_ref().and_then(About::name);
        let named = log_text::named(id, about.as_ref());
        warn!(target: "throttle", peer = id.0, name, by; "peer {named} revoked by {by}");
        true
    }

    /// See [`Leases::adjust`].
    pub fn adjust(&self, semaphore: &str, adjustment: Adjustment, by: &str) -> Changed {
        self.change(by, |leases, now, fx| leases.adjust(semaphore, adjustment, now, fx))
    }

    /// See [`Leases::reset`].
    pub fn reset(&self, semaphore: &str, by: &str) -> Changed {
        self.change(by, |leases, now, fx| leases.reset(semaphore, now, fx))
    }

    fn change(
        &self,
        by: &str,
        operation: impl FnOnce(&mut Leases, Timestamp, &mut Effects) -> Changed,
    ) -> Changed {
        let news = |changed: &Changed| {
            let SemaphoreSnapshot { name, max, is_paused, .. } = changed.as_ref().ok()?;
            let (semaphore, max, is_paused) = (name.clone(), *max, *is_paused);
            Some(News::Resized { semaphore, max, is_paused, by: by.into() })
        };
        let operation = |leases: &mut Leases, _: &_, now, fx: &mut _| operation(leases, now, fx);
        let changed = self.apply_and(operation, news, |_, changed| changed)?;
        let SemaphoreSnapshot { name, max, is_paused, .. } = &changed;
        let paused = if *is_paused { "paused" } else { "not paused" };
        warn!(
            target: "throttle", semaphore = **name, max, paused = is_paused, by;
            "semaphore `{name}` set to max {max}, {paused}, by {by}"
        );
        Ok(changed)
    }

    /// See [`Leases::configure`]. `needs_restart` has what else of the configuration has changed.
    pub fn configure(
        &self,
        catalogue: Catalogue,
        needs_restart: Vec<&'static str>,
        by: &str,
    ) -> Arc<Reloaded> {
        let operation = |leases: &mut Leases, _: &_, now, fx: &mut _| {
            let changes = leases.configure(catalogue, now, fx);
            Arc::new(Reloaded { changes, needs_restart, by: by.into() })
        };
        let news = |reloaded: &Arc<Reloaded>| Some(News::Reloaded(reloaded.clone()));
        self.apply_and(operation, news, |_, reloaded| reloaded)
    }
}
