//! One semaphore: its permits, and the asks that wait for them in the order of their arrival.
//!
//! An ask passes through a semaphore in three steps: it *approaches* (it still waits for another
//! semaphore, which comes earlier), it *stands* in the queue, it has *reserved* its permits. An ask
//! for a single lock is granted where it would reserve, so it only ever stands.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Arrival, SemaphoreConfig, Source, Totals,
    units::{AskIx, PeerIx},
};

/// Asks in the order of their arrival: O(log Q) to enter, to leave, and to leave from the middle.
pub(super) type Queue = BTreeMap<Arrival, AskIx>;

/// A named resource with a max and a level, and who has or wants its permits.
#[derive(Debug)]
pub(super) struct Semaphore {
    pub(super) name: Arc<str>,
    pub(super) max: i64,
    pub(super) level: i32,
    /// Whether nothing is granted, for somebody said so.
    pub(super) is_paused: bool,
    pub(super) source: Source,
    /// What the configuration says, or said where it names this semaphore no more.
    pub(super) configured: SemaphoreConfig,
    /// Permits that peers hold. Only a restore or a lowered max can bring it above `max`.
    pub(super) acquired: i64,
    /// Permits set aside for asks that still wait for others. Where there are any,
    /// `acquired + reserved` is at most `max`.
    pub(super) reserved: i64,
    /// Permits of all pending asks that name this semaphore. Each count fits an `i64`, not so
    /// their sum.
    pub(super) pending: i128,
    pub(super) approaching: Queue,
    pub(super) standing: Queue,
    pub(super) reserving: Queue,
    /// Who holds permits, in no particular order. Each lock knows its place here.
    pub(super) holders: Vec<PeerIx>,
    pub(super) totals: Totals,
}

impl Semaphore {
    pub(super) fn new(name: Arc<str>, source: Source, config: SemaphoreConfig) -> Self {
        Semaphore {
            name,
            max: config.max,
            level: config.level,
            is_paused: false,
            source,
            configured: config,
            acquired: 0,
            reserved: 0,
            pending: 0,
            approaching: Queue::new(),
            standing: Queue::new(),
            reserving: Queue::new(),
            holders: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Whether nobody holds or waits for any of it.
    pub(super) fn is_unused(&self) -> bool {
        self.acquired == 0 && self.pending == 0
    }

    /// Whether its max was set by hand.
    pub(super) fn is_resized(&self) -> bool {
        self.max != self.configured.max
    }

    /// Whether it is as somebody has set it by hand.
    pub(super) fn is_adjusted(&self) -> bool {
        self.is_paused || self.is_resized()
    }

    /// Whether there is something to do once nobody uses it (see `Leases::sweep`).
    pub(super) fn is_transient(&self) -> bool {
        self.source != Source::File || self.level != self.configured.level
    }

    /// How many asks name it.
    pub(super) fn waiting(&self) -> usize {
        self.approaching.len() + self.standing.len() + self.reserving.len()
    }

    /// Permits that nobody holds or has reserved; negative where more is acquired than there is.
    pub(super) fn room(&self) -> i64 {
        // Neither `max` nor `acquired` is negative, so their difference fits.
        (self.max - self.acquired).saturating_sub(self.reserved)
    }

    /// Whether a new ask, which came after all others, may have `count` permits now: there is room,
    /// and nobody stands in the queue.
    pub(super) fn has_room_for(&self, count: i64) -> bool {
        count <= self.room() && !self.is_paused && self.standing.is_empty()
    }

    /// The pending ask that came first of all that name this semaphore.
    pub(super) fn longest_pending(&self) -> Option<AskIx> {
        [&self.approaching, &self.standing, &self.reserving]
            .into_iter()
            .filter_map(|queue| queue.first_key_value())
            .min_by_key(|(arrival, _)| **arrival)
            .map(|(_, ask)| *ask)
    }
}
