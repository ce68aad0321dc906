//! Who waits for whom, and whether they do so in a circle.
//!
//! This looks at the naive books, which the real ones are held against in the same step: it is about
//! the rules, and finds out where they allow what they should not.

use std::collections::BTreeMap;

use super::{coverage::Coverage, naive::Model};

/// Peers that wait for each other, if there are any.
pub fn find(model: &Model, coverage: &mut Coverage) -> Option<Vec<u64>> {
    let waiting = model.peers.iter().filter(|(_, peer)| peer.ask.is_some());
    if waiting.clone().count() < 2 {
        return None;
    }
    coverage.count("circles looked for");
    let edges: BTreeMap<u64, Vec<u64>> =
        waiting.map(|(id, _)| (*id, waits_for(model, *id))).collect();
    let mut done = Vec::new();
    edges.keys().find_map(|start| walk(*start, &edges, &mut Vec::new(), &mut done))
}

/// Those whom a peer that waits has to wait for: who holds or has reserved what comes next for it,
/// and who stands before it.
fn waits_for(model: &Model, id: u64) -> Vec<u64> {
    let Some(ask) = &model.peers[&id].ask else { return Vec::new() };
    let Some(next) = ask.locks.keys().nth(ask.reserved) else { return Vec::new() };
    let is_before = |other: &u64| {
        let peer = &model.peers[other];
        let stands = peer.ask.as_ref().is_some_and(|theirs| {
            let mut reserved = theirs.locks.keys().take(theirs.reserved);
            reserved.any(|ix| ix == next)
                || theirs.locks.keys().nth(theirs.reserved) == Some(next)
                    && theirs.arrival < ask.arrival
        });
        *other != id && (stands || peer.held.contains_key(next))
    };
    model.peers.keys().copied().filter(is_before).collect()
}

fn walk(
    at: u64,
    edges: &BTreeMap<u64, Vec<u64>>,
    path: &mut Vec<u64>,
    done: &mut Vec<u64>,
) -> Option<Vec<u64>> {
    if let Some(start) = path.iter().position(|before| *before == at) {
        return Some(path[start..].to_vec());
    }
    // Whoever waits for nothing is no part of a circle.
    let next = edges.get(&at).filter(|_| !done.contains(&at))?;
    path.push(at);
    let found = next.iter().find_map(|other| walk(*other, edges, path, done));
    path.pop();
    done.push(at);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naive::{Limits, ModelAsk, ModelPeer, SEMAPHORES};

    #[test]
    fn circle_is_found_and_a_line_is_none() {
        let limits = Limits { max_peers: 9, tokens_above: 0, grants_from: 0 };
        let [holder, reserver] = [1, 2];
        let [b, a] = ["B", "A"].map(|name| SEMAPHORES.iter().position(|it| it.0 == name).unwrap());
        let peer = |held: &[usize], locks: &[usize], reserved| ModelPeer {
            ask: Some(ModelAsk {
                arrival: 1,
                locks: locks.iter().map(|ix| (*ix, 1)).collect(),
                reserved,
            }),
            ..ModelPeer::new(100, held.iter().map(|ix| (*ix, 1)).collect())
        };
        let mut model = Model::new(limits);
        // Had it reserved the lower one first, it would wait for whoever waits for it.
        model.peers.insert(holder, peer(&[b], &[a], 0));
        model.peers.insert(reserver, peer(&[a], &[b], 0));

        assert!(find(&model, &mut Coverage::default()).is_some());

        model.peers.insert(reserver, peer(&[], &[b, a], 0));
        assert_eq!(None, find(&model, &mut Coverage::default()));
    }
}
