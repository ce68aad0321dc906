//! How long nothing is granted after a start.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::limits::longer_than_zero;

/// How long a recovery window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryWindow {
    /// As long as the longest lease, `limits.max_expires_in`.
    Auto,
    /// So long.
    Lasts(Duration),
}

/// Keeps the place in the file, for complaints that need the other keys as well.
pub(super) fn recovery_window<'de, D: Deserializer<'de>>(
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
