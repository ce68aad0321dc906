//! The requests of Throttle's HTTP interface, as bytes.

use std::net::SocketAddr;

/// A request as it is sent.
pub fn request(address: SocketAddr, method: &str, target: &str, body: Option<&str>) -> Vec<u8> {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n");
    match body {
        None => format!("{head}\r\n"),
        Some(body) => format!(
            "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    }
    .into_bytes()
}

/// `POST /new_peer` with a lease of so many milliseconds.
pub fn new_peer(address: SocketAddr, lease_ms: u64) -> Vec<u8> {
    let body = format!("{{\"expires_in\":\"{lease_ms}ms\"}}");
    request(address, "POST", "/new_peer", Some(&body))
}

/// A request whose target names a peer: kept in two halves, so that only the id is written anew.
#[derive(Clone, Debug)]
pub struct PeerRequest {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl PeerRequest {
    /// Asks for one permit. With `block_for`, the request may be parked for so long.
    pub fn acquire(address: SocketAddr, semaphore: &str, block_for: Option<&str>) -> Self {
        let query = block_for.map_or_else(String::new, |time| format!("?block_for={time}"));
        Self::of(address, "PUT", &format!("/{semaphore}{query}"), Some("1"))
    }

    /// Gives it back, or cancels the ask.
    pub fn release(address: SocketAddr, semaphore: &str) -> Self {
        Self::of(address, "DELETE", &format!("/{semaphore}"), None)
    }

    /// Renews the lease for a day: longer than it was made for, as heartbeats do.
    pub fn heartbeat(address: SocketAddr) -> Self {
        Self::of(address, "PUT", "", Some("{\"expires_in\":\"24h\"}"))
    }

    /// Releases the peer and all its locks.
    pub fn remove(address: SocketAddr) -> Self {
        Self::of(address, "DELETE", "", None)
    }

    fn of(address: SocketAddr, method: &str, rest: &str, body: Option<&str>) -> Self {
        let whole = request(address, method, &format!("/peers/{rest}"), body);
        let at = format!("{method} /peers/").len();
        PeerRequest { before: whole[..at].to_vec(), after: whole[at..].to_vec() }
    }

    /// Appends the request for this peer.
    pub fn write(&self, id: u64, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.before);
        let mut digits = [0; 20];
        let (mut start, mut rest) = (digits.len(), id);
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        request.extend_from_slice(&digits[start..]);
        request.extend_from_slice(&self.after);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn requests_name_their_peer() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8000));
        let mut bytes = Vec::new();

        PeerRequest::acquire(address, "A", Some("10s")).write(u64::MAX, &mut bytes);

        let expected = "PUT /peers/18446744073709551615/A?block_for=10s HTTP/1.1\r\n\
                        Host: 127.0.0.1:8000\r\n\
                        Content-Type: application/json\r\nContent-Length: 1\r\n\r\n1";
        assert_eq!(expected, String::from_utf8(bytes).unwrap());
    }
}
