//! How subcommands show things: names, times and colours to people, JSON to scripts.

use std::{borrow::Cow, fmt::Write, time::Duration};

use anstyle::{AnsiColor, Style};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::semaphore::breaks_lines;

/// Headings.
pub const BOLD: Style = Style::new().bold();

/// What somebody may want to change.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();

/// What should not be.
pub const RED: Style = AnsiColor::Red.on_default();

/// A text of others, without what would move the cursor, end the line or turn the writing around:
/// that is spelled out.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(breaks_lines) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(2 * text.len());
    for c in text.chars() {
        match breaks_lines(c) {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// The same, of a text that may have several lines.
pub fn escaped_lines(text: &str) -> String {
    text.lines().map(escaped).collect::<Vec<_>>().join("\n")
}

/// A text of others as one word of a command that can be pasted into a shell.
pub fn quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@%+,".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", escaped(text).replace('\'', r"'\''")))
}

/// A text in a colour.
pub fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A duration in no more than two units, such as `1m 5s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 && !duration.is_zero() {
        return format!("{}ms", duration.as_millis().max(1));
    }
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let first = units.iter().position(|(number, _)| *number > 0).unwrap_or(units.len() - 1);
    let two = &units[first..units.len().min(first + 2)];
    let shown = two.iter().enumerate().filter(|(ix, (number, _))| *ix == 0 || *number > 0);
    shown.map(|(_, (number, unit))| format!("{number}{unit}")).collect::<Vec<_>>().join(" ")
}

/// A duration as answers have it, such as `1500ms`.
///
/// # Errors
/// Where it is something else.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let ms = text.strip_suffix("ms").and_then(|ms| ms.parse().ok());
    ms.map(Duration::from_millis)
        .or_else(|| humantime::parse_duration(&text).ok())
        .ok_or_else(|| de::Error::custom("no duration"))
}

/// A number, and what there are so many of: `1 peer`, `2 peers`.
pub fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// JSON for a reader who may be a person: a text with an end of line.
pub fn pretty(value: &Value) -> String {
    harmless(&format!("{value:#}")) + "\n"
}

/// JSON in one line.
pub fn compact(value: &Value) -> String {
    harmless(&value.to_string()) + "\n"
}

/// JSON escapes the control characters of ASCII alone. What else would upset a terminal can only
/// stand in a string, where it means the same when it is escaped.
fn harmless(json: &str) -> String {
    let mut harmless = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        match breaks_lines(c) && c != '\n' {
            // Writing to a string does not fail; all of these have four digits.
            true => drop(write!(harmless, "\\u{:04x}", u32::from(c))),
            false => harmless.push(c),
        }
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_no_more_than_two_units() {
        for (ms, expected) in [
            (0, "0s"),
            (1, "1ms"),
            (999, "999ms"),
            (1_500, "1s"),
            (60_000, "1m"),
            (65_000, "1m 5s"),
            (3_600_000 + 59_000, "1h"),
            (86_400_000 + 3_600_000, "1d 1h"),
            (400 * 86_400_000, "400d"),
        ] {
            assert_eq!(expected, duration(Duration::from_millis(ms)));
        }
        assert_eq!("1ms", duration(Duration::from_nanos(1)));
    }

    #[test]
    fn what_would_upset_a_terminal_is_spelled_out() {
        assert_eq!("ä b", escaped("ä b"));
        assert_eq!(r"\u{1b}[31m\n\u{202e}\u{9b}", escaped("\u{1b}[31m\n\u{202e}\u{9b}"));
        assert_eq!("a\n\\tb", escaped_lines("a\n\tb\n"));
    }

    #[test]
    fn words_of_a_command_can_be_pasted() {
        assert_eq!("a/b", quoted("a/b"));
        assert_eq!("'a b'", quoted("a b"));
        assert_eq!(r"'it'\''s'", quoted("it's"));
        assert_eq!("'-x'", quoted("-x"));
        assert_eq!("''", quoted(""));
    }

    #[test]
    fn json_keeps_its_meaning_where_it_is_escaped() {
        let value = serde_json::json!({"a\u{202e}": "\u{9b}\u{1b}\n", "b": [1, "ä"]});

        for text in [pretty(&value), compact(&value)] {
            assert!(!text.contains(['\u{202e}', '\u{9b}', '\u{1b}']), "{text}");
            assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
        }
        assert_eq!(1, compact(&value).lines().count());
    }
}
