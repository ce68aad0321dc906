//! The configuration file: TOML to [`Config`]. Unknown keys are refused, and every complaint names
//! the file, the line, the column, the key and what is expected.

mod admin;
mod limits;
mod logging;
mod recovery_window;
mod semaphores;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

pub use self::{
    admin::Admin,
    limits::Limits,
    logging::{Gelf, Logging, Stderr},
    recovery_window::RecoveryWindow,
};
use crate::{fields, nearest, semaphore::Catalogue};

/// What an operator can set; each key has a default.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The litter collection wakes at least this often, longer than zero. Default: 5 minutes.
    #[serde(deserialize_with = "limits::duration")]
    pub litter_collection_interval: Duration,
    /// For so long after the start nothing is granted, so that peers of an earlier start can be
    /// restored first. At least `limits.max_expires_in`. Default: `None`, there is no such window.
    #[serde(deserialize_with = "recovery_window::recovery_window")]
    pub recovery_window: Option<Spanned<RecoveryWindow>>,
    /// The semaphores by name, and templates of others. Default: none.
    #[serde(deserialize_with = "semaphores::semaphores")]
    pub semaphores: Catalogue,
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
            let path = error.path().to_string();
            // A value that keeps its place in the text lies below a key that only serde knows.
            let path = path.split(".$__").next().unwrap_or_default();
            let key = format!(", key `{path}`");
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

    /// The tables and keys in which another configuration differs, and which are read at the start
    /// alone.
    pub fn what_needs_restart(&self, other: &Config) -> Vec<&'static str> {
        let Config { litter_collection_interval, limits, admin, logging, .. } = self;
        [
            (
                "litter_collection_interval",
                *litter_collection_interval != other.litter_collection_interval,
            ),
            ("recovery_window", self.recovery_window() != other.recovery_window()),
            ("limits", *limits != other.limits),
            ("admin", *admin != other.admin),
            ("logging", *logging != other.logging),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
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
            semaphores: Catalogue::default(),
            limits: Limits::default(),
            admin: Admin::default(),
            logging: Logging::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use log::LevelFilter;

    use super::*;
    use crate::semaphore::{SemaphoreConfig, Template};

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
        let expected = expected.map(|(name, max, level)| (name, SemaphoreConfig { max, level }));
        assert_eq!(Catalogue::from(expected), config.semaphores);
    }

    #[test]
    fn templates_stand_among_the_semaphores() {
        let config = parse(
            "[semaphores]\nA = 1\n[semaphores.templates]\n\"tenant-*\" = 3\n\
             \"*/db\" = { max = 2, level = 1 }\n",
        )
        .unwrap();

        let template =
            |pattern, max, level| Template::new(pattern, SemaphoreConfig { max, level }).unwrap();
        let templates = vec![template("*/db", 2, 1), template("tenant-*", 3, 0)];
        let semaphores = Catalogue::from([("A", SemaphoreConfig::new(1))]);
        assert_eq!(Catalogue { templates, ..semaphores }, config.semaphores);
        let semaphore = Catalogue::from([("templates", SemaphoreConfig::new(3))]);
        assert_eq!(semaphore, parse("[semaphores]\ntemplates = 3").unwrap().semaphores);
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
            (
                "[semaphores.templates]\n\"tenant-\" = 1",
                "throttle.toml, line 1, column 1, key `semaphores.templates`: pattern `tenant-` \
                 of a template, expected exactly one `*` in it, such as `tenant-*`",
            ),
            (
                "[semaphores.templates]\n\"t*\" = { max = -1 }",
                "throttle.toml, line 2, column 16, key `semaphores.templates.t*.max`: max -1 is \
                 negative, expected an integer of 0 or more",
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
