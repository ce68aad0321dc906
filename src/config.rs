//! The configuration file: TOML to [`Config`]. Unknown keys are refused, and every complaint names
//! the file, the line, the column, the key and what is expected.

mod logging;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;
use toml::Spanned;

pub use self::logging::{Gelf, Logging, Stderr};
use crate::{
    fields::{self, Integer},
    nearest,
    semaphore::SemaphoreConfig,
};

/// What an operator can set; each key has a default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The litter collection wakes at least this often, longer than zero. Default: 5 minutes.
    #[serde(deserialize_with = "duration")]
    pub litter_collection_interval: Duration,
    /// For so long after the start nothing is granted, so that peers of an earlier start can be
    /// restored first. At least `limits.max_expires_in`. Default: `None`, there is no such window.
    #[serde(deserialize_with = "recovery_window")]
    pub recovery_window: Option<Spanned<RecoveryWindow>>,
    /// The semaphores by name. Default: none.
    #[serde(deserialize_with = "semaphores")]
    pub semaphores: BTreeMap<String, SemaphoreConfig>,
    /// What bounds the use of this server.
    #[serde(deserialize_with = "fields::named")]
    pub limits: Limits,
    /// Who may use the administrative routes.
    #[serde(deserialize_with = "fields::named")]
    pub admin: Admin,
    /// What is logged, and where.
    #[serde(deserialize_with = "fields::named")]
    pub logging: Logging,
}

/// How long a recovery window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryWindow {
    /// As long as the longest lease, `limits.max_expires_in`.
    Auto,
    /// So long.
    Lasts(Duration),
}

/// What bounds the use of this server. All are longer or more than zero.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// There are never more peers than this. Default: a million, which take about 100 MB.
    #[serde(deserialize_with = "at_least_one")]
    pub max_peers: usize,
    /// There are never more requests parked than this. Default: 100,000.
    #[serde(deserialize_with = "at_least_one")]
    pub max_waiters: usize,
    /// No request is parked for longer; a longer `block_for` is shortened. Default: an hour.
    #[serde(deserialize_with = "duration")]
    pub max_block_for: Duration,
    /// No lease is longer; a longer `expires_in` is refused. Default: `None`, any length.
    #[serde(deserialize_with = "some_duration")]
    pub max_expires_in: Option<Duration>,
    /// No body of a request is longer, in bytes. Default: 64 KiB.
    #[serde(deserialize_with = "at_least_one")]
    pub max_body: usize,
    /// A new connection must have sent the head of its first request by then. Default: 10 seconds.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// A body must have followed its head by then. Default: 10 seconds.
    #[serde(deserialize_with = "duration")]
    pub body_timeout: Duration,
}

/// Who may use the administrative routes.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Whoever sends it as bearer token. Default: `None`, whoever sends from this machine.
    #[serde(deserialize_with = "token")]
    pub token: Option<Box<str>>,
}

/// Why a configuration file was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something that it must not say.
    #[error("{}, line {line}, column {column}{key}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// The key's full path as `, key …`, or nothing where the TOML itself is broken.
        key: String,
        /// What is wrong, and what is expected.
        reason: String,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Config::parse(&text, path)
    }

    /// Parses the text of a file; `path` is for error messages.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let invalid = |start: Option<usize>, key: String, reason: String| {
            let before = text.get(..start.unwrap_or_default()).unwrap_or(text);
            ConfigError::Invalid {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
                key,
                reason: nearest::suggest(reason),
            }
        };
        let start = |error: &toml::de::Error| error.span().map(|span| span.start);
        let reason = |error: &toml::de::Error| error.message().trim_end().to_owned();
        let document = toml::Deserializer::parse(text)
            .map_err(|error| invalid(start(&error), String::new(), reason(&error)))?;
        let config: Config = serde_path_to_error::deserialize(document).map_err(|error| {
            let key = format!(", key `{}`", error.path());
            invalid(start(error.inner()), key, reason(error.inner()))
        })?;
        config.check_recovery_window().map_err(|(start, reason)| {
            invalid(Some(start), ", key `recovery_window`".to_owned(), reason)
        })?;
        Ok(config)
    }

    /// How long nothing is granted after the start, if there is a recovery window.
    pub fn recovery_window(&self) -> Option<Duration> {
        match self.recovery_window.as_ref()?.get_ref() {
            RecoveryWindow::Auto => self.limits.max_expires_in,
            RecoveryWindow::Lasts(window) => Some(*window),
        }
    }

    /// Refuses a window that would promise what it cannot keep, with its place in the text and the
    /// reason.
    fn check_recovery_window(&self) -> Result<(), (usize, String)> {
        let Some(window) = &self.recovery_window else { return Ok(()) };
        let reason = match (self.limits.max_expires_in, window.get_ref()) {
            (None, _) => "a recovery window needs `limits.max_expires_in`: only where leases are \
                          bounded is it known when those from before the restart have ended"
                .to_owned(),
            (Some(max), RecoveryWindow::Lasts(window)) if *window < max => format!(
                "a recovery window of {window:?} is shorter than `limits.max_expires_in`, {max:?}: \
                 a lease from before the restart could outlast it, expected at least that or \
                 `auto`"
            ),
            _ => return Ok(()),
        };
        Err((window.span().start, reason))
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            litter_collection_interval: Duration::from_secs(5 * 60),
            recovery_window: None,
            semaphores: BTreeMap::new(),
            limits: Limits::default(),
            admin: Admin::default(),
            logging: Logging::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_peers: 1_000_000,
            max_waiters: 100_000,
            max_block_for: Duration::from_secs(60 * 60),
            max_expires_in: None,
            max_body: 64 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
        }
    }
}

