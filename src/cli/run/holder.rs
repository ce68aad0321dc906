//! Who holds what somebody else came too late for, as far as that has a name.

use std::{fmt, time::Duration};

use crate::{
    cli::{
        look::View,
        shown::{duration, escaped},
    },
    client::{Client, Request},
};

/// Nobody waits for longer to be told why it was for nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Somebody who holds a semaphore.
#[derive(Debug)]
pub struct Holder {
    name: String,
    held_for: Duration,
}

impl Holder {
    /// Who has held one of these semaphores for longest; `None` where nobody says who it is.
    pub fn find(client: &Client, names: &[String]) -> Option<Self> {
        let all = names.iter().filter_map(|name| {
            let request = Request::new("GET", ["semaphores", name]).with("limit", 1);
            let view: View = client.send(&request, PATIENCE).ok()?.json()?;
            let longest = view.held_by.into_iter().next()?;
            Some(Holder { name: longest.who.name?, held_for: longest.held_for })
        });
        all.max_by_key(|holder| holder.held_for)
    }
}

/// As in `` held by `etl@node7` for 3m``.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held by `{}` for {}", escaped(&self.name), duration(self.held_for))
    }
}
