//! What the operating system is asked for connections: as many as it allows, and none with a client
//! that takes nothing any more.

use std::any::Any;

/// Raises the soft limit of open files to the hard one: each connection takes one. Where that
/// fails, the server runs with what it has: out of files, it accepts no new connection until one is
/// closed.
#[cfg(unix)]
pub fn raise_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => log::debug!(limit; "up to {limit} open files"),
        Err(error) => log::warn!("cannot raise the limit of open files: {error}"),
    }
}

/// There is no such limit here.
#[cfg(not(unix))]
pub fn raise_limit() {}

/// Has the operating system break off a connection whose client takes nothing of an answer for half
/// a minute, or has vanished, which it finds out within a minute and a half. Otherwise answers
/// would be kept in memory for ever, and requests stay parked for nobody.
#[cfg(target_os = "linux")]
pub fn limit_silence(connection: &dyn Any) {
    use socket2::{SockRef, TcpKeepalive};
    use std::time::Duration;

    const SILENCE: Duration = Duration::from_secs(30);
    let probes =
        TcpKeepalive::new().with_time(2 * SILENCE).with_interval(SILENCE / 3).with_retries(3);
    if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
        let socket = SockRef::from(stream);
        // Without them the connection serves as well.
        let _ = socket.set_tcp_user_timeout(Some(SILENCE));
        let _ = socket.set_tcp_keepalive(&probes);
    }
}

/// Only Linux has this option.
#[cfg(not(target_os = "linux"))]
pub fn limit_silence(_: &dyn Any) {}
