//! The tables of the configuration that begin with `logging`.

use log::LevelFilter;
use serde::{Deserialize, Deserializer, de};

use crate::fields::{self, Integer};

/// Where log lines go.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// Lines on standard error.
    #[serde(deserialize_with = "fields::named")]
    pub stderr: Stderr,
    /// Messages for Graylog, beside standard error. Default: none.
    #[serde(deserialize_with = "gelf")]
    pub gelf: Option<Gelf>,
}

/// Logging to standard error.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stderr {
    /// The least severe level that is logged; the variable `THROTTLE_LOG` goes before it. Default:
    /// `WARN`.
    pub level: LevelFilter,
}

/// Logging to Graylog, or whoever else takes GELF over UDP.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gelf {
    /// What this server calls itself there; it becomes the field `host`. Default: `throttle`.
    #[serde(default = "default_gelf_name", deserialize_with = "gelf_name")]
    pub name: String,
    /// Where messages are sent: a name that resolves to addresses, or an IP address.
    #[serde(deserialize_with = "gelf_host")]
    pub host: String,
    /// The UDP port there, from 1. Default: 12201.
    #[serde(default = "default_gelf_port", deserialize_with = "port")]
    pub port: u16,
    /// The least severe level that is sent. Default: `WARN`.
    #[serde(default = "default_level")]
    pub level: LevelFilter,
}

impl Default for Stderr {
    fn default() -> Self {
        Stderr { level: default_level() }
    }
}

fn default_level() -> LevelFilter {
    LevelFilter::Warn
}

fn default_gelf_name() -> String {
    "throttle".to_owned()
}

fn default_gelf_port() -> u16 {
    12201
}

fn gelf<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Gelf>, D::Error> {
    fields::named(deserializer).map(Some)
}

fn gelf_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    not_blank(deserializer, "a name such as `throttle`")
}

fn gelf_host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    not_blank(deserializer, "a name such as `graylog.example.com`, or an IP address")
}

fn not_blank<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &str,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() {
        return Err(de::Error::custom(format!("\"{text}\" is blank, expected {expected}")));
    }
    Ok(text)
}

fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let Integer(port) = Integer::deserialize(deserializer)?;
    u16::try_from(port).ok().filter(|port| *port > 0).ok_or_else(|| {
        de::Error::custom(format!("port {port} is out of range, expected 1 to {}", u16::MAX))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{super::Config, *};

    fn parse(text: &str) -> Result<Logging, String> {
        let config = Config::parse(text, Path::new("throttle.toml"));
        config.map(|config| config.logging).map_err(|error| error.to_string())
    }

    #[test]
    fn levels_are_understood_in_any_case() {
        for text in ["ERROR", "Warn", "info", "debug", "TRACE", "off"] {
            let logging = parse(&format!("[logging.stderr]\nlevel = \"{text}\"")).unwrap();

            assert_eq!(text.parse(), Ok(logging.stderr.level));

            let gelf = format!("[logging.gelf]\nhost = \"localhost\"\nlevel = \"{text}\"");
            let gelf = parse(&gelf).unwrap().gelf.unwrap();

            assert_eq!(text.parse(), Ok(gelf.level));
        }
    }

    #[test]
    fn table_that_the_example_leaves_out_shows_the_defaults() {
        let example = include_str!("../../throttle.toml");
        let (_, table) = example.split_once("# [logging.gelf]\n").unwrap();
        let table: String = table.lines().map(|line| line.replacen("# ", "", 1) + "\n").collect();

        let shown = parse(&format!("[logging.gelf]\n{table}")).unwrap();

        let host = "[logging.gelf]\nhost = \"graylog.example.com\"";
        assert_eq!(4, table.lines().count());
        assert_eq!(parse(host), Ok(shown));
        assert_eq!(None, parse(example).unwrap().gelf);
    }

    #[test]
    fn host_of_graylog_is_enough() {
        let logging = parse("[logging.gelf]\nhost = \"localhost\"").unwrap();

        let expected = Gelf {
            name: "throttle".to_owned(),
            host: "localhost".to_owned(),
            port: 12201,
            level: LevelFilter::Warn,
        };
        assert_eq!(Some(expected), logging.gelf);
        assert_eq!(Stderr::default(), logging.stderr);
    }

    #[test]
    fn complaints_of_graylog_name_all_that_too() {
        for (text, key, expected) in [
            (
                "gelf = 12201",
                "8, key `",
                "invalid type: integer `12201`, expected names with values",
            ),
            ("gelf = {}", "8, key `", "missing field `host`"),
            (
                "gelf.host = \"\"",
                "13, key `.host",
                "\"\" is blank, expected a name such as `graylog.example.com`, or an IP address",
            ),
            ("gelf.host = 5", "13, key `.host", "invalid type: integer `5`, expected a string"),
            (
                "gelf.name = \" \"",
                "13, key `.name",
                "\" \" is blank, expected a name such as `throttle`",
            ),
            ("gelf.port = 0", "13, key `.port", "port 0 is out of range, expected 1 to 65535"),
            ("gelf.port = -1", "13, key `.port", "port -1 is out of range, expected 1 to 65535"),
            (
                "gelf.port = 65536",
                "13, key `.port",
                "port 65536 is out of range, expected 1 to 65535",
            ),
            (
                "gelf.port = \"1\"",
                "13, key `.port",
                "invalid type: string \"1\", expected an integer of at most 9223372036854775807",
            ),
        ] {
            let (column, key) = key.split_once(", key `").unwrap();
            let place = format!("line 2, column {column}, key `logging.gelf{key}`");

            let expected = format!("throttle.toml, {place}: {expected}");
            assert_eq!(Err(expected), parse(&format!("[logging]\n{text}")));
        }
    }
}
