//! How log lines name things: a peer, and the first of many.

use crate::semaphore::{About, PeerId};

/// A log line lists no more than this.
const LONGEST_LIST: usize = 10;

/// A peer: its id, and what people call it.
pub fn named(peer: PeerId, about: Option<&About>) -> String {
    about.map_or_else(|| peer.to_string(), |about| format!("{peer} {about}"))
}

/// The first of many, and how many more there are.
pub fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(LONGEST_LIST);
    let mut listed = items.take(LONGEST_LIST).collect::<Vec<_>>().join(", ");
    if more > 0 {
        listed.push_str(&format!(" and {more} more"));
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let numbers = |count: usize| (0..count).map(|number| number.to_string());

        assert_eq!("0, 1", listed(numbers(2)));
        assert!(listed(numbers(10)).ends_with(", 9"));
        assert!(listed(numbers(12)).ends_with(", 9 and 2 more"));
    }

    #[test]
    fn peers_without_a_name_are_named_by_their_id() {
        let about = About::new(Some("etl@node7"), [("pid", "311")]);

        assert_eq!("42 `etl@node7` pid 311", named(PeerId(42), about.as_ref()));
        assert_eq!("42", named(PeerId(42), None));
    }
}
