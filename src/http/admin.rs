//! Who may use the administrative routes: whoever knows the token of the configuration; where none
//! is configured, whoever sits at this machine, but no web page that his browser shows.

use actix_web::{
    dev::ServiceRequest,
    http::{Uri, header},
};
use subtle::ConstantTimeEq;

use super::error::Refusal;

/// The scheme of RFC 6750; its name may come in any case.
const SCHEME: &str = "bearer ";

/// What a reverse proxy adds. Behind one, everybody seems to sit at this machine.
const PROXIED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Lets an administrative request through. `token` is that of the configuration.
///
/// # Errors
/// [`Refusal::Unauthorized`] where a token is configured, [`Refusal::Forbidden`] where none is.
pub fn check(token: &Option<Box<str>>, request: &ServiceRequest) -> Result<(), Refusal> {
    match token {
        Some(token) if has_token(request, token) => Ok(()),
        Some(_) => Err(Refusal::Unauthorized),
        None => check_is_local(request),
    }
}

/// Compares in a time that does not tell how much of the token is right.
fn has_token(request: &ServiceRequest, token: &str) -> bool {
    let Some(credentials) = request.headers().get(header::AUTHORIZATION) else { return false };
    let credentials = credentials.as_bytes();
    credentials.split_at_checked(SCHEME.len()).is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case(SCHEME.as_bytes())
            && bool::from(given.trim_ascii().ct_eq(token.as_bytes()))
    })
}

/// A browser that shows a page of another site names that site as `Origin`, and as `Host` where the
/// name of that site was made to resolve to this machine.
fn check_is_local(request: &ServiceRequest) -> Result<(), Refusal> {
    let forbidden = |reason| Err(Refusal::Forbidden { reason });
    if !request.peer_addr().is_some_and(|address| address.ip().to_canonical().is_loopback()) {
        return forbidden("the request comes from another machine");
    }
    let headers = request.headers();
    if PROXIED.iter().any(|name| headers.contains_key(*name)) {
        return forbidden("the request comes through a proxy");
    }
    let is_local = |value: &header::HeaderValue| value.to_str().is_ok_and(is_local_authority);
    if !headers.get_all(header::HOST).all(is_local)
        || request.uri().host().is_some_and(|host| !is_local_authority(host))
    {
        return forbidden("the header `Host` names another machine");
    }
    // The whole of it must be ours, the port included: other pages of this machine are others'.
    let ours = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_ours = |origin: &header::HeaderValue| {
        origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://") == Some(ours))
    };
    if !headers.get_all(header::ORIGIN).all(is_ours) {
        return forbidden("the header `Origin` names another site");
    }
    Ok(())
}

/// Whether `localhost:8000`, `127.0.0.1`, `[::1]:8000` or the like.
fn is_local_authority(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    uri.authority().is_some_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_hosts_are_told_from_others() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.1.2.3:80", "[::1]:8000"] {
            assert!(is_local_authority(host), "{host}");
        }
        for host in
            ["", "example.com", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "/x"]
        {
            assert!(!is_local_authority(host), "{host}");
        }
    }
}
