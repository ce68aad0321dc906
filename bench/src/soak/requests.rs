//! The request of each step.

use serde_json::{Map, Value, json};

use super::{
    books::Lock,
    crowd::Crowd,
    http::{Sent, milliseconds},
    moves::{Late, Move, Terms},
    world::World,
};

/// The lease of peers that go on living. They renew it long before it ends.
pub const LEASE: &str = "120s";

/// What a refusal is to be answered with, so that its code can be read.
pub const PROBLEM: (&str, &str) = ("Accept", "application/problem+json");

/// The request of a step of the peer at this place.
pub fn request(crowd: &mut Crowd, place: usize, step: &Move) -> Sent {
    if let Move::Refused(refusal) = step {
        let refusal = refusal.for_peer(&crowd.books.peers[place], &crowd.books.world);
        return refusal.request(crowd, place).header(PROBLEM.0, PROBLEM.1);
    }
    let about = crowd.chance.below(1_000);
    let renews = crowd.chance.once_in(3);
    let peer = &crowd.books.peers[place];
    let world = &crowd.books.world;
    let of_peer = format!("/peers/{}", peer.id);
    let of_lock = |semaphore: usize| format!("{of_peer}/{}", world.semaphores[semaphore].path);
    let beat = |lease: &str| Sent::new("PUT", &of_peer).json(&json!({"expires_in": lease}));
    let sent = match step {
        Move::Enter => Sent::new("POST", "/new_peer").json(&json!({"expires_in": LEASE})),
        Move::EnterWith { id, locks, .. } => Sent::new("POST", "/new_peer").json(&json!({
            "expires_in": LEASE, "peer_id": id, "acquire": object(world, locks.iter()),
            "name": format!("worker {about}"), "labels": {"host": format!("node{}", about % 40)},
        })),
        Move::Restore { id, locks } => {
            let tokens = locks.iter().filter_map(|(lock, token)| {
                Some((world.semaphores[lock.semaphore].name.clone(), (*token)?.into()))
            });
            let tokens: Map<String, Value> = tokens.collect();
            let acquired = object(world, locks.iter().map(|(lock, _)| lock));
            Sent::new("POST", "/restore").json(&json!({
                "expires_in": LEASE, "peer_id": id, "acquired": acquired, "tokens": tokens,
                "labels": {"host": format!("node{}", about % 40)},
            }))
        }
        Move::RestoreAgain => {
            let acquired = object(world, peer.held.iter().map(|held| &held.lock));
            Sent::new("POST", "/restore")
                .json(&json!({"expires_in": LEASE, "peer_id": peer.id, "acquired": acquired}))
        }
        Move::Beat | Move::Late(Late::Beat) => beat(LEASE),
        Move::Vanish { lease } => beat(&milliseconds(*lease)),
        Move::Ask { locks, terms, .. } => ask(world, &of_peer, locks, *terms, renews),
        Move::AskAgain { block_for } => {
            let terms = block_for.map_or(Terms::Pending, Terms::Parked);
            ask(world, &of_peer, &peer.pending, terms, renews)
        }
        Move::AskHeld { held } => {
            ask(world, &of_peer, std::slice::from_ref(&held.lock), Terms::NoQueue, renews)
        }
        Move::Late(Late::Ask) => Sent::new("PUT", &of_lock(0)).body("1"),
        Move::Release { semaphore } | Move::Withdraw { semaphore } => {
            Sent::new("DELETE", &of_lock(*semaphore))
        }
        Move::Shrink { semaphore, count, .. } => {
            Sent::new("PUT", &of_lock(*semaphore)).body(&count.to_string())
        }
        Move::Remove { revoke: false } => Sent::new("DELETE", &of_peer),
        Move::Remove { revoke: true } => Sent::new("DELETE", &format!("{of_peer}?revoke=true")),
        Move::ComeBack | Move::Refused(_) => Sent::new("POST", "/restore")
            .json(&json!({"expires_in": LEASE, "peer_id": peer.id, "acquired": {}})),
        Move::Look | Move::Late(Late::Look) => Sent::new("GET", &of_peer),
        Move::IsAcquired => Sent::new("GET", &format!("{of_peer}/is_acquired")),
    };
    sent.header(PROBLEM.0, PROBLEM.1)
}

fn ask(world: &World, of_peer: &str, locks: &[Lock], terms: Terms, renews: bool) -> Sent {
    let mut query = match terms {
        Terms::Pending => "?queue=true".to_owned(),
        Terms::Parked(block_for) => format!("?block_for={}", milliseconds(block_for)),
        Terms::NoQueue => "?queue=false".to_owned(),
    };
    if let [lock] = locks {
        if renews {
            query += &format!("&expires_in={LEASE}");
        }
        let path = &world.semaphores[lock.semaphore].path;
        let target = format!("{of_peer}/{path}{query}");
        return Sent::new("PUT", &target).body(&lock.count.to_string());
    }
    let mut body = json!({"acquire": object(world, locks.iter())});
    if renews {
        body["expires_in"] = LEASE.into();
    }
    Sent::new("PUT", &format!("{of_peer}{query}")).json(&body)
}

/// Locks as bodies have them.
fn object<'a>(world: &World, locks: impl Iterator<Item = &'a Lock>) -> Value {
    let named = |lock: &Lock| (world.semaphores[lock.semaphore].name.clone(), lock.count.into());
    Value::Object(locks.map(named).collect())
}
