//! Peers: make, list, renew, look at, release, and expire them.

use std::{sync::Arc, time::Duration};

use actix_web::dev::ServiceRequest;
use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};

use super::{Answer, answer, body, duration, error::Refusal, path};
use crate::{
    semaphore::{NamedLocks, PeerSnapshot},
    state::State,
};

/// What a body that renews a lease looks like.
const EXAMPLE: &str = "an object such as `{\"expires_in\": \"5m\"}`";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPeer {
    #[serde(deserialize_with = "duration::deserialize")]
    expires_in: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heartbeat {
    #[serde(deserialize_with = "duration::deserialize")]
    expires_in: Duration,
    /// Old clients send it; it never mattered.
    #[serde(default, rename = "active")]
    _active: IgnoredAny,
}

/// One peer of the list.
#[derive(Serialize)]
struct Listed {
    id: u64,
    /// What is left of its lease, such as `299500ms`.
    expires_in: String,
    #[serde(serialize_with = "as_map")]
    acquired: NamedLocks,
    #[serde(serialize_with = "as_map")]
    pending: NamedLocks,
}

/// `POST /new_peer`: makes a peer and answers its id.
pub fn create(state: &State, request: &ServiceRequest, body: &[u8]) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let NewPeer { expires_in } = body::parse(body, EXAMPLE)?;
    Ok(answer::json(&state.new_peer(expires_in).0).into())
}

/// `GET /peers/`: all peers.
pub fn list(state: &State) -> Answer {
    let peers: Vec<_> = state.peers().into_iter().map(Listed::from).collect();
    answer::json(&peers).into()
}

/// `PUT /peers/{id}`: a heartbeat.
pub fn renew(
    state: &State,
    request: &ServiceRequest,
    id: &str,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let id = path::peer_id(id)?;
    path::no_query(request)?;
    let Heartbeat { expires_in, .. } = body::parse(body, EXAMPLE)?;
    state.heartbeat(id, expires_in)?;
    Ok(answer::text("Ok").into())
}

/// `DELETE /peers/{id}`: releases a peer and all its locks.
pub fn release(state: &State, request: &ServiceRequest, id: &str) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let was_there = state.remove_peer(path::peer_id(id)?);
    Ok(answer::json(if was_there { "Peer released" } else { "Peer not found" }).into())
}

/// `GET /peers/{id}/is_acquired`: whether the peer waits for nothing.
pub fn is_acquired(state: &State, id: &str) -> Result<Answer, Refusal> {
    Ok(answer::json(&state.is_acquired(path::peer_id(id)?)?).into())
}

/// `POST /remove_expired`: expires peers now, and answers how many.
pub fn remove_expired(state: &Arc<State>, request: &ServiceRequest) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let state = state.clone();
    Ok(Answer::Later(Box::pin(async move { Ok(answer::json(&state.remove_expired().await)) })))
}

impl From<PeerSnapshot> for Listed {
    fn from(peer: PeerSnapshot) -> Self {
        Listed {
            id: peer.id.0,
            expires_in: format!("{}ms", peer.expires_in.as_millis()),
            acquired: peer.acquired,
            pending: peer.pending,
        }
    }
}

fn as_map<S: Serializer>(locks: &[(Arc<str>, i64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(locks.iter().map(|(name, count)| (name.as_ref(), count)))
}
