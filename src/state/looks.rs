//! What those see who only look.

use std::{sync::Arc, time::Duration};

use super::{COLLECTOR_SLICE, State};
use crate::{
    feed::Feed,
    semaphore::{
        Effects, Error, Leases, Page, PeerId, PeerSnapshot, SemaphoreSnapshot, SemaphoreView,
        Timestamp,
    },
    waiting::Waiters,
};

/// How things are at one moment.
#[derive(Clone, Debug)]
pub struct Overview {
    /// All semaphores in the order of their names.
    pub semaphores: Vec<SemaphoreSnapshot>,
    /// How many peers there are.
    pub peers: usize,
    /// How many requests are parked.
    pub waiters: usize,
    /// How long nothing is granted yet, while a recovery window lasts.
    pub recovery_left: Option<Duration>,
}

impl State {
    /// See [`Leases::remainder`].
    pub fn remainder(&self, semaphore: &str) -> Result<i64, Error> {
        self.apply(|leases, now, fx| leases.remainder(semaphore, now, fx))
    }

    /// How things are at this moment. O(semaphores), however many peers there are.
    pub fn overview(&self) -> Overview {
        let look = |leases: &mut Leases, waiters: &Waiters, now, fx: &mut Effects| {
            leases.expire(now, COLLECTOR_SLICE, fx);
            Overview {
                semaphores: leases.semaphores(now).collect(),
                peers: leases.peer_count(),
                waiters: waiters.count(),
                recovery_left: leases.grants_from().map(|at| at.since(now)),
            }
        };
        self.apply_and(look, |_| None, |_, overview| overview)
    }

    /// How long nothing is granted yet, while a recovery window lasts.
    pub fn recovery_left(&self) -> Option<Duration> {
        self.apply(|leases, now, fx| {
            leases.expire(now, 0, fx);
            leases.grants_from().map(|at| at.since(now))
        })
    }

    /// See [`Leases::semaphore`].
    pub fn semaphore(&self, name: &str, page: Page) -> Result<SemaphoreView, Error> {
        self.apply(|leases, now, fx| leases.semaphore(name, page, now, fx))
    }

    /// See [`Leases::peer`].
    pub fn peer(&self, id: PeerId) -> Result<PeerSnapshot, Error> {
        self.apply(|leases, now, fx| leases.peer(id, now, fx))
    }

    /// See [`Leases::peers`]. Looks at each under the lock: for people, not for loops.
    pub fn peers(&self, page: Page) -> Vec<PeerSnapshot> {
        self.apply(|leases, now, _| leases.peers(page, now).collect())
    }

    /// What happens.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// What the wall clock showed at that point in time: the time since 1970.
    pub fn wall_clock(&self, point: Timestamp) -> Duration {
        self.wall_clock.at(point)
    }

    /// What the wall clock shows.
    pub fn wall_clock_now(&self) -> Duration {
        self.wall_clock.at(self.clock.now())
    }
}
