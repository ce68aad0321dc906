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
};

/// What the server says of a peer that it does not know.
const NOT_FOUND: &str = "\"Peer not found\"";

/// Removes the peer from the server, trying for `patience`. A signal that asks for the end ends the
/// tries.
///
/// # Errors
/// The last trouble. Then the peer goes when its lease ends.
pub fn give_back(peer: &Peer, patience: Duration) -> Result<Answer, Trouble> {
    let until = clock::since_boot().saturating_add(patience);
    let mut backoff = Backoff::default();
    loop {
        let left = until.saturating_sub(clock::since_boot()).max(Duration::from_millis(100));
        peer.release(left.min(REPLY));
        let answer = loop {
            match peer.inbox.next(Duration::MAX) {
                Some(Event::Answered(Errand::Release, answer)) => break answer,
                Some(event @ Event::Signal(signal)) if signal.asks_for_the_end() => {
                    peer.inbox.put_back(event);
                    let text = format!("{} came before there was an answer", signal.name());
                    return Err(Trouble::not_sent(text));
                }
                _ => {}
            }
        };
        let Err(trouble @ Trouble::Unreachable { .. }) = answer else { return answer };
        let try_at = clock::since_boot() + backoff.next(trouble.retry_after());
        if try_at >= until {
            return Err(trouble);
        }
        while clock::since_boot() < try_at {
            match peer.inbox.next(try_at) {
                Some(event @ Event::Signal(signal)) if signal.asks_for_the_end() => {
                    peer.inbox.put_back(event);
                    return Err(trouble);
                }
                _ => {}
            }
        }
    }
}

/// Whether the server did not know the peer.
pub fn is_unknown(answer: &Answer) -> bool {
    answer.body == NOT_FOUND
}
