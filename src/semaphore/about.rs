//! What people call a peer: a name, and labels such as its host and the id of its process.
//!
//! Nothing is decided by it.

use std::{fmt, sync::Arc};

/// Stands between the parts; no part contains it.
const SEPARATOR: char = '\0';

/// A name and labels, in one piece of memory: a peer that has them costs one allocation more.
#[derive(Clone, PartialEq, Eq)]
pub struct About(Arc<str>);

impl About {
    /// A name, and a label's value, is no longer, in characters.
    pub const LONGEST_TEXT: usize = 128;

    /// A label's key is no longer, in characters.
    pub const LONGEST_KEY: usize = 32;

    /// Of this name and these labels; `None` where there are neither. An empty name is none. No
    /// text may contain a NUL.
    pub fn new<'a>(
        name: Option<&'a str>,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Option<Self> {
        let mut text = name.unwrap_or_default().to_owned();
        for (key, value) in labels {
            text.extend([SEPARATOR]);
            text.push_str(key);
            text.extend([SEPARATOR]);
            text.push_str(value);
        }
        (!text.is_empty()).then(|| About(text.into()))
    }

    /// What people call the peer.
    pub fn name(&self) -> Option<&str> {
        self.0.split(SEPARATOR).next().filter(|name| !name.is_empty())
    }

    /// Keys and values, in the order in which they were given.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.0.split(SEPARATOR).skip(1);
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }
}

impl fmt::Debug for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "About({self})")
    }
}

/// As a log line has it: `` `etl@node7` pid 311``. What the name shows already is left out.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name().unwrap_or_default();
        let mut blank = "";
        if !name.is_empty() {
            write!(f, "`{name}`")?;
            blank = " ";
        }
        for (key, value) in self.labels().filter(|(_, value)| !shows(name, value)) {
            write!(f, "{blank}{key} {value}")?;
            blank = " ";
        }
        Ok(())
    }
}

/// Whether a name shows a label's value already, as `etl@node7` does `node7`.
pub fn shows(name: &str, value: &str) -> bool {
    name.split(['@', ' ']).any(|part| part == value)
}

/// Whether a letter ends a line, or shows what follows in another place than it is.
pub fn breaks_lines(c: char) -> bool {
    const MARKS: [char; 3] = ['\u{61c}', '\u{200e}', '\u{200f}'];
    let turns = matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || MARKS.contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_labels_come_back_as_they_were_given() {
        let labels = [("host", "node7"), ("empty", ""), ("pid", "311")];

        let about = About::new(Some("etl@node7"), labels).unwrap();
        assert_eq!(Some("etl@node7"), about.name());
        assert_eq!(&labels[..], about.labels().collect::<Vec<_>>());

        let unnamed = About::new(None, labels).unwrap();
        assert_eq!(None, unnamed.name());
        assert_eq!(&labels[..], unnamed.labels().collect::<Vec<_>>());

        assert_eq!(None, About::new(None, []));
        assert_eq!(None, About::new(Some(""), []));
        assert_eq!(0, About::new(Some("x"), []).unwrap().labels().count());
    }

    #[test]
    fn log_line_leaves_out_what_the_name_shows() {
        let labels = [("host", "node7"), ("pid", "311"), ("program", "etl")];

        let shown = |name| About::new(name, labels).unwrap().to_string();

        assert_eq!("`etl@node7` pid 311", shown(Some("etl@node7")));
        assert_eq!("host node7 pid 311 program etl", shown(None));
        assert_eq!("`x`", About::new(Some("x"), []).unwrap().to_string());
        assert_eq!("About(`x`)", format!("{:?}", About::new(Some("x"), []).unwrap()));
    }

    #[test]
    fn letters_that_end_a_line_or_turn_it_are_told_from_others() {
        let telling =
            ['\n', '\0', '\u{85}', '\u{61c}', '\u{200f}', '\u{2028}', '\u{202e}', '\u{2069}'];

        assert!(telling.into_iter().all(breaks_lines));
        assert!(!['a', ' ', '-', 'ä', '\u{2027}', '\u{206a}'].into_iter().any(breaks_lines));
    }
}
