//! Which semaphores there are, and how they change while the server runs: made at their first use,
//! resized, paused, configured anew, and gone when nobody uses them.

use std::sync::Arc;

use super::{
    Catalogue, Effect, Effects, Error, Leases, Lock, Locks, SemaphoreConfig, SemaphoreIx,
    SemaphoreSnapshot, Source, Timestamp, leases::SLICE, queue::Semaphore,
};

/// What somebody sets of a semaphore by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adjustment {
    /// How many permits there shall be, 0 or more.
    pub max: Option<i64>,
    /// Whether nothing shall be granted.
    pub paused: Option<bool>,
}

/// What a new configuration changed, by the names of semaphores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// They are new, or were on their way out.
    pub added: Vec<Arc<str>>,
    /// They have another max or level now, or come from elsewhere.
    pub changed: Vec<Arc<str>>,
    /// They serve those who hold or wait, and go.
    pub removed: Vec<Arc<str>>,
    /// They are not as the configuration has them.
    pub kept: Vec<Kept>,
}

/// A semaphore that is not as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub semaphore: Arc<str>,
    /// Why not.
    pub reason: Reason,
}

/// Why a semaphore is not as the configuration has it. The text goes on after its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Its max was set by hand.
    #[error("stays at max {max}, set by hand, and not {configured}")]
    Resized {
        /// What it stays at.
        max: i64,
        /// What the configuration says.
        configured: i64,
    },
    /// Its level does not change while it is in use: that could make a deadlock.
    #[error("stays at level {level} while it is in use, then {configured}")]
    InUse {
        /// What it stays at for the time being.
        level: i32,
        /// What the configuration says, and what it will be once nobody uses it.
        configured: i32,
    },
}

