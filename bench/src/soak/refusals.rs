//! Requests that are refused on purpose, each for one reason that is known before.

use serde_json::{Value, json};

use super::{
    books::{Lock, Peer},
    chance::Chance,
    crowd::Crowd,
    http::Sent,
    world::{Class, KEPT, World},
};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The peer does not exist.
    UnknownPeer,
    /// The semaphore does not exist.
    UnknownSemaphore,
    /// A count of 0 or less.
    CountBelowOne,
    /// More than there is.
    CountAboveMax,
    /// A level that is not below what is held.
    LevelViolation,
    /// A larger count than is held.
    Grow,
    /// A lock that is held, together with one that is not.
    PartlyLocked,
    /// Another lock while one is pending. Where that has been granted meanwhile, it is the level
    /// that is wrong.
    AlreadyPending,
    /// The body is no JSON, or has a field that is not known.
    BadBody,
    /// The body is not declared as JSON.
    NotJson,
    /// The query has something that is not known.
    BadQuery,
    /// The id is no number.
    BadPeerId,
    /// The name is no UTF-8.
    BadEncoding,
    /// The same semaphore twice.
    BadNames,
    /// A lease above the maximum.
    LeaseTooLong,
    /// A chosen id that another peer has.
    PeerExists,
    /// A restore that would change a peer.
    RestoreConflict,
    /// A token of this start of the server.
    BadToken,
    /// A token without a lock.
    TokenWithoutLock,
    /// A sum that no number holds.
    RestoreOverflow,
    /// A path that does not exist.
    NotFound,
    /// A method that the path does not have.
    MethodNotAllowed,
    /// An administrative request from a page of another site.
    Forbidden,
}

/// All that can be made whatever the peer holds and waits for. The others fall back on the first.
const ALL: [Refusal; 22] = [
    Refusal::UnknownPeer,
    Refusal::UnknownSemaphore,
    Refusal::CountBelowOne,
    Refusal::CountAboveMax,
    Refusal::LevelViolation,
    Refusal::Grow,
    Refusal::PartlyLocked,
    Refusal::BadBody,
    Refusal::NotJson,
    Refusal::BadQuery,
    Refusal::BadPeerId,
    Refusal::BadEncoding,
    Refusal::BadNames,
    Refusal::LeaseTooLong,
    Refusal::PeerExists,
    Refusal::RestoreConflict,
    Refusal::BadToken,
    Refusal::TokenWithoutLock,
    Refusal::RestoreOverflow,
    Refusal::NotFound,
    Refusal::MethodNotAllowed,
    Refusal::Forbidden,
];

impl Refusal {
    /// One of those for a peer that waits for nothing.
    pub fn any(chance: &mut Chance) -> Self {
        ALL[chance.below(ALL.len())]
    }

    /// The status and the code that it is answered with.
    pub fn expected(self) -> (u16, &'static str) {
        match self {
            Refusal::UnknownPeer => (400, "unknown_peer"),
            Refusal::UnknownSemaphore => (400, "unknown_semaphore"),
            Refusal::CountBelowOne => (400, "count_below_one"),
            Refusal::CountAboveMax => (409, "count_above_max"),
            Refusal::LevelViolation => (409, "level_violation"),
            Refusal::Grow => (409, "grow"),
            Refusal::PartlyLocked => (409, "partly_locked"),
            Refusal::AlreadyPending => (409, "already_pending"),
            Refusal::BadBody => (400, "bad_body"),
            Refusal::NotJson => (415, "not_json"),
            Refusal::BadQuery => (400, "bad_query"),
            Refusal::BadPeerId => (400, "bad_peer_id"),
            Refusal::BadEncoding => (400, "bad_encoding"),
            Refusal::BadNames => (400, "bad_names"),
            Refusal::LeaseTooLong => (400, "lease_too_long"),
            Refusal::PeerExists => (409, "peer_exists"),
            Refusal::RestoreConflict => (409, "restore_conflict"),
            Refusal::BadToken => (400, "bad_token"),
            Refusal::TokenWithoutLock => (400, "token_without_lock"),
            Refusal::RestoreOverflow => (409, "restore_overflow"),
            Refusal::NotFound => (404, "not_found"),
            Refusal::MethodNotAllowed => (405, "method_not_allowed"),
            Refusal::Forbidden => (403, "forbidden"),
        }
    }

    /// What this peer can be refused instead, where it holds nothing that this one needs.
    pub fn for_peer(self, peer: &Peer, world: &World) -> Self {
        match self {
            Refusal::LevelViolation if peer.held.is_empty() => Refusal::UnknownPeer,
            Refusal::Grow | Refusal::PartlyLocked if large_of(peer, world).is_none() => {
                Refusal::UnknownPeer
            }
            _ => self,
        }
    }