/// The token is nobody's business.
impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Admin").field("token", &token).finish()
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration: Duration = humantime_serde::deserialize(deserializer)
        .map_err(|error: D::Error| error.to_string())
        .map_err(|reason| de::Error::custom(format!("{} such as `5min`", reason.trim_end())))?;
    longer_than_zero(duration)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn longer_than_zero<E: de::Error>(duration: Duration) -> Result<Duration, E> {
    match duration.is_zero() {
        true => Err(E::custom("`0s` is too short, expected a duration longer than zero")),
        false => Ok(duration),
    }
}

fn recovery_window<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Spanned<RecoveryWindow>>, D::Error> {
    Spanned::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for RecoveryWindow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = RecoveryWindow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as `5min`, or `auto`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RecoveryWindow, E> {
                if text == "auto" {
                    return Ok(RecoveryWindow::Auto);
                }
                let duration = humantime::parse_duration(text)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))?;
                longer_than_zero(duration).map(RecoveryWindow::Lasts)
            }
        }

        deserializer.deserialize_str(Visitor)
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

/// What can be sent in a header as it is.
fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<str>>, D::Error> {
    let token = String::deserialize(deserializer)?;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        // Not the token itself: the complaint may end up in a log.
        return Err(de::Error::custom(
            "the token is empty, or has blanks or letters beyond ASCII, expected letters, digits \
             and signs of ASCII",
        ));
    }
    Ok(Some(token.into()))
}

fn semaphores<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, SemaphoreConfig>, D::Error> {
    let semaphores = BTreeMap::<String, Semaphore>::deserialize(deserializer)?;
    if semaphores.contains_key("") {
        return Err(de::Error::custom("a semaphore's name is empty, expected at least one letter"));
    }
    Ok(semaphores.into_iter().map(|(name, Semaphore(config))| (name, config)).collect())
}

/// A semaphore in short form (`A = 42`) or in long form (`A = { max = 42, level = 1 }`).
struct Semaphore(SemaphoreConfig);

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Semaphore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a max such as `42`, or a table such as `{ max = 42, level = 1 }`")
            }

            fn visit_i64<E: de::Error>(self, max: i64) -> Result<Semaphore, E> {
                Ok(Semaphore(SemaphoreConfig::new(checked_max(max)?)))
            }

            fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<Semaphore, M::Error> {
                let long = Long::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Semaphore(SemaphoreConfig { max: long.max, level: long.level }))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    #[serde(deserialize_with = "max")]
    max: i64,
    #[serde(default, deserialize_with = "level")]
    level: i32,
}

fn max<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let Integer(max) = Integer::deserialize(deserializer)?;
    checked_max(max)
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let Integer(level) = Integer::deserialize(deserializer)?;
    i32::try_from(level).map_err(|_| {
        let range = format!("{} to {}", i32::MIN, i32::MAX);
        de::Error::custom(format!("level {level} is out of range, expected {range}"))
    })
}

fn checked_max<E: de::Error>(max: i64) -> Result<i64, E> {
    if max < 0 {
        return Err(E::custom(format!("max {max} is negative, expected an integer of 0 or more")));
    }
    Ok(max)
}

