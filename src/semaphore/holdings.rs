//! What peers hold: grants are entered here, locks given back or lost; each semaphore knows its
//! holders.
//!
//! Who is granted is decided in `permits`.

use std::{ops::Range, time::Duration};

use super::{
    About, Effect, Effects, Event, Happening, Held, Leases, Lock, PeerId, SemaphoreIx, Timestamp,
    Token, permits::Ask, units::PeerIx,
};

impl Leases {
    /// Hands on what became free, and enters the asks that are granted into the books of their
    /// peers. The last step of every operation that frees permits or asks for some.
    ///
    /// Where many leases end together, an ask may be granted whose peer is to be cleared away next.
    /// Its waiters are told so: nobody is told of a lock that is gone already.
    pub(super) fn settle_grants(&mut self, now: Timestamp, effects: &mut Effects) {
        self.permits.settle();
        let mut granted = std::mem::take(&mut self.permits.granted);
        for ask in granted.drain(..) {
            let token = Token::after(self.rules.tokens_above.saturating_add(self.grants));
            self.grants += 1;
            self.peers[ask.peer].pending = None;
            let waited = now.since(ask.since);
            for lock in &ask.locks {
                self.hold(ask.peer, *lock, Some(token), now);
                let totals = &mut self.permits[lock.semaphore].totals;
                totals.acquired += 1;
                totals.waits.observe(waited);
                let event = || self.event(Happening::Granted, ask.peer, *lock, waited);
                effects.tell(|| Event { token: Some(token), ..event() });
            }
            let Ask { arrival: ask, peer, .. } = ask;
            let peer = &self.peers[peer];
            effects.push(match peer.is_due(now) {
                true => Effect::PeerGone(ask),
                false => Effect::Acquired { ask, token, expires_in: peer.expires_in(now) },
            });
        }
        self.permits.granted = granted;
    }

    /// Enters a lock, which comes last in walking order, among those that the peer holds. Its
    /// permits are counted elsewhere.
    pub(super) fn hold(
        &mut self,
        peer: PeerIx,
        Lock { semaphore, count }: Lock,
        token: Option<Token>,
        since: Timestamp,
    ) {
        let holders = &mut self.permits[semaphore].holders;
        // Holders are fewer than peers, whose number fits a `u32`.
        let place = holders.len() as u32;
        holders.push(peer);
        self.peers[peer].held.push(Held { semaphore, place, count, token, since });
    }

    /// Frees a lock that was taken out of what its peer holds: it was given back, or lost.
    pub(super) fn free(
        &mut self,
        held: Held,
        happening: Happening,
        (peer, about): (PeerId, Option<About>),
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let Held { semaphore: ix, place, count, token, since } = held;
        let lasted = now.since(since);
        let semaphore = &mut self.permits[ix];
        semaphore.totals.holds.observe(lasted);
        *match happening {
            Happening::Expired => &mut semaphore.totals.expired,
            _ => &mut semaphore.totals.released,
        } += 1;
        semaphore.holders.swap_remove(place as usize);
        // The last one has taken the place.
        if let Some(moved) = semaphore.holders.get(place as usize).copied()
            && let Some(position) = self.position_of(ix, &self.peers[moved].held)
        {
            self.peers[moved].held[position].place = place;
        }
        self.permits.release(ix, count);
        let event = || {
            let semaphore = self.permits[ix].name.clone();
            Event { happening, peer, about, semaphore, count, token, after: lasted }
        };
        match happening {
            Happening::Expired => effects.events.push(event()),
            _ => effects.tell(event),
        }
    }

    /// Ends the ask that a peer waits for, without a grant. The peer itself is told elsewhere.
    pub(super) fn cancel(
        &mut self,
        ask: Ask,
        (peer, about): (PeerId, Option<About>),
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let after = now.since(ask.since);
        for Lock { semaphore, count } in &ask.locks {
            let semaphore = &mut self.permits[*semaphore];
            semaphore.totals.cancelled += 1;
            effects.tell(|| Event {
                happening: Happening::Cancelled,
                peer,
                about: about.clone(),
                semaphore: semaphore.name.clone(),
                count: *count,
                token: None,
                after,
            });
        }
    }

    /// Something that happened to a lock of this peer.
    pub(super) fn event(
        &self,
        happening: Happening,
        peer: PeerIx,
        Lock { semaphore, count }: Lock,
        after: Duration,
    ) -> Event {
        let (peer, about) = self.peers.who(peer);
        let semaphore = self.permits[semaphore].name.clone();
        Event { happening, peer, about, semaphore, count, token: None, after }
    }

    /// Those of the holders of this semaphore that stand at these places, in no particular order.
    pub(super) fn holders(
        &self,
        semaphore: SemaphoreIx,
        places: Range<usize>,
    ) -> impl Iterator<Item = (PeerIx, &Held)> {
        let holders = self.permits[semaphore].holders.get(places).unwrap_or_default();
        holders.iter().filter_map(move |peer| {
            let held = &self.peers[*peer].held;
            Some((*peer, &held[self.position_of(semaphore, held)?]))
        })
    }
}
