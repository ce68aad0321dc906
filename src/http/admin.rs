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

/// What reverse proxies add, or the beginning of it. Behind one, everybody seems to sit at this
/// machine.
const PROXIED: [&str; 5] = ["forwarded", "via", "x-forwarded-", "x-real-ip", "cf-connecting-"];

/// Lets an administrative request through, and returns who sent it, for the log. `token` is that of
/// the configuration.
///
/// # Errors
/// [`Refusal::Unauthorized`] where a token is configured, [`Refusal::Forbidden`] where none is.
pub fn check(token: &Option<Box<str>>, request: &ServiceRequest) -> Result<String, Refusal> {
    match token {
        Some(token) if has_token(request, token) => {}
        Some(_) => return Err(Refusal::Unauthorized),
        None => check_is_local(request)?,
    }
    let address = request.peer_addr().map(|address| address.ip().to_canonical().to_string());
    Ok(address.unwrap_or_else(|| "an unknown address".to_owned()))
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
    let is_proxied = |name: &str| PROXIED.iter().any(|proxied| name.starts_with(proxied));
    if headers.keys().any(|name| is_proxied(name.as_str())) {
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
        let host = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        host.is_some_and(|host| host == ours && !host.is_empty())
    };
    // Browsers of today say it of each request, those included that have no `Origin`.
    let is_same = |site: &header::HeaderValue| site == "same-origin" || site == "none";
    if !headers.get_all(header::ORIGIN).all(is_ours)
        || !headers.get_all("sec-fetch-site").all(is_same)
    {
        return forbidden("the request comes from a page of another site");
    }
    Ok(())
}

/// Whether `localhost:8000`, `127.0.0.1`, `[::1]:8000` or the like.
fn is_local_authority(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    uri.authority().is_some_and(|authority| {
        // Whatever stands before an `@` would be a user's name, which no browser sends.
        let host = match authority.as_str().contains('@') {
            true => "",
            false => authority.host().trim_matches(['[', ']']),
        };
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn check_from(peer: &str, uri: &str, headers: &[(&str, &str)]) -> Result<String, Refusal> {
        let mut request = TestRequest::with_uri(uri).peer_addr(peer.parse().unwrap());
        for header in headers {
            request = request.append_header(*header);
        }
        check(&None, &request.to_srv_request())
    }

    #[test]
    fn requests_of_this_machine_alone_get_through() {
        let host = [("Host", "localhost:8000")];
        for peer in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(check_from(peer, "/", &host).is_ok(), "{peer}");
        }
        for peer in ["10.0.0.1:1", "[::ffff:10.0.0.1]:1", "[fe80::1]:1", "192.168.0.1:1"] {
            assert!(check_from(peer, "/", &host).is_err(), "{peer}");
        }
    }

    #[test]
    fn host_is_looked_at_wherever_it_stands() {
        let local = "127.0.0.1:1";

        assert!(check_from(local, "/", &[]).is_ok(), "HTTP/1.0 has none");
        assert!(check_from(local, "http://localhost:8000/", &[]).is_ok());
        assert!(check_from(local, "http://example.com/", &[("Host", "localhost")]).is_err());
        assert!(check_from(local, "/", &[("Host", "localhost"), ("Host", "b.com")]).is_err());
        assert!(check_from(local, "/", &[("Origin", "http://")]).is_err());
    }

    #[test]
    fn local_hosts_are_told_from_others() {
        for host in ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.1.2.3:80", "[::1]:8000"] {
            assert!(is_local_authority(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "10.0.0.1",
            "/x",
            "example.com@localhost",
        ] {
            assert!(!is_local_authority(host), "{host}");
        }
    }
}
