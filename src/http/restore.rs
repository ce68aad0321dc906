//! `POST /restore`: a peer comes back with the locks that it held, after the server was restarted.

use std::time::Duration;

use actix_web::dev::ServiceRequest;
use serde::Deserialize;

use super::{
    Answer, Api, answer::Touched, body, duration, entries::Entries, error::Refusal, path, peers,
};
use crate::{
    fields::Integer,
    semaphore::{PeerId, Restored},
};

const EXAMPLE: &str =
    "an object such as `{\"expires_in\": \"5m\", \"peer_id\": 42, \"acquired\": {\"A\": 1}}`";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restore {
    #[serde(deserialize_with = "duration::deserialize")]
    expires_in: Duration,
    peer_id: u64,
    acquired: Entries<Integer>,
    #[serde(default)]
    tokens: Entries<u64>,
    #[serde(default, deserialize_with = "peers::name")]
    name: Option<String>,
}

/// Restores a peer with exactly the locks that the body names.
pub fn restore(api: &Api, request: &ServiceRequest, body: &[u8]) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let Restore { expires_in, peer_id, acquired, tokens, name } = body::parse(body, EXAMPLE)?;
    let restored = Restored {
        acquired: &acquired.counts(),
        tokens: &tokens.numbers(),
        name: name.as_deref(),
        expires_in,
    };
    let expires_in = api.state.restore(PeerId(peer_id), restored)?;
    Ok(Touched::lease(expires_in).text("Ok").into())
}
