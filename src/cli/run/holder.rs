//! Who holds what somebody else came too late for, as far as that has a name.

use std::{fmt, time::Duration};

use serde::Deserialize;

use crate::{
    cli::shown::{duration, escaped, time},
    client::{Client, Request},
};

/// Nobody waits for longer to be told why it was for nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Somebody who holds a semaphore.
#[derive(Debug, Deserialize)]
pub struct Holder {
    name: Option<String>,
    #[serde(deserialize_with = "time")]
    held_for: Duration,
}

#[derive(Deserialize)]
struct View {
    held_by: Vec<Holder>,
}

impl Holder {
    /// Who has held one of these semaphores for longest; `None` where nobody says who it is.
    pub fn find(client: &Client, names: &[String]) -> Option<Self> {
        let all = names.iter().filter_map(|name| {
            let request = Request::new("GET", ["semaphores", name]).with("limit", 1);
            let view: View = client.send(&request, PATIENCE).ok()?.json()?;
            view.held_by.into_iter().next().filter(|holder| holder.name.is_some())
        });
        all.max_by_key(|holder| holder.held_for)
    }
}

/// As in `` held by `etl@node7` for 3m``.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = escaped(self.name.as_deref().unwrap_or_default());
        write!(f, "held by `{name}` for {}", duration(self.held_for))
    }
}
