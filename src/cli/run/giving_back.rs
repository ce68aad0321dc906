//! Giving locks back, and withdrawing an ask: quick for whoever waits, and not given up at once.

use std::time::Duration;

use super::{
    backoff::Backoff,
    inbox::{Errand, Event},
    peer::Peer,
};
use crate::{
    client::{Answer, REPLY, Trouble},
    clock,
    process::Signal,
};

/// What the server says of a peer that it does not know.
const NOT_FOUND: &str = "\"Peer not found\"";

/// A request may take this long, even where no time is left.
const SHORTEST: Duration = Duration::from_millis(100);

/// And all of it this long, once a signal asks for the end.
const HURRY: Duration = Duration::from_millis(500);

/// Removes the peer from the server, trying for `patience`. A signal that asks for the end leaves
/// less time; but one request is always sent, and its answer waited for a little.
///
/// # Errors
/// The last trouble. Then the peer goes when its lease ends.
pub fn give_back(peer: &Peer, patience: Duration) -> Result<Answer, Trouble> {
    let until = clock::since_boot().saturating_add(patience);
    let mut release = Release { peer, until, signal: None };
    let answer = release.attempt();
    if let Some(signal) = release.signal {
        // Whoever looks next wants to know of it.
        peer.inbox.put_back(Event::Signal(signal));
    }
    answer
}

/// Whether the server did not know the peer.
pub fn is_unknown(answer: &Answer) -> bool {
    answer.body == NOT_FOUND
}

struct Release<'a> {
    peer: &'a Peer,
    until: Duration,
    /// One that came meanwhile.
    signal: Option<Signal>,
}

impl Release<'_> {
    fn attempt(&mut self) -> Result<Answer, Trouble> {
        let mut backoff = Backoff::default();
        loop {
            let left = self.until.saturating_sub(clock::since_boot()).max(SHORTEST);
            self.peer.release(left.min(REPLY));
            let answer = self.answer();
            let Err(trouble @ Trouble::Unreachable { .. }) = answer else { return answer };
            let try_at = clock::since_boot() + backoff.next(trouble.retry_after());
            while clock::since_boot() < try_at.min(self.until) {
                self.next(try_at);
            }
            if try_at >= self.until {
                return Err(trouble);
            }
        }
    }

    fn answer(&mut self) -> Result<Answer, Trouble> {
        loop {
            let latest = self.until + SHORTEST;
            match self.next(latest) {
                Some(Event::Answered(Errand::Release, answer)) => return answer,
                _ if clock::since_boot() >= latest => {
                    return Err(Trouble::not_sent("there was no answer in time".to_owned()));
                }
                _ => {}
            }
        }
    }

    /// The next event. A signal that asks for the end is kept, and leaves less time.
    fn next(&mut self, at: Duration) -> Option<Event> {
        let event = self.peer.inbox.next(at.min(self.until + SHORTEST));
        if let Some(Event::Signal(signal)) = event
            && signal.asks_for_the_end()
            && self.signal.is_none()
        {
            self.signal = Some(signal);
            self.until = self.until.min(clock::since_boot() + HURRY);
        }
        event
    }
}
