//! Peers: make, list, renew, look at, release, revoke, and expire them.

use std::{ops::RangeInclusive, rc::Rc, time::Duration};

use actix_web::dev::ServiceRequest;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, IgnoredAny},
};
use utoipa::ToSchema;

use super::{
    Answer, Api, admin, answer,
    answer::Touched,
    asks::{self, Patience},
    body, duration,
    entries::{self, Entries},
    error::Refusal,
    labels::{self, Labels},
    openapi::{parameters, refusals, values},
    path,
    shown::{self, Locks, Map},
};
use crate::{
    fields::Integer,
    semaphore::{Asking, NewPeer, Page, PeerId, PeerSnapshot, Terms},
};

/// What a body that makes a peer or renews a lease looks like.
const EXAMPLE: &str = "an object such as `{\"expires_in\": \"5m\"}`, which may also have the field \
                       `\"acquire\": {\"A\": 1}`";

/// Ids that the maker of a peer may choose: from so many, two that are drawn at random hardly ever
/// collide, and JavaScript holds them exactly.
const CHOSEN_IDS: RangeInclusive<u64> = (1 << 32)..=((1 << 53) - 1);

/// A peer to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPeer)]
struct Creation {
    /// The length of its lease.
    #[serde(deserialize_with = "duration::deserialize")]
    #[schema(value_type = values::Duration)]
    expires_in: Duration,
    /// An id that the caller draws at random. The request is then safe to repeat: if this very ask
    /// made the peer, and all of it is still held or all still pending, its lease is renewed and
    /// the answer says how it stands.
    #[serde(default, deserialize_with = "chosen_id")]
    #[schema(nullable = false, minimum = 4_294_967_296_u64, maximum = 9_007_199_254_740_991_u64)]
    peer_id: Option<u64>,
    #[serde(default, deserialize_with = "labels::name")]
    #[schema(value_type = values::Name)]
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = values::Labels)]
    labels: Labels,
    /// What it asks for. Without it the query must be empty.
    #[serde(default, deserialize_with = "entries::some")]
    #[schema(value_type = values::Ask)]
    acquire: Option<Entries<Integer>>,
}

/// A heartbeat, an ask, or both. One of `expires_in` and `acquire` must be there.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Renewal {
    /// The lease ends that long from now, even if that is sooner than before.
    #[serde(default, deserialize_with = "duration::deserialize_some")]
    #[schema(value_type = values::Duration)]
    expires_in: Option<Duration>,
    /// What the peer asks for. All of it must lie at a lower level than all that the peer holds.
    #[serde(default, deserialize_with = "entries::some")]
    #[schema(value_type = values::Ask)]
    acquire: Option<Entries<Integer>>,
    /// Old clients send it; it never mattered.
    #[serde(default, rename = "active")]
    #[schema(value_type = Value, deprecated)]
    _active: IgnoredAny,
}

/// A peer: its lease, and its locks.
#[derive(Serialize, ToSchema)]
#[schema(as = Peer)]
struct Shown {
    #[schema(value_type = values::PeerId)]
    id: u64,
    /// What people call it.
    #[schema(required)]
    name: Option<String>,
    #[schema(value_type = values::Labels)]
    labels: shown::Labels,
    /// What is left of its lease.
    #[schema(value_type = values::Milliseconds)]
    expires_in: String,
    /// What it holds.
    #[schema(value_type = values::Locks)]
    acquired: Locks,
    /// The tokens of what it holds. A lock that was restored without its token has none.
    #[schema(value_type = values::Tokens)]
    tokens: Map<u64>,
    /// What it waits for.
    #[schema(value_type = values::Locks)]
    pending: Locks,
    /// Since when it holds what it holds, and waits for what it waits for.
    #[schema(value_type = values::Times)]
    since: Map<String>,
}

