//! Shapes that several answers share: whose lock it is, which locks, and when.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{Api, openapi::values};
use crate::semaphore::{About, PeerId, Timestamp};

/// An object whose keys come in a given order.
#[derive(Clone, Debug)]
pub struct Map<V>(Vec<(Arc<str>, V)>);

/// Labels of a peer.
pub type Labels = Map<String>;

/// Semaphores, and the counts of locks.
pub type Locks = Map<i64>;

impl<V> Map<V> {
    /// Of keys and values.
    pub fn of(entries: impl IntoIterator<Item = (Arc<str>, V)>) -> Self {
        Map(entries.into_iter().collect())
    }
}

impl<V: Serialize> Serialize for Map<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key.as_ref(), value)))
    }
}

/// Whose lock it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Who {
    #[schema(value_type = values::PeerId)]
    peer: u64,
    /// What people call the peer.
    #[schema(required)]
    name: Option<String>,
    #[schema(value_type = values::Labels)]
    labels: Labels,
}

impl Who {
    /// This peer.
    pub fn of(peer: PeerId, about: &Option<About>) -> Self {
        let (name, labels) = called(about);
        Who { peer: peer.0, name, labels }
    }
}

/// Name and labels.
pub fn called(about: &Option<About>) -> (Option<String>, Labels) {
    let name = about.as_ref().and_then(About::name).map(str::to_owned);
    let labels = about.iter().flat_map(About::labels);
    (name, Map::of(labels.map(|(key, value)| (key.into(), value.to_owned()))))
}

/// A point in time as people read it, such as `2026-11-22T08:00:00.123Z`.
pub fn time(api: &Api, point: Timestamp) -> String {
    date(api.state.wall_clock(point))
}

/// A time since 1970 as people read it.
pub fn date(since_1970: Duration) -> String {
    // Years beyond 9999 have no such form.
    const LATEST: Duration = Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(UNIX_EPOCH + since_1970.min(LATEST)).to_string()
}
