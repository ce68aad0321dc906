//! Peers: make, list, renew, look at, release, revoke, and expire them.

use std::{ops::RangeInclusive, rc::Rc, sync::Arc, time::Duration};

use actix_web::dev::ServiceRequest;
use log::warn;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny},
};

use super::{
    Answer, Api, admin, answer,
    answer::Touched,
    asks::Patience,
    body, duration,
    entries::{self, Entries},
    error::Refusal,
    path,
};
use crate::{
    fields::Integer,
    semaphore::{Asking, NamedLocks, NewPeer, PeerId, PeerSnapshot, Terms, Token},
};

/// What a body that makes a peer or renews a lease looks like.
const EXAMPLE: &str = "an object such as `{\"expires_in\": \"5m\"}`, which may also have the field \
                       `\"acquire\": {\"A\": 1}`";

/// Ids that the maker of a peer may choose: from so many, two that are drawn at random hardly ever
/// collide, and JavaScript holds them exactly.
const CHOSEN_IDS: RangeInclusive<u64> = (1 << 32)..=((1 << 53) - 1);

/// In characters.
const LONGEST_NAME: usize = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Creation {
    #[serde(deserialize_with = "duration::deserialize")]
    expires_in: Duration,
    #[serde(default, deserialize_with = "chosen_id")]
    peer_id: Option<u64>,
    #[serde(default, deserialize_with = "name")]
    name: Option<String>,
    #[serde(default, deserialize_with = "entries::some")]
    acquire: Option<Entries<Integer>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renewal {
    #[serde(default, deserialize_with = "duration::deserialize_some")]
    expires_in: Option<Duration>,
    #[serde(default, deserialize_with = "entries::some")]
    acquire: Option<Entries<Integer>>,
    /// Old clients send it; it never mattered.
    #[serde(default, rename = "active")]
    _active: IgnoredAny,
}

/// One peer as it is shown.
#[derive(Serialize)]
struct Shown {
    id: u64,
    name: Option<Box<str>>,
    /// What is left of its lease, such as `299500ms`.
    expires_in: String,
    #[serde(serialize_with = "as_map")]
    acquired: NamedLocks,
    #[serde(serialize_with = "tokens_as_map")]
    tokens: Vec<(Arc<str>, Token)>,
    #[serde(serialize_with = "as_map")]
    pending: NamedLocks,
}

/// `POST /new_peer`: makes a peer, lets it ask for locks, and answers its id.
pub fn create(api: &Rc<Api>, request: &ServiceRequest, body: &[u8]) -> Result<Answer, Refusal> {
    let [block_for, queue] = path::query(request.query_string(), ["block_for", "queue"])?;
    let Creation { expires_in, peer_id, name, acquire } = body::parse(body, EXAMPLE)?;
    if acquire.is_none() {
        nothing_to_wait_for(request)?;
    }
    let patience = Patience::of(block_for, queue)?;
    let acquire = acquire.unwrap_or_default();
    let new = NewPeer {
        expires_in,
        name: name.as_deref(),
        acquire: &acquire.counts(),
        may_queue: patience.may_queue,
    };
    let asked = api.state.new_peer(peer_id.map(PeerId), new, patience.may_park())?;
    Ok(patience.answer(api, asked))
}

/// `GET /peers/`: all peers.
pub fn list(api: &Api) -> Answer {
    let peers: Vec<_> = api.state.peers().into_iter().map(Shown::from).collect();
    answer::json(&peers).into()
}

/// `GET /peers/{id}`: one peer.
pub fn show(api: &Api, id: &str) -> Result<Answer, Refusal> {
    let peer = api.state.peer(path::peer_id(id)?)?;
    let touched = Touched::lease(peer.expires_in);
    Ok(touched.json(&Shown::from(peer)).into())
}

/// `PUT /peers/{id}`: a heartbeat, an ask, or both.
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

/// `DELETE /peers/{id}`: releases a peer and all its locks; with `revoke=true` for good.
pub fn release(api: &Api, request: &ServiceRequest, id: &str) -> Result<Answer, Refusal> {
    let [revoke] = path::query(request.query_string(), ["revoke"])?;
    let id = path::peer_id(id)?;
    let was_there = match revoke.map_or(Ok(false), |text| path::boolean("revoke", &text))? {
        true => {
            admin::check(&api.admin, request)?;
            let was_there = api.state.revoke(id);
            if was_there {
                let by = request.peer_addr().map(|address| address.ip().to_string());
                let by = by.as_deref().unwrap_or("an unknown address");
                warn!(target: "throttle", peer = id.0, by; "peer {id} revoked by {by}");
            }
            was_there
        }
        false => api.state.remove_peer(id),
    };
    Ok(answer::json(if was_there { "Peer released" } else { "Peer not found" }).into())
}

/// `GET /peers/{id}/is_acquired`: whether the peer waits for nothing.
pub fn is_acquired(api: &Api, id: &str) -> Result<Answer, Refusal> {
    let (is_acquired, expires_in) = api.state.is_acquired(path::peer_id(id)?)?;
    Ok(Touched::lease(expires_in).json(&is_acquired).into())
}

/// `POST /remove_expired`: expires peers now, and answers how many.
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

impl From<PeerSnapshot> for Shown {
    fn from(peer: PeerSnapshot) -> Self {
        Shown {
            id: peer.id.0,
            name: peer.name,
            expires_in: duration::milliseconds(peer.expires_in),
            acquired: peer.acquired,
            tokens: peer.tokens,
            pending: peer.pending,
        }
    }
}

fn as_map<S: Serializer>(locks: &[(Arc<str>, i64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(locks.iter().map(|(name, count)| (name.as_ref(), count)))
}

fn tokens_as_map<S: Serializer>(
    tokens: &[(Arc<str>, Token)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tokens.iter().map(|(name, token)| (name.as_ref(), token.number())))
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

/// A name is for people, who read it in lists and in log lines. An empty one is none.
///
/// # Errors
/// Where it is too long, or would break a line.
pub fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let length = name.chars().count();
    if length > LONGEST_NAME {
        return Err(de::Error::custom(format!(
            "`name` has {length} characters, expected at most {LONGEST_NAME}"
        )));
    }
    if name.contains(breaks_lines) {
        return Err(de::Error::custom("`name` contains a control character, expected none"));
    }
    Ok((!name.is_empty()).then_some(name))
}

/// Whether a letter ends a line, or shows what follows in another place than it is.
fn breaks_lines(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
