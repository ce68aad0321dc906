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
/// a minute, or has vanished. Otherwise its answers would be kept in memory for ever.
#[cfg(target_os = "linux")]
pub fn limit_silence(connection: &dyn Any) {
    const SILENCE: std::time::Duration = std::time::Duration::from_secs(30);
    if let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
        // Without it the connection serves as well.
        let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(SILENCE));
    }
}

/// Only Linux has this option.
#[cfg(not(target_os = "linux"))]
pub fn limit_silence(_: &dyn Any) {}
