//! `POST /restore`: a peer comes back with the locks that it held, after the server was restarted.

use std::time::Duration;

use actix_web::dev::ServiceRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Answer, Api,
    answer::Touched,
    body, duration,
    entries::Entries,
    error::Refusal,
    labels::{self, Labels},
    openapi::{refusals, values},
    path,
};
use crate::{
    fields::Integer,
    semaphore::{PeerId, Restored},
};

const EXAMPLE: &str =
    "an object such as `{\"expires_in\": \"5m\", \"peer_id\": 42, \"acquired\": {\"A\": 1}}`";

/// A peer to be restored, with all that it held.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Restore {
    /// The length of its new lease.
    #[serde(deserialize_with = "duration::deserialize")]
    #[schema(value_type = values::Duration)]
    expires_in: Duration,
    #[schema(value_type = values::PeerId)]
    peer_id: u64,
    /// What it held.
    #[schema(value_type = values::Locks)]
    acquired: Entries<Integer>,
    /// The tokens that were granted with these locks, as far as it knows them.
    #[serde(default)]
    #[schema(value_type = values::Tokens)]
    tokens: Entries<u64>,
    #[serde(default, deserialize_with = "labels::name")]
    #[schema(value_type = values::Name)]
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = values::Labels)]
    labels: Labels,
}

/// Restores a peer with the locks that it held before the server was restarted.
///
/// The peer exists afterwards with exactly these locks, even if more is then acquired than there
/// is; levels are not checked. A peer that exists already with exactly these locks, and waits for
/// nothing, has its lease renewed; one that exists otherwise is left alone. A lock that comes
/// without its token has none.
#[utoipa::path(
    post, path = "/restore", operation_id = "restore", tag = "peers",
    request_body = Restore,
    responses(
        (
            status = 200,
            description = "The peer holds these locks.",
            body = String, headers(("Throttle-Expires-In")), example = json!("Ok"),
        ),
        refusals::Restore,
    ),
)]
pub fn restore(api: &Api, request: &ServiceRequest, body: &[u8]) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let Restore { expires_in, peer_id, acquired, tokens, name, labels } =
        body::parse(body, EXAMPLE)?;
    let about = labels.about(name.as_deref());
    let restored = Restored {
        acquired: &acquired.counts(),
        tokens: &tokens.numbers(),
        about: about.as_ref(),
        expires_in,
    };
    let expires_in = api.state.restore(PeerId(peer_id), restored)?;
    Ok(Touched::lease(expires_in).text("Ok").into())
}
