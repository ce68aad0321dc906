//! Where a server is: taken apart, and spelled without credentials for people.

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use thiserror::Error;
use ureq::http::{Uri, uri::Authority};

/// The URL of a server, such as `http://localhost:8000`. It may have a path, for a server behind a
/// reverse proxy, and `user:password@` for basic authentication (RFC 7617) there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    given: String,
    base: String,
    authorization: Option<String>,
}

/// Why a URL was refused.
#[derive(Debug, Error)]
pub enum BadUrl {
    /// It is none of HTTP.
    #[error("`{0}` is no URL of a server: it must look like http://localhost:8000")]
    NotHttp(String),
    /// It says more than where the server is.
    #[error("`{0}` must not have a query or a fragment")]
    TooMuch(String),
}

impl ServerUrl {
    /// As it was given, with credentials.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// What every path is appended to, and what people are shown: no slash at its end, and no
    /// credentials.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The value of the header `Authorization`, if there are credentials.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

impl FromStr for ServerUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let not_http = || BadUrl::NotHttp(without_credentials(text));
        let uri: Uri = text.parse().map_err(|_| not_http())?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) =
            (uri.scheme_str(), uri.authority())
        else {
            return Err(not_http());
        };
        if uri.query().is_some() || text.contains('#') {
            return Err(BadUrl::TooMuch(without_credentials(text)));
        }
        let (credentials, place) = split(authority);
        // Such as `:` alone, and the beginning of a password with a slash in it.
        let is_port_bad = place != authority.host() && authority.port_u16().is_none();
        if authority.host().is_empty() || is_port_bad {
            return Err(not_http());
        }
        let path = uri.path().trim_end_matches('/');
        let authorization = credentials.map(|credentials| {
            let decoded: Vec<u8> = percent_decode_str(credentials).collect();
            format!("Basic {}", BASE64_STANDARD.encode(decoded))
        });
        let base = format!("{scheme}://{place}{path}");
        Ok(ServerUrl { given: text.to_owned(), base, authorization })
    }
}

/// Credentials, and host and port.
fn split(authority: &Authority) -> (Option<&str>, &str) {
    let text = authority.as_str();
    text.rsplit_once('@').map_or((None, text), |(credentials, place)| (Some(credentials), place))
}

fn without_credentials(text: &str) -> String {
    let (scheme, rest) = match text.find("://") {
        Some(at) => text.split_at(at + "://".len()),
        None => ("", text),
    };
    format!("{scheme}{}", rest.rsplit_once('@').map_or(rest, |(_, place)| place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> String {
        text.parse::<ServerUrl>().unwrap().base
    }

    fn refusal(text: &str) -> String {
        text.parse::<ServerUrl>().unwrap_err().to_string()
    }

    #[test]
    fn slashes_at_the_end_do_not_matter() {
        assert_eq!("http://localhost:8000", base("http://localhost:8000/"));
        assert_eq!("https://example.com/throttle", base("https://example.com/throttle//"));
        assert_eq!("http://[::1]:8000", base("http://[::1]:8000"));
    }

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let url: ServerUrl = "https://me:s%40cret@example.com/throttle".parse().unwrap();

        assert_eq!("https://example.com/throttle", url.base());
        assert_eq!(Some("Basic bWU6c0BjcmV0"), url.authorization());
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused() {
        for text in [
            "localhost:8000",
            "localhost",
            "",
            "ftp://x",
            "http://",
            "/tmp/x",
            "http://a:/",
            "http://a:65536",
        ] {
            assert!(refusal(text).contains("must look like"), "{text}");
        }
        assert!(refusal("http://a/?b=c").contains("query"));
        assert!(!refusal("ftp://me:secret@host").contains("secret"));
        assert!(!refusal("me:secret@host").contains("secret"));
        assert!(!refusal("http://me:pass/word@host").contains("pass"));
    }
}