/// Makes a peer, which may ask for locks at once.
///
/// Answers the id of the new peer. Unless it is renewed, it expires after `expires_in`, and with it
/// go all its locks. The parameters mean something only beside `acquire`, and are refused without
/// it. A refusal makes no peer.
#[utoipa::path(
    post, path = "/new_peer", operation_id = "new_peer", tag = "peers",
    params(Patience),
    request_body = Creation,
    responses(asks::Answers, refusals::NewPeer),
)]
pub fn create(api: &Rc<Api>, request: &ServiceRequest, body: &[u8]) -> Result<Answer, Refusal> {
    let [block_for, queue] = path::query(request.query_string(), ["block_for", "queue"])?;
    let Creation { expires_in, peer_id, name, labels, acquire } = body::parse(body, EXAMPLE)?;
    if acquire.is_none() {
        nothing_to_wait_for(request)?;
    }
    let patience = Patience::of(block_for, queue)?;
    let acquire = acquire.unwrap_or_default();
    let about = labels.about(name.as_deref());
    let new = NewPeer {
        expires_in,
        about: about.as_ref(),
        acquire: &acquire.counts(),
        may_queue: patience.may_queue,
    };
    let asked = api.state.new_peer(peer_id.map(PeerId), new, patience.may_park())?;
    Ok(patience.answer(api, asked))
}

/// Lists all peers, or a page of them, in no particular order.
///
/// Without `offset` and `limit` it lists all. It looks at every peer: for people, not for loops.
#[utoipa::path(
    get, path = "/peers/", operation_id = "list_peers", tag = "peers",
    params(parameters::Page),
    responses(
        (status = 200, description = "The peers.", body = Vec<Shown>),
        refusals::ListPeers,
    ),
)]
pub fn list(api: &Api, request: &ServiceRequest) -> Result<Answer, Refusal> {
    let page = path::page(request)?.unwrap_or(Page::ALL);
    let peers = api.state.peers(page).into_iter();
    Ok(answer::json(&peers.map(|peer| shown(api, peer)).collect::<Vec<_>>()).into())
}

/// Shows a peer.
#[utoipa::path(
    get, path = "/peers/{id}", operation_id = "show_peer", tag = "peers",
    params(parameters::Peer),
    responses(
        (status = 200, description = "The peer.", body = Shown, headers(("Throttle-Expires-In"))),
        refusals::ShowPeer,
    ),
)]
pub fn show(api: &Api, id: &str) -> Result<Answer, Refusal> {
    let peer = api.state.peer(path::peer_id(id)?)?;
    let touched = Touched::lease(peer.expires_in);
    Ok(touched.json(&shown(api, peer)).into())
}

/// Renews the lease of a peer, lets it ask for locks, or both.
///
/// An ask is granted as a whole: all its locks at once, with one token. To repeat the very ask that
/// is pending, or one all of which the peer holds, changes nothing, and the answer says how it
/// stands. The parameters mean something only beside `acquire`, and are refused without it.
#[utoipa::path(
    put, path = "/peers/{id}", operation_id = "renew_peer", tag = "peers",
    params(parameters::Peer, Patience),
    request_body = Renewal,
    responses(
        asks::Answers,
        (
            status = 200,
            description = "The lease is renewed (`Ok`, where nothing was asked for), or all that \
                           was asked for is acquired (the peer's id).",
            content((String = "text/plain", example = "Ok"), (values::PeerId = "application/json")),
            headers(("Throttle-Expires-In"), ("Throttle-Token")),
        ),
        refusals::RenewPeer,
    ),
)]
pub fn renew(
    api: &Rc<Api>,
    request: &ServiceRequest,
    id: &str,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let id = path::peer_id(id)?;
    let [block_for, queue] = path::query(request.query_string(), ["block_for", "queue"])?;
    match body::parse(body, EXAMPLE)? {
        Renewal { acquire: Some(acquire), expires_in, .. } => {
            let patience = Patience::of(block_for, queue)?;
            let terms = Terms { expires_in, may_queue: patience.may_queue };
            let asking = Asking::Together(&acquire.counts());
            let asked = api.state.acquire(id, asking, terms, patience.may_park())?;
            Ok(patience.answer(api, asked))
        }
        Renewal { expires_in: Some(expires_in), .. } => {
            nothing_to_wait_for(request)?;
            let expires_in = api.state.heartbeat(id, expires_in)?;
            Ok(Touched::lease(expires_in).text("Ok").into())
        }
        Renewal { expires_in: None, acquire: None, .. } => {
            let reason = "missing field `expires_in`".to_owned();
            Err(Refusal::BadBody { reason, expected: EXAMPLE })
        }
    }
}