impl Leases {
    /// Sets a semaphore by hand. A greater max serves the queue at once. A smaller one revokes
    /// nothing; asks that could now never be granted are withdrawn.
    ///
    /// # Errors
    /// [`Error::UnknownSemaphore`], [`Error::TooManySemaphores`].
    pub fn adjust(
        &mut self,
        name: &str,
        adjustment: Adjustment,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<SemaphoreSnapshot, Error> {
        let ix = self.begin_change(name, now, effects)?;
        let semaphore = &mut self.permits[ix];
        let max_before = semaphore.max;
        semaphore.max = adjustment.max.unwrap_or(max_before);
        semaphore.is_paused = adjustment.paused.unwrap_or(semaphore.is_paused);
        self.adapt(ix, max_before, now, effects);
        self.settle_grants(now, effects);
        Ok(self.overview_of(ix, now))
    }

    /// Undoes what was set by hand.
    ///
    /// # Errors
    /// [`Error::UnknownSemaphore`], [`Error::TooManySemaphores`].
    pub fn reset(
        &mut self,
        name: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<SemaphoreSnapshot, Error> {
        let ix = self.begin_change(name, now, effects)?;
        let semaphore = &mut self.permits[ix];
        semaphore.is_paused = false;
        let max_before = std::mem::replace(&mut semaphore.max, semaphore.configured.max);
        self.adapt(ix, max_before, now, effects);
        self.settle_grants(now, effects);
        Ok(self.overview_of(ix, now))
    }

    /// Takes over another configuration. What was set by hand stays. The level of a semaphore that
    /// is in use changes once nobody uses it any more: before, it could make a deadlock.
    pub fn configure(
        &mut self,
        catalogue: Catalogue,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Changes {
        self.expire(now, SLICE, effects);
        effects.turn = effects.events.len();
        self.catalogue = catalogue;
        let mut changes = Changes::default();
        let all = self.in_order.clone();
        // All of them change before anybody feels it: a grant may need several.
        let before: Vec<_> = all.iter().map(|ix| self.configure_one(*ix, &mut changes)).collect();
        for (ix, max_before) in all.iter().zip(before) {
            self.adapt(*ix, max_before, now, effects);
        }
        self.settle_grants(now, effects);
        changes.kept = all.iter().flat_map(|ix| self.kept(*ix)).collect();
        let semaphores = self.catalogue.semaphores.iter();
        let new = semaphores.filter(|(name, _)| !self.names.contains_key(name.as_str()));
        for (name, config) in new.map(|(name, config)| (name.clone(), *config)).collect::<Vec<_>>()
        {
            let ix = self.add(&name, Source::File, config);
            changes.added.push(self.permits[ix].name.clone());
        }
        changes
    }

    /// Takes over what the configuration says of a semaphore that exists, and returns what its max
    /// was before.
    fn configure_one(&mut self, ix: SemaphoreIx, changes: &mut Changes) -> i64 {
        let semaphore = &mut self.permits[ix];
        let max_before = semaphore.max;
        let name = semaphore.name.clone();
        let before = (semaphore.source, semaphore.configured);
        let is_resized = semaphore.is_resized();
        let found = self.catalogue.find(&name);
        let (source, configured) = found.unwrap_or((Source::Removed, semaphore.configured));
        semaphore.source = source;
        semaphore.configured = configured;
        if !is_resized {
            semaphore.max = configured.max;
        }
        match (before, source) {
            ((Source::Removed, _), Source::Removed) => {}
            (_, Source::Removed) => changes.removed.push(name),
            ((Source::Removed, _), _) => changes.added.push(name),
            (before, _) if before != (source, configured) => changes.changed.push(name),
            _ => {}
        }
        max_before
    }

    /// What of a semaphore is not as the configuration has it.
    fn kept(&self, ix: SemaphoreIx) -> impl Iterator<Item = Kept> + use<> {
        let semaphore = &self.permits[ix];
        let Semaphore { max, level, configured, .. } = *semaphore;
        let is_configured = semaphore.source != Source::Removed;
        let resized = Reason::Resized { max, configured: configured.max };
        let in_use = Reason::InUse { level, configured: configured.level };
        let is_resized = is_configured && semaphore.is_resized();
        let is_in_use = is_configured && level != configured.level && !semaphore.is_unused();
        let name = semaphore.name.clone();
        [is_resized.then_some(resized), is_in_use.then_some(in_use)]
            .into_iter()
            .flatten()
            .map(move |reason| Kept { semaphore: name.clone(), reason })
    }

    /// The semaphore that is to be changed. What happened before is told from what comes of it.
    fn begin_change(
        &mut self,
        name: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<SemaphoreIx, Error> {
        self.expire(now, SLICE, effects);
        effects.turn = effects.events.len();
        self.index_of(name)
    }

    /// Lets those who hold and wait feel that a semaphore was changed. What becomes free is handed
    /// on by `settle_grants`.
    fn adapt(&mut self, ix: SemaphoreIx, max_before: i64, now: Timestamp, effects: &mut Effects) {
        let is_lowered = self.permits[ix].max < max_before;
        for ask in is_lowered.then(|| self.permits.impossible(ix)).into_iter().flatten() {
            let ask = self.permits.withdraw(ask);
            self.peers[ask.peer].pending = None;
            self.lose_pending(ask.peer);
            effects.push(Effect::Withdrawn(ask.arrival));
            let who = self.peers.who(ask.peer);
            self.cancel(ask, who, now, effects);
        }
        self.permits.give_way(ix);
        self.permits.touch(ix);
        self.permits.note_unused(ix);
    }

    /// Does what had to wait until nobody uses a semaphore: it goes, or gets its new level. The
    /// first step of every operation, so that an operation can still name what it freed.
    pub(super) fn sweep(&mut self) {
        while let Some(ix) = self.permits.unused.pop() {
            // It may be in use again, or gone; then another one of its place is looked at in vain.
            let Some(semaphore) = self.permits.semaphores.get_mut(ix.0 as usize) else { continue };
            if !semaphore.is_unused() {
                continue;
            }
            match semaphore.source {
                Source::Removed => self.drop_semaphore(ix),
                Source::Template if !semaphore.is_adjusted() => self.drop_semaphore(ix),
                _ => semaphore.level = semaphore.configured.level,
            }
        }
    }

    /// The semaphore of that name. It is made where it does not exist and a template allows it; if
    /// it is not used by this operation, it goes with the next one.
    ///
    /// # Errors
    /// [`Error::UnknownSemaphore`], [`Error::TooManySemaphores`].
    pub(super) fn index_of(&mut self, name: &str) -> Result<SemaphoreIx, Error> {
        match self.names.get(name) {
            Some(ix) => Ok(*ix),
            None => self.make_from_template(name),
        }
    }

    #[cold]
    fn make_from_template(&mut self, name: &str) -> Result<SemaphoreIx, Error> {
        let (source, config) = self.catalogue.find(name).ok_or(Error::UnknownSemaphore)?;
        let max = self.rules.max_semaphores;
        if self.names.len() >= max {
            return Err(Error::TooManySemaphores { max });
        }
        let ix = self.add(name, source, config);
        self.permits.unused.push(ix);
        Ok(ix)
    }

    /// Enters a semaphore of a name that none has.
    pub(super) fn add(
        &mut self,
        name: &str,
        source: Source,
        config: SemaphoreConfig,
    ) -> SemaphoreIx {
        let name: Arc<str> = name.into();
        // Each takes hundreds of bytes: memory ends before the numbers do.
        let semaphore = Semaphore::new(name.clone(), source, config);
        let ix = SemaphoreIx(self.permits.semaphores.insert(semaphore) as u32);
        if let Err(place) = self.place_of(&name) {
            self.in_order.insert(place, ix);
        }
        self.names.insert(name, ix);
        ix
    }

    fn drop_semaphore(&mut self, ix: SemaphoreIx) {
        if let Ok(place) = self.place_of(&self.permits[ix].name) {
            self.in_order.remove(place);
        }
        let semaphore = self.permits.semaphores.remove(ix.0 as usize);
        self.names.remove(&semaphore.name);
    }

    /// Where a name stands in the order of names, or would stand.
    fn place_of(&self, name: &str) -> Result<usize, usize> {
        self.in_order.binary_search_by(|ix| (*self.permits[*ix].name).cmp(name))
    }

    /// Refuses locks of a semaphore that is on its way out.
    pub(super) fn check_are_offered(&self, locks: &Locks) -> Result<(), Error> {
        let is_removed = |lock: &Lock| self.permits[lock.semaphore].source == Source::Removed;
        match locks.iter().any(is_removed) {
            true => Err(Error::UnknownSemaphore),
            false => Ok(()),
        }
    }
}