    /// The request.
    pub fn request(self, crowd: &mut Crowd, place: usize) -> Sent {
        let stranger = u64::MAX - crowd.chance.below(1_000) as u64;
        let chosen = crowd.chance.peer_id();
        let [mutex, other] = crowd.two_mutexes(place);
        let peer = &crowd.books.peers[place];
        let (id, token) = (peer.id, crowd.books.newest_token.max(1 << 52));
        let world = &crowd.books.world;
        let with = large_of(peer, world).unwrap_or(mutex);
        let path = |lock: Lock| &world.semaphores[lock.semaphore].path;
        let name = |lock: Lock| &world.semaphores[lock.semaphore].name;
        let put = |target: String, body: &str| Sent::new("PUT", &target).body(body);
        let lock = put(format!("/peers/{id}/{}", path(mutex)), "1");
        let to_peer = |body: &str| put(format!("/peers/{id}"), body);
        match self {
            Refusal::UnknownPeer => put(format!("/peers/{stranger}/{}", path(mutex)), "1"),
            Refusal::UnknownSemaphore => put(format!("/peers/{id}/nowhere%20at%20all"), "1"),
            Refusal::CountBelowOne => put(format!("/peers/{id}/{}", path(mutex)), "-1"),
            Refusal::CountAboveMax => put(format!("/peers/{id}/{}", path(mutex)), "2"),
            Refusal::LevelViolation | Refusal::AlreadyPending => {
                put(format!("/peers/{id}/{}", highest(peer, world)), "1")
            }
            Refusal::Grow => {
                put(format!("/peers/{id}/{}", path(with)), &(with.count + 1).to_string())
            }
            Refusal::PartlyLocked => {
                let acquire = json!({name(with): with.count, name(other): 1});
                to_peer(&json!({"acquire": acquire}).to_string())
            }
            Refusal::BadBody if chosen.is_multiple_of(2) => to_peer("{\"expires_in\":\"5m\""),
            Refusal::BadBody => to_peer("{\"expires_in\":\"5m\",\"aquire\":{}}"),
            Refusal::NotJson => lock.content_type("text/plain"),
            Refusal::BadQuery => put(format!("/peers/{id}/{}?blockfor=1s", path(mutex)), "1"),
            Refusal::BadPeerId => put(format!("/peers/0x{id:x}/{}", path(mutex)), "1"),
            Refusal::BadEncoding => put(format!("/peers/{id}/%FF"), "1"),
            Refusal::BadNames => {
                let name = name(mutex);
                to_peer(&format!("{{\"acquire\":{{\"{name}\":1,\"{name}\":1}}}}"))
            }
            Refusal::LeaseTooLong => to_peer("{\"expires_in\":\"25h\"}"),
            Refusal::PeerExists => Sent::new("POST", "/new_peer")
                .json(&json!({"expires_in": "1h", "peer_id": crowd.keeper, "acquire": {KEPT: 1}})),
            Refusal::RestoreConflict => restore(id, json!({KEPT: 1}), json!({})),
            Refusal::BadToken => {
                restore(chosen, json!({name(mutex): 1}), json!({name(mutex): token}))
            }
            Refusal::TokenWithoutLock => {
                restore(chosen, json!({name(mutex): 1}), json!({name(other): 7}))
            }
            Refusal::RestoreOverflow => restore(chosen, json!({KEPT: i64::MAX}), json!({})),
            Refusal::NotFound => Sent::new("GET", "/no/such/page"),
            Refusal::MethodNotAllowed => Sent::new("DELETE", "/metrics"),
            Refusal::Forbidden => {
                Sent::new("POST", "/reload").header("Origin", "http://elsewhere.example")
            }
        }
    }
}

/// A lock that the peer holds, and of which there is so much that more can be asked for.
fn large_of(peer: &Peer, world: &World) -> Option<Lock> {
    let is_large = |lock: &Lock| world.semaphores[lock.semaphore].class == Class::Large;
    peer.held.iter().map(|held| held.lock).find(is_large)
}

/// A semaphore of the highest level, of which the peer has no lock.
fn highest<'a>(peer: &Peer, world: &'a World) -> &'a str {
    let own = || peer.held.iter().map(|held| held.lock).chain(peer.pending.iter().copied());
    let highest = world.semaphores.iter().map(|semaphore| semaphore.level).max();
    let mut found = world.semaphores.iter().enumerate().filter(|(ix, semaphore)| {
        Some(semaphore.level) == highest && own().all(|lock| lock.semaphore != *ix)
    });
    found.next().map_or("", |(_, semaphore)| &semaphore.path)
}

fn restore(id: u64, acquired: Value, tokens: Value) -> Sent {
    Sent::new("POST", "/restore")
        .json(&json!({"expires_in": "5m", "peer_id": id, "acquired": acquired, "tokens": tokens}))
}
