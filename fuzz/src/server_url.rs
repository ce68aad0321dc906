//! The URL of a server, as whoever calls a subcommand names it.
//!
//! The bytes are its text.

use std::str;

use throttle::client::ServerUrl;
use ureq::http::Uri;

/// Refuses it without telling credentials, or takes it apart so that a path can be appended.
pub fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let given: Uri = match text.parse::<ServerUrl>() {
        Ok(url) => {
            assert_eq!(text, url.given());
            check_base(url.base());
            text.parse().unwrap()
        }
        Err(refusal) => return check_refusal(text, &refusal.to_string()),
    };
    let base = text.parse::<ServerUrl>().unwrap().base().to_owned();
    let asked: Uri = format!("{base}/peers/1/A?block_for=1s").parse().unwrap();
    assert_eq!(
        (given.scheme(), given.host(), given.port_u16()),
        (asked.scheme(), asked.host(), asked.port_u16()),
        "{base}"
    );
}

/// It is what people are shown, so it means the same to whoever copies it.
fn check_base(base: &str) {
    let again: ServerUrl = base.parse().unwrap();
    assert_eq!((base, None), (again.base(), again.authorization()));
    assert!(!base.ends_with('/') && !base.contains(['?', '#']), "{base}");
    let place = base.split('/').nth(2).unwrap();
    assert!(!place.contains('@'), "{base}");
}

/// What stands before an `@` may be a password.
fn check_refusal(text: &str, refusal: &str) {
    let (scheme, place) = text.split_once("://").unwrap_or(("", text));
    if let Some((credentials, place)) = place.rsplit_once('@')
        && credentials.len() > 3
        && !format!("{scheme}://{place}").contains(credentials)
    {
        let shown = refusal.split('`').nth(1).unwrap_or_default();
        assert!(!shown.contains(credentials), "{refusal}");
    }
}
