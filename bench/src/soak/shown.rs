//! A peer as the server shows it, held against the books.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    books::{Books, Lock, Peer},
    world::Class,
};

/// What is shown of a peer.
#[derive(Debug)]
pub struct Shown {
    acquired: Vec<(Lock, Option<u64>)>,
    pending: Vec<Lock>,
}

impl Shown {
    /// Reads it.
    ///
    /// # Errors
    /// Where something is missing, or a semaphore is named that nobody asked for.
    pub fn read(books: &Books, peer: &Value) -> Result<Self> {
        let locks = |field: &str| -> Result<Vec<(&str, Lock)>> {
            let locks = peer[field].as_object().with_context(|| format!("no `{field}`"))?;
            let read = locks.iter().map(|(name, count)| {
                let semaphore = books.world.find(name);
                let semaphore = semaphore.with_context(|| format!("nobody wants `{name}`"))?;
                let count = count.as_i64().context("no count")?;
                Ok((name.as_str(), Lock { semaphore, count }))
            });
            read.collect()
        };
        let acquired = locks("acquired")?.into_iter();
        let acquired = acquired.map(|(name, lock)| (lock, peer["tokens"][name].as_u64())).collect();
        let pending = locks("pending")?.into_iter().map(|(_, lock)| lock).collect();
        Ok(Shown { acquired, pending })
    }
}

impl Books {
    /// Learns how a peer stands: what it waited for may have been granted meanwhile.
    ///
    /// # Errors
    /// Where it holds or waits for anything else than it must.
    pub fn learn(&mut self, place: usize, shown: &Shown) -> Result<()> {
        let Shown { acquired, pending } = shown;
        let maybe_asked = std::mem::take(&mut self.peers[place].maybe_asked);
        let is_shown = |lock: &Lock| {
            pending.contains(lock) || acquired.iter().any(|(acquired, _)| acquired == lock)
        };
        if !maybe_asked.is_empty() && maybe_asked.iter().all(is_shown) {
            self.ask(place, &maybe_asked, 0);
        }
        let Peer { id, held, pending: known, must_look, .. } = &self.peers[place];
        let mut rest = acquired.clone();
        for held in held {
            let is_it =
                |(lock, token): &(Lock, Option<u64>)| *lock == held.lock && *token == held.token;
            let at = rest.iter().position(is_it);
            let at = at.with_context(|| {
                let name = &self.world.semaphores[held.lock.semaphore].name;
                format!("peer {id} lost {} of `{name}`: {shown:?}", held.lock.count)
            })?;
            rest.swap_remove(at);
        }
        let is_known = |lock: &Lock| known.contains(lock);
        ensure!(
            rest.iter().map(|(lock, _)| lock).chain(pending).all(is_known),
            "peer {id} has more than {held:?} and {known:?}: {shown:?}"
        );
        let is_shrunk = |lock: &Lock| self.world.semaphores[lock.semaphore].class == Class::Shrunk;
        let may_be_over = *must_look || known.iter().any(is_shrunk);
        ensure!(
            may_be_over || rest.len() + pending.len() == known.len(),
            "peer {id} waits for {known:?}, but it is not so: {shown:?}"
        );
        ensure!(pending.is_empty() || rest.is_empty(), "peer {id} was granted a part: {shown:?}");
        self.peers[place].must_look = false;
        if pending.is_empty() {
            self.end_or_grant(place, &rest)?;
        }
        Ok(())
    }

    /// What was pending is held now, as far as it is in `acquired`; all else is over.
    fn end_or_grant(&mut self, place: usize, acquired: &[(Lock, Option<u64>)]) -> Result<()> {
        let known = std::mem::take(&mut self.peers[place].pending);
        let is_granted = |lock: &Lock| acquired.iter().any(|(granted, _)| granted == lock);
        for lock in known.iter().filter(|lock| !is_granted(lock)) {
            self.tallies[lock.semaphore].ended += 1;
        }
        self.peers[place].pending = known.into_iter().filter(is_granted).collect();
        match acquired.first() {
            None => Ok(()),
            Some((_, token)) => {
                let is_same = acquired.iter().all(|(_, other)| other == token);
                ensure!(is_same, "locks that were granted together have different tokens");
                self.grant(place, *token)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::soak::world::World;

    fn waiting() -> (Books, Lock) {
        let mut books = Books::new(World::new(), 1);
        let lock = Lock { semaphore: books.world.find("large0").unwrap(), count: 3 };
        books.enter(0, 7, Instant::now());
        books.ask(0, &[lock], 0);
        (books, lock)
    }

    fn learn(books: &mut Books, peer: &Value) -> Result<()> {
        let shown = Shown::read(books, peer)?;
        books.learn(0, &shown)
    }

    #[test]
    fn grant_meanwhile_is_learnt() {
        let (mut books, lock) = waiting();

        let peer = json!({"acquired": {"large0": 3}, "tokens": {"large0": 9}, "pending": {}});
        learn(&mut books, &peer).unwrap();

        assert_eq!(lock, books.peers[0].held[0].lock);
        assert_eq!(Some(9), books.peers[0].held[0].token);
    }

    #[test]
    fn what_was_not_asked_for_and_what_is_lost_are_errors() {
        for peer in [
            json!({"acquired": {"large0": 2}, "tokens": {"large0": 9}, "pending": {}}),
            json!({"acquired": {"large1": 3}, "tokens": {"large1": 9}, "pending": {"large0": 3}}),
            json!({"acquired": {}, "tokens": {}, "pending": {}}),
            json!({"acquired": {}, "tokens": {}, "pending": {"large0": 3, "large1": 1}}),
        ] {
            let (mut books, _) = waiting();

            assert!(learn(&mut books, &peer).is_err(), "{peer}");
        }
    }

    #[test]
    fn what_somebody_else_withdrew_may_be_over() {
        let (mut books, lock) = waiting();
        books.peers[0].must_look = true;

        learn(&mut books, &json!({"acquired": {}, "tokens": {}, "pending": {}})).unwrap();

        assert!(books.peers[0].pending.is_empty());
        assert_eq!(1, books.tallies[lock.semaphore].ended);
    }
}
