//! Durations on the wire: humantime strings such as `30s`, `1500ms`, `1s 500ms` or `1.5s`.

use std::time::Duration;

use serde::{Deserializer, de};

/// Parses a duration with a unit; `0` needs none.
///
/// # Errors
/// What is wrong with the text, and what is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    if let Some(duration) = whole(text) {
        return Ok(duration);
    }
    humantime::parse_duration(text).map_err(|error| {
        format!(
            "`{text}` is not a duration ({error}), expected one such as `30s`, `5m` or `1500ms`"
        )
    })
}

/// A whole number of one of the units that clients send. It saturates where humantime would refuse:
/// a published client spells "never" as 86400000000000000ms.
fn whole(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = text[..text.len() - unit.len()].parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.saturating_mul(60))),
        "h" => Some(Duration::from_secs(number.saturating_mul(60 * 60))),
        _ => None,
    }
}

/// A duration as all answers show it, such as `299500ms`.
pub fn milliseconds(duration: Duration) -> String {
    format!("{}ms", whole_milliseconds(duration))
}

/// A duration in whole milliseconds. Saturates after 584 million years.
pub fn whole_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// For `#[serde(deserialize_with)]`: a JSON string that holds a duration.
///
/// # Errors
/// As [`parse`], and where the value is not a string.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Visitor;

    impl de::Visitor<'_> for Visitor {
        type Value = Duration;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string with a duration such as \"30s\", \"5m\" or \"1500ms\"")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Visitor)
}

/// As [`deserialize`], for a field that may be left out.
///
/// # Errors
/// As [`deserialize`].
pub fn deserialize_some<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_fractions_and_sums_are_understood() {
        for (text, expected_ms) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000),
            ("5m", 300_000),
            ("5min", 300_000),
            ("12h", 43_200_000),
            ("1500ms", 1_500),
            ("1s 500ms", 1_500),
            ("1.5s", 1_500),
        ] {
            assert_eq!(Ok(Duration::from_millis(expected_ms)), parse(text), "{text}");
        }
    }

    #[test]
    fn long_durations_saturate() {
        assert_eq!(Ok(Duration::from_secs(u64::MAX)), parse("18446744073709551615s"));
        assert_eq!(Ok(Duration::from_secs(u64::MAX)), parse("18446744073709551615h"));
        assert_eq!(Ok(Duration::from_millis(u64::MAX)), parse("18446744073709551615ms"));
    }

    #[test]
    fn anything_else_is_refused_with_the_text_and_an_example() {
        for text in ["", " ", "5", "-5s", "5 parsecs", "s", "1e3s", "18446744073709551616s", "∞"]
        {
            let message = parse(text).unwrap_err();

            assert!(message.starts_with(&format!("`{text}` is not a duration")), "{message}");
            assert!(message.contains("`30s`"), "{message}");
        }
    }
}
