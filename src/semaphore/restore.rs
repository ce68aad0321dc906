//! Peers that come back with what they held, and peers that must not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use smallvec::SmallVec;

use super::{
    About, Effects, Error, Event, Happening, Leases, Lock, Locks, PeerId, Timestamp, Token, Wanted,
    leases::SLICE,
    peers::{Origin, Peer},
    queue::Semaphore,
};

/// A lock to be restored, and its token if it comes with one.
type Claim = (Lock, Option<Token>);

/// A peer as it says that it was before the server was restarted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restored<'a> {
    /// What it held.
    pub acquired: &'a [Wanted<'a>],
    /// The tokens of those locks, as far as it knows them.
    pub tokens: &'a [(&'a str, u64)],
    /// What people call it.
    pub about: Option<&'a About>,
    /// The length of its new lease.
    pub expires_in: Duration,
}

/// Peers that were released for good, until their leases would have ended.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    until: BTreeMap<PeerId, Timestamp>,
    by_end: BTreeSet<(Timestamp, PeerId)>,
}

impl Revoked {
    /// Whether this peer must not come back.
    pub(super) fn contains(&self, id: PeerId, now: Timestamp) -> bool {
        self.until.get(&id).is_some_and(|until| *until > now)
    }

    /// How many peers are kept away, or were so until lately.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    /// Keeps a peer away until then. Forgets those whose time is over.
    fn insert(&mut self, id: PeerId, until: Timestamp, now: Timestamp) {
        while let Some((end, over)) = self.by_end.first().copied().filter(|(end, _)| *end <= now) {
            self.by_end.remove(&(end, over));
            self.until.remove(&over);
        }
        self.until.insert(id, until);
        self.by_end.insert((until, id));
    }
}

impl Leases {
    /// Brings back a peer with the locks that it held, even beyond max and regardless of levels.
    /// Where the peer exists with exactly these locks, its lease is renewed. Returns what is left
    /// of it.
    ///
    /// A lock keeps the token that it comes with, and has none if it comes without: a new one would
    /// outrank whoever was granted since.
    ///
    /// # Errors
    /// [`Error::LeaseTooLong`], [`Error::BadNames`] where a semaphore is named twice,
    /// [`Error::UnknownSemaphore`], [`Error::CountBelowOne`], [`Error::TokenWithoutLock`],
    /// [`Error::RestoreConflict`], [`Error::BadToken`], [`Error::Revoked`],
    /// [`Error::TooManyPeers`], [`Error::RestoreOverflow`].
    pub fn restore(
        &mut self,
        id: PeerId,
        restored: Restored<'_>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<Duration, Error> {
        let Restored { acquired, tokens, about, expires_in } = restored;
        self.expire(now, SLICE, effects);
        self.rules.check_lease(expires_in)?;
        let locks = self.resolve(acquired)?;
        if let Some(lock) = locks.iter().find(|lock| lock.count < 1) {
            return Err(Error::CountBelowOne { found: lock.count });
        }
        let claims = self.with_tokens(&locks, tokens)?;
        if let Some(peer) = self.find(id, now, effects) {
            if !is_as(&self.peers[peer], &claims) {
                return Err(Error::RestoreConflict);
            }
            self.peers.renew(peer, expires_in, now);
            return Ok(self.peers[peer].expires_in(now));
        }
        self.check_are_offered(&locks)?;
        self.check_restored(&claims)?;
        self.check_may_enter(id, now)?;
        let peer = self.peers.insert(id, about.cloned(), Origin::GONE, now.after(expires_in));
        for (lock, token) in claims {
            self.permits.occupy(lock.semaphore, lock.count);
            self.permits[lock.semaphore].totals.restored += 1;
            self.hold(peer, lock, token, now);
            let event = || self.event(Happening::Restored, peer, lock, Duration::ZERO);
            effects.tell(|| Event { token, ..event() });
        }
        self.settle_grants(now, effects);
        Ok(self.peers[peer].expires_in(now))
    }

    /// Releases a peer and all its locks for good: it cannot come back before its lease would have
    /// ended. Returns what people call it, if it existed.
    pub fn revoke(
        &mut self,
        id: PeerId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Option<Option<About>> {
        self.expire(now, SLICE, effects);
        let peer = self.find(id, now, effects)?;
        let (_, about) = self.peers.who(peer);
        self.revoked.insert(id, self.peers[peer].valid_until, now);
        self.remove(peer, Happening::Released, now, effects);
        self.settle_grants(now, effects);
        Some(about)
    }

    /// Refuses a peer that must not come back, and any new one where there are enough.
    pub(super) fn check_may_enter(&self, id: PeerId, now: Timestamp) -> Result<(), Error> {
        if self.revoked.contains(id, now) {
            return Err(Error::Revoked { id });
        }
        let max = self.rules.max_peers;
        if self.peers.len() >= max {
            return Err(Error::TooManyPeers { max });
        }
        Ok(())
    }

    /// The locks, with the tokens that belong to them.
    fn with_tokens(
        &self,
        locks: &Locks,
        tokens: &[(&str, u64)],
    ) -> Result<SmallVec<[Claim; 1]>, Error> {
        let mut claims: SmallVec<[Claim; 1]> = locks.iter().map(|lock| (*lock, None)).collect();
        for (name, token) in tokens {
            let semaphore = *self.names.get(*name).ok_or_else(|| self.unknown(name))?;
            let Some(position) = self.position_of(semaphore, locks) else {
                return Err(Error::TokenWithoutLock { semaphore: (*name).to_owned() });
            };
            if claims[position].1.is_some() {
                return Err(Error::BadNames { found: (*name).to_owned() });
            }
            let token = Token::new(*token).ok_or_else(|| self.bad_token(name, 0))?;
            claims[position].1 = Some(token);
        }
        Ok(claims)
    }

    /// A token was given for a semaphore that does not exist, though a template may allow it.
    fn unknown(&self, name: &str) -> Error {
        match self.catalogue.find(name) {
            Some(_) => Error::TokenWithoutLock { semaphore: name.to_owned() },
            None => Error::UnknownSemaphore,
        }
    }

    /// Refuses tokens that no earlier start can have granted, and sums that no integer holds.
    fn check_restored(&self, claims: &[Claim]) -> Result<(), Error> {
        for (lock, token) in claims {
            let Semaphore { name, acquired, .. } = &self.permits[lock.semaphore];
            if let Some(token) = token
                && token.number() > self.rules.tokens_above
            {
                return Err(self.bad_token(name, token.number()));
            }
            if acquired.checked_add(lock.count).is_none() {
                let (semaphore, acquired) = (name.to_string(), *acquired);
                return Err(Error::RestoreOverflow { semaphore, count: lock.count, acquired });
            }
        }
        Ok(())
    }

    fn bad_token(&self, semaphore: &str, token: u64) -> Error {
        Error::BadToken { semaphore: semaphore.to_owned(), token, max: self.rules.tokens_above }
    }
}

/// Whether a peer is what somebody wants to restore. Where no token is given, any will do.
fn is_as(peer: &Peer, claims: &[Claim]) -> bool {
    peer.pending.is_none()
        && peer.held.len() == claims.len()
        && peer.held.iter().zip(claims).all(|(held, (lock, token))| {
            held.lock() == *lock && (token.is_none() || held.token == *token)
        })
}