/// Releases a peer and all its locks, acquired and pending.
///
/// With `revoke=true`, which is for administrators, it cannot come back: until its lease would have
/// ended, its id is refused where it is to be restored or made again.
#[utoipa::path(
    delete, path = "/peers/{id}", operation_id = "release_peer", tag = "peers",
    params(
        parameters::Peer,
        ("revoke" = Option<bool>, Query, description = "Whether it must not come back."),
    ),
    responses(
        (
            status = 200,
            description = "`\"Peer released\"` or `\"Peer not found\"`.",
            body = String, content_type = "application/json", example = "Peer released",
        ),
        refusals::ReleasePeer,
    ),
    security((), ("token" = [])),
)]
pub fn release(api: &Api, request: &ServiceRequest, id: &str) -> Result<Answer, Refusal> {
    let [revoke] = path::query(request.query_string(), ["revoke"])?;
    let id = path::peer_id(id)?;
    let was_there = match revoke.map_or(Ok(false), |text| path::boolean("revoke", &text))? {
        true => {
            let by = admin::check(&api.admin, request)?;
            api.state.revoke(id, &by)
        }
        false => api.state.remove_peer(id),
    };
    Ok(answer::json(if was_there { "Peer released" } else { "Peer not found" }).into())
}

/// Says whether a peer waits for nothing.
#[utoipa::path(
    get, path = "/peers/{id}/is_acquired", operation_id = "is_acquired", tag = "peers",
    params(parameters::Peer),
    responses(
        (
            status = 200,
            description = "Whether it waits for nothing.",
            body = bool, content_type = "application/json",
            headers(("Throttle-Expires-In")),
        ),
        refusals::ShowPeer,
    ),
)]
pub fn is_acquired(api: &Api, id: &str) -> Result<Answer, Refusal> {
    let (is_acquired, expires_in) = api.state.is_acquired(path::peer_id(id)?)?;
    Ok(Touched::lease(expires_in).json(&is_acquired).into())
}

/// Expires peers whose leases have ended, and answers how many.
///
/// The server does this by itself, at the moment at which a lease ends.
#[utoipa::path(
    post, path = "/remove_expired", operation_id = "remove_expired", tag = "peers",
    responses(
        (
            status = 200,
            description = "How many peers expired, usually 0.",
            body = usize, content_type = "application/json",
        ),
        refusals::RemoveExpired,
    ),
)]
pub fn remove_expired(api: &Api, request: &ServiceRequest) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let state = api.state.clone();
    Ok(Answer::Later(Box::pin(async move { Ok(answer::json(&state.remove_expired().await)) })))
}

/// Without an ask there is nothing to wait for: whoever says how long has forgotten the ask.
fn nothing_to_wait_for(request: &ServiceRequest) -> Result<(), Refusal> {
    if request.query_string().is_empty() {
        return Ok(());
    }
    let reason = "it means nothing here without `acquire` in the body, such as \
                  `\"acquire\": {\"A\": 1}`";
    Err(Refusal::BadQuery { reason: reason.to_owned() })
}

fn shown(api: &Api, peer: PeerSnapshot) -> Shown {
    let (name, labels) = shown::called(&peer.about);
    let since = peer.since.into_iter().map(|(lock, since)| (lock, shown::time(api, since)));
    Shown {
        id: peer.id.0,
        name,
        labels,
        expires_in: duration::milliseconds(peer.expires_in),
        acquired: Map::of(peer.acquired),
        tokens: Map::of(peer.tokens.into_iter().map(|(lock, token)| (lock, token.number()))),
        pending: Map::of(peer.pending),
        since: Map::of(since),
    }
}

fn chosen_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let id = u64::deserialize(deserializer)?;
    if !CHOSEN_IDS.contains(&id) {
        return Err(de::Error::custom(format!(
            "`peer_id` {id} is out of range, expected an integer drawn at random from {} to {}",
            CHOSEN_IDS.start(),
            CHOSEN_IDS.end()
        )));
    }
    Ok(Some(id))
}
