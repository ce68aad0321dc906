//! The table `admin`.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Who may use the administrative routes.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Whoever sends it as bearer token. Default: `None`, whoever sends from this machine.
    #[serde(deserialize_with = "token")]
    pub token: Option<Box<str>>,
}

/// The token is nobody's business.
impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Admin").field("token", &token).finish()
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