#[cfg(test)]
mod tests {
    use log::LevelFilter;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("throttle.toml")).map_err(|error| error.to_string())
    }

    fn complaint(text: &str) -> String {
        parse(text).unwrap_err()
    }

    #[test]
    fn empty_file_is_the_default() {
        assert_eq!(Ok(Config::default()), parse(""));
    }

    #[test]
    fn all_keys_are_read() {
        let config = parse(
            "litter_collection_interval = \"1m 30s\"\n\
             [semaphores]\nA = 42\nB = { max = 1, level = -2 }\n\"odd name/ä\" = 0\n\
             [semaphores.C]\nmax = 9223372036854775807\n\
             [logging.stderr]\nlevel = \"debug\"\n\
             [logging.gelf]\nname = \"berlin\"\nhost = \"::1\"\nport = 1\nlevel = \"trace\"\n",
        )
        .unwrap();

        assert_eq!(Duration::from_secs(90), config.litter_collection_interval);
        assert_eq!(LevelFilter::Debug, config.logging.stderr.level);
        let gelf = Gelf {
            name: "berlin".to_owned(),
            host: "::1".to_owned(),
            port: 1,
            level: LevelFilter::Trace,
        };
        assert_eq!(Some(gelf), config.logging.gelf);
        let expected = [("A", 42, 0), ("B", 1, -2), ("C", i64::MAX, 0), ("odd name/ä", 0, 0)];
        let expected: BTreeMap<_, _> = expected
            .map(|(name, max, level)| (name.to_owned(), SemaphoreConfig { max, level }))
            .into();
        assert_eq!(expected, config.semaphores);
    }

    #[test]
    fn complaints_name_file_line_column_key_and_what_is_expected() {
        for (text, expected) in [
            (
                "litter_collection_interval = \"5 parsecs\"",
                "throttle.toml, line 1, column 30, key `litter_collection_interval`: invalid \
                 value: string \"5 parsecs\", expected a duration such as `5min`",
            ),
            (
                "litter_collection_interval = 5",
                "throttle.toml, line 1, column 30, key `litter_collection_interval`: invalid \
                 type: integer `5`, expected a duration such as `5min`",
            ),
            (
                "litter_collection_interval = \"0s\"",
                "throttle.toml, line 1, column 30, key `litter_collection_interval`: `0s` is too \
                 short, expected a duration longer than zero",
            ),
            (
                "[semaphores]\nA = \"x\"",
                "throttle.toml, line 2, column 5, key `semaphores.A`: invalid type: string \
                 \"x\", expected a max such as `42`, or a table such as `{ max = 42, level = 1 }`",
            ),
            (
                "[semaphores]\nA = -1",
                "throttle.toml, line 2, column 5, key `semaphores.A`: max -1 is negative, \
                 expected an integer of 0 or more",
            ),
            (
                "[semaphores]\nA = { max = -1 }",
                "throttle.toml, line 2, column 13, key `semaphores.A.max`: max -1 is negative, \
                 expected an integer of 0 or more",
            ),
            (
                "[semaphores]\n\"ä\" = { max = 1, level = 3000000000 }",
                "throttle.toml, line 2, column 26, key `semaphores.ä.level`: level 3000000000 is \
                 out of range, expected -2147483648 to 2147483647",
            ),
            (
                "[semaphores]\nA = { level = 1 }",
                "throttle.toml, line 2, column 5, key `semaphores.A`: missing field `max`",
            ),
            (
                "[semaphores]\n\"\" = 1",
                "throttle.toml, line 1, column 1, key `semaphores`: a semaphore's name is empty, \
                 expected at least one letter",
            ),
            ("[semaphores]\nA = 1\nA = 2", "throttle.toml, line 3, column 1: duplicate key"),
            (
                "[semaphores\nA = 1",
                "throttle.toml, line 1, column 12: unclosed table, expected `]`",
            ),
        ] {
            assert_eq!(expected, complaint(text));
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_known_one() {
        for (text, key, suggestion) in [
            (
                "litter_colection_interval = \"5m\"",
                "litter_colection_interval",
                "litter_collection_interval",
            ),
            ("[semaphores.A]\nmx = 1", "semaphores.A.mx", "max"),
            ("[logging.sterr]\nlevel = \"WARN\"", "logging.sterr", "stderr"),
            ("[logging.stderr]\nlevel = \"WRAN\"", "logging.stderr.level", "WARN"),
            ("[logging.glef]\nhost = \"localhost\"", "logging.glef", "gelf"),
            ("[logging.gelf]\nhots = \"localhost\"", "logging.gelf.hots", "host"),
            ("[logging.gelf]\nlevel = \"debgu\"", "logging.gelf.level", "DEBUG"),
        ] {
            let complaint = complaint(text);

            assert!(complaint.contains(&format!("key `{key}`")), "{complaint}");
            assert!(complaint.ends_with(&format!("; did you mean `{suggestion}`?")), "{complaint}");
        }
    }

    #[test]
    fn missing_file_is_named() {
        let error = Config::read(Path::new("no/such.toml")).unwrap_err();

        assert_eq!("cannot read the configuration `no/such.toml`", error.to_string());
    }
}
