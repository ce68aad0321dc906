//! The table `limits`, and numbers and durations that bound something.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::fields::Integer;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What bounds the use of this server. All are longer or more than zero.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// There are never more peers than this. Default: a million, which take about 120 MB.
    #[serde(deserialize_with = "at_least_one")]
    pub max_peers: usize,
    /// While there are so many semaphores, none is made from a template. Default: 10,000.
    #[serde(deserialize_with = "at_least_one")]
    pub max_semaphores: usize,
    /// There are never more requests parked than this. Default, and the most: three quarters of the
    /// connections that there can be.
    #[serde(deserialize_with = "some_at_least_one")]
    pub max_waiters: Option<usize>,
    /// No request is parked for longer; a longer `block_for` is shortened. Default: an hour.
    #[serde(deserialize_with = "duration")]
    pub max_block_for: Duration,
    /// No lease is longer; a longer `expires_in` is refused. Default: `None`, any length.
    #[serde(deserialize_with = "some_duration")]
    pub max_expires_in: Option<Duration>,
    /// No body of a request is longer, in bytes. Default: 64 KiB.
    #[serde(deserialize_with = "at_least_one")]
    pub max_body: usize,
    /// The head of a request must have been sent by then, counted from its first byte, or from the
    /// connection where it is the first one. At least a second. Default: 10 seconds.
    #[serde(deserialize_with = "header_timeout")]
    pub header_timeout: Duration,
    /// A body must have followed its head by then. Default: 10 seconds.
    #[serde(deserialize_with = "timeout")]
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_peers: 1_000_000,
            max_semaphores: 10_000,
            max_waiters: None,
            max_block_for: Duration::from_secs(60 * 60),
            max_expires_in: None,
            max_body: 64 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
        }
    }
}

/// A duration longer than zero.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration: Duration = humantime_serde::deserialize(deserializer)
        .map_err(|error: D::Error| error.to_string())
        .map_err(|reason| de::Error::custom(format!("{} such as `5min`", reason.trim_end())))?;
    longer_than_zero(duration)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// A duration of at most a day: whoever is waited for any longer will not come.
fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = duration(deserializer)?;
    if duration > DAY {
        let found = humantime::format_duration(duration);
        return Err(de::Error::custom(format!("`{found}` is too long, expected at most a day")));
    }
    Ok(duration)
}

/// actix counts the time by a clock that goes by half seconds.
fn header_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = timeout(deserializer)?;
    if duration < Duration::from_secs(1) {
        let found = humantime::format_duration(duration);
        return Err(de::Error::custom(format!(
            "`{found}` is too short, expected a second or more"
        )));
    }
    Ok(duration)
}

pub(super) fn longer_than_zero<E: de::Error>(duration: Duration) -> Result<Duration, E> {
    match duration.is_zero() {
        true => Err(E::custom("`0s` is too short, expected a duration longer than zero")),
        false => Ok(duration),
    }
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let Integer(number) = Integer::deserialize(deserializer)?;
    match usize::try_from(number) {
        Ok(number @ 1..) => Ok(number),
        _ => Err(de::Error::custom(format!(
            "{number} is too small, expected an integer of 1 or more"
        ))),
    }
}

fn some_at_least_one<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    at_least_one(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::Config, *};

    fn parse(text: &str) -> Result<Limits, String> {
        let config = Config::parse(text, Path::new("throttle.toml"));
        config.map(|config| config.limits).map_err(|error| error.to_string())
    }

    #[test]
    fn table_that_the_example_leaves_out_shows_the_defaults() {
        let (_, table) = include_str!("../../throttle.toml").split_once("# [limits]\n").unwrap();
        let table = table.split("\n\n").next().unwrap();
        let table: String = table.lines().map(|line| line.replacen("# ", "", 1) + "\n").collect();

        let shown = parse(&format!("[limits]\n{table}")).unwrap();

        assert_eq!(8, table.lines().count());
        let max_expires_in = Some(Duration::from_secs(12 * 60 * 60));
        let max_waiters = Some(30_000);
        assert_eq!(Limits { max_expires_in, max_waiters, ..Limits::default() }, shown);
    }

    #[test]
    fn limits_that_let_nothing_through_are_refused() {
        for (line, expected) in [
            ("max_peers = 0", "line 2, column 13, key `limits.max_peers`: 0 is too small"),
            ("max_waiters = -1", "key `limits.max_waiters`: -1 is too small, expected an integer"),
            ("max_body = \"64k\"", "invalid type: string \"64k\", expected an integer of"),
            ("max_block_for = \"0s\"", "expected a duration longer than zero"),
            ("max_expires_in = 5", "invalid type: integer `5`, expected a duration such as"),
            ("header_timeout = \"soon\"", "key `limits.header_timeout`: "),
            ("header_timeout = \"999ms\"", "`999ms` is too short, expected a second or more"),
            ("header_timeout = \"25h\"", "`1day 1h` is too long, expected at most a day"),
            ("body_timeout = \"18446744073709551615s\"", "too long, expected at most a day"),
            ("max_peer = 1", "did you mean `max_peers`?"),
        ] {
            let complaint = parse(&format!("[limits]\n{line}")).unwrap_err();

            assert!(complaint.contains(expected), "{complaint}");
        }
    }
}
