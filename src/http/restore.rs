//! `POST /restore`: a peer comes back with the locks that it held, after the server was restarted.

use std::{fmt, time::Duration};

use actix_web::dev::ServiceRequest;
use serde::{Deserialize, Deserializer, de};

use super::{Answer, answer, body, duration, error::Refusal, path};
use crate::{
    fields::Integer,
    semaphore::{PeerId, Wanted},
    state::State,
};

const EXAMPLE: &str =
    "an object such as `{\"expires_in\": \"5m\", \"peer_id\": 42, \"acquired\": {\"A\": 1}}`";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restore {
    #[serde(deserialize_with = "duration::deserialize")]
    expires_in: Duration,
    peer_id: u64,
    #[serde(deserialize_with = "all_entries")]
    acquired: Vec<(String, Integer)>,
}

/// Restores a peer with exactly the locks that the body names.
pub fn restore(state: &State, request: &ServiceRequest, body: &[u8]) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let Restore { expires_in, peer_id, acquired } = body::parse(body, EXAMPLE)?;
    let acquired: Vec<Wanted<'_>> =
        acquired.iter().map(|(name, Integer(count))| (name.as_str(), *count)).collect();
    state.restore(PeerId(peer_id), &acquired, expires_in)?;
    Ok(answer::text("Ok").into())
}

/// All entries of a JSON object, also those of the same name: a map would silently keep the last.
fn all_entries<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, Integer)>, D::Error> {
    struct Visitor;

    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Vec<(String, Integer)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object with semaphores and counts such as {\"A\": 1}")
        }

        fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Visitor)
}
