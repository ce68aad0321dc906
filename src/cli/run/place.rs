//! The place of a peer in the queue, for people who wait at a terminal.

use std::{fmt, time::Duration};

use crate::{
    cli::{
        look::{PAGE, View},
        shown::escaped,
    },
    client::{Client, REPLY, Request},
    clock,
};

/// Longer queues are not searched to their end.
const MOST_PAGES: usize = 20;

/// A place in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which queue, if there are several.
    semaphore: Option<String>,
    position: usize,
    waiting: usize,
    is_paused: bool,
}

impl Place {
    /// Looks for a peer in the queues of these semaphores: the first one where something is still
    /// waited for. `None` where it is not found.
    pub fn find(client: &Client, peer: u64, names: &[String]) -> Option<Self> {
        let until = clock::since_boot() + REPLY;
        let place = names.iter().find_map(|name| Place::find_in(client, peer, name, until))?;
        Some(Place { semaphore: place.semaphore.filter(|_| names.len() > 1), ..place })
    }

    fn find_in(client: &Client, peer: u64, name: &str, until: Duration) -> Option<Self> {
        for page in 0..MOST_PAGES {
            let request = Request::new("GET", ["semaphores", name])
                .with("offset", page * PAGE)
                .with("limit", PAGE);
            let left = until.checked_sub(clock::since_boot())?;
            let view: View = client.send(&request, left).ok()?.json()?;
            if let Some(entry) = view.queue.iter().find(|entry| entry.who.peer == peer) {
                return entry.waits_for.contains_key(name).then(|| Place {
                    semaphore: Some(name.to_owned()),
                    position: entry.position,
                    waiting: view.semaphore.waiting,
                    is_paused: view.semaphore.paused,
                });
            }
            if view.queue.len() < PAGE {
                return None;
            }
        }
        None
    }
}

/// As in `3rd of 12`, or `` 3rd of 12 for `A` `` where there are several queues.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { semaphore, position, waiting, is_paused } = self;
        let ending = match (position % 10, position % 100) {
            (_, 11..=13) => "th",
            (1, _) => "st",
            (2, _) => "nd",
            (3, _) => "rd",
            _ => "th",
        };
        write!(f, "{position}{ending} of {waiting}")?;
        if let Some(semaphore) = semaphore {
            write!(f, " for `{}`", escaped(semaphore))?;
        }
        if *is_paused { f.write_str(", paused") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_as_people_say_them() {
        let place = |position, is_paused| {
            Place { semaphore: None, position, waiting: 150, is_paused }.to_string()
        };

        assert_eq!("1st of 150", place(1, false));
        assert_eq!("2nd of 150, paused", place(2, true));
        assert_eq!("13th of 150", place(13, false));
        assert_eq!("23rd of 150", place(23, false));
        assert_eq!("111th of 150", place(111, false));
        let semaphore = Some("A".to_owned());
        let of_several = Place { semaphore, position: 4, waiting: 5, is_paused: true };
        assert_eq!("4th of 5 for `A`, paused", of_several.to_string());
    }
}
