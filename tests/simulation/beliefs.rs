//! What clients believe that they hold, against what the server knows and what can be.
//!
//! Whoever believes by its own clock is right, but in three cases: it was paused past its lease and
//! has not looked at its clock since; the server was restarted without a recovery window; somebody
//! released it by hand. Then its token tells.

use std::collections::BTreeMap;

use super::{
    coverage::Coverage,
    life::Belief,
    naive::SEMAPHORES,
    promises::{Broken, Kept, S2, promise},
    server::Server,
};

/// Why somebody may be wrong in what it believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// It is paused, and its lease is over by its own clock.
    Paused,
    /// The server lost its memory, and granted before everybody had come back.
    Restarted,
    /// An operator took it away.
    Released,
}

/// What is known about beliefs.
#[derive(Debug)]
pub struct Beliefs {
    has_window: bool,
    /// Whether nobody changes what max is.
    is_max_fixed: bool,
    /// Peers that were taken away, and the token up to which.
    released: BTreeMap<u64, u64>,
}

impl Beliefs {
    pub fn new(has_window: bool, is_max_fixed: bool) -> Self {
        Beliefs { has_window, is_max_fixed, released: BTreeMap::new() }
    }

    /// Somebody took away what a peer has been granted so far.
    pub fn release(&mut self, peer: u64, latest_token: u64) {
        self.released.insert(peer, latest_token);
    }

    /// Holds all beliefs against the server, each with whether its client is paused past its lease.
    pub fn check(
        &self,
        beliefs: impl Iterator<Item = (Belief, bool)>,
        server: &Server,
        coverage: &mut Coverage,
    ) -> Kept {
        let mut certain = [0_i64; SEMAPHORES.len()];
        for (belief, is_paused) in beliefs {
            match self.doubt_of(&belief, is_paused, server) {
                // It has come back to this server, beyond max perhaps.
                Some(Doubt::Restarted) if belief.instance == server.instance => {
                    self.check_is_backed(&belief, server)?;
                }
                Some(doubt) => self.check_token(&belief, doubt, server, coverage)?,
                None => {
                    certain[belief.semaphore] += belief.count;
                    self.check_is_backed(&belief, server)?;
                }
            }
        }
        for (certain, (name, max, _)) in certain.iter().zip(SEMAPHORES) {
            // What operators set here is at most this.
            let most = if self.is_max_fixed { max } else { max + 2 };
            promise(S2, *certain <= most, || {
                format!("{certain} of {most} permits of `{name}` are believed in")
            })?;
        }
        Ok(())
    }

    fn doubt_of(&self, belief: &Belief, is_paused: bool, server: &Server) -> Option<Doubt> {
        let first = server.model.limits.tokens_above;
        if is_paused {
            return Some(Doubt::Paused);
        }
        let released = self.released.get(&belief.peer);
        if released.is_some_and(|latest| belief.token.is_none_or(|token| token <= *latest)) {
            return Some(Doubt::Released);
        }
        let is_earlier = belief.token.is_none_or(|token| token <= first);
        (!self.has_window && is_earlier).then_some(Doubt::Restarted)
    }

    /// Whoever is right in what it believes, is in the books; or, after a restart, may come back
    /// before anybody else is granted anything.
    fn check_is_backed(&self, belief: &Belief, server: &Server) -> Kept {
        if belief.instance != server.instance {
            let is_closed = server.model.now < server.model.limits.grants_from;
            return promise(S2, is_closed, || format!("{belief:?} was not restored in time"));
        }
        let lock = server.ledger.lock(belief.peer, belief.semaphore);
        let is_backed = lock.is_some_and(|lock| {
            lock.count >= belief.count && (lock.token.is_none() || lock.token == belief.token)
        });
        promise(S2, is_backed, || format!("{belief:?}, but the server has {lock:?}"))
    }

    /// Whether a resource that looks at tokens turns away whoever may be wrong and is.
    fn check_token(
        &self,
        belief: &Belief,
        doubt: Doubt,
        server: &Server,
        coverage: &mut Coverage,
    ) -> Kept {
        let Belief { semaphore: ix, token, peer, .. } = *belief;
        if server.ledger.lock(peer, ix).is_some() {
            // It is right.
            return Ok(());
        }
        let Some(token) = token else {
            let how = format!("{belief:?} has no token to tell by");
            return Err(Broken { promise: S2, how });
        };
        coverage.count(match doubt {
            Doubt::Paused => "S2: paused past its lease, and told by its token",
            Doubt::Restarted => "S2: restarted without a window, and told by its token",
            Doubt::Released => "S2: released by hand, and told by its token",
        });
        let is_gone = !server.ledger.is_current(ix, token);
        promise(S2, is_gone, || format!("{belief:?} is not there, but its token is current"))?;
        // Where there is one permit, the resource need not ask: it compares.
        let is_mutex = self.is_max_fixed && SEMAPHORES[ix].1 == 1;
        let current = server.ledger.greatest_token(ix).filter(|_| is_mutex);
        promise(S2, current.is_none_or(|current| token < current), || {
            format!("the token of {belief:?} is not below {current:?}")
        })
    }
}
