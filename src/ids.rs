//! The only source of randomness: ids of peers and of messages in pieces, and the number of this
//! start of the server.

use crate::semaphore::PeerId;

/// JavaScript holds integers below this exactly, and JSON readers of many languages follow it.
const END: u64 = 1 << 53;

/// Draws an id, 1 ≤ id < 2^53. It may be taken already; the caller finds out.
///
/// Ids are no secrets: who can reach the server can act for any peer.
pub fn random_peer_id() -> PeerId {
    PeerId(random_integer())
}

/// Draws the number by which clients tell one start of the server from another, 1 ≤ number < 2^53.
pub fn random_instance() -> u64 {
    random_integer()
}

/// Draws the id of a peer for a client that chooses it: one of those that the server takes.
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws lots")]
pub fn random_chosen_id() -> u64 {
    rand::random_range(1 << 32..END)
}

/// Draws a share between these, so that many who do the same do not do it at the same time.
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws lots")]
pub fn random_share(from: f64, to: f64) -> f64 {
    rand::random_range(from..to)
}

/// Draws an id that tells the pieces of one message from those of others, for the few seconds in
/// which they are put together.
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws lots")]
pub fn random_message_id() -> u64 {
    rand::random()
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that draws lots")]
fn random_integer() -> u64 {
    rand::random_range(1..END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fit_into_the_integers_of_javascript_and_differ() {
        let ids: std::collections::HashSet<_> = (0..1_000).map(|_| random_peer_id()).collect();

        assert_eq!(1_000, ids.len());
        assert!(ids.iter().all(|id| (1..END).contains(&id.0)));
    }
}
