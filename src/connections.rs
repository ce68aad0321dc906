//! What the operating system is asked for connections: where to listen, as many as it allows, and
//! none with a client that takes nothing any more.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
};

use actix_web::rt::net::TcpStream;
use socket2::{Domain, Socket, Type};

/// So many connections may wait to be accepted.
const BACKLOG: i32 = 2_048;

/// No worker has more connections than this; their buffers alone take some 10 kB each.
const MOST: usize = 25_600;

/// Files that are open for something else than a connection, or may be.
pub const OTHER_FILES: usize = 32;

/// Raises the soft limit of open files to the hard one, for each connection takes one, and returns
/// how many may be open. Where raising fails, the server runs with what it has.
#[cfg(unix)]
pub fn raise_limit() -> usize {
    let raised = rlimit::increase_nofile_limit(u64::MAX).or_else(|error| {
        log::warn!("cannot raise the limit of open files: {error}");
        rlimit::getrlimit(rlimit::Resource::NOFILE).map(|(soft, _)| soft)
    });
    let limit = raised.unwrap_or(u64::MAX);
    log::debug!(limit; "up to {limit} open files");
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// There is no such limit here.
#[cfg(not(unix))]
pub fn raise_limit() -> usize {
    usize::MAX
}

/// How many connections each worker may have, where so many files may be open. Further ones wait to
/// be accepted.
pub fn for_each_worker(files: usize, workers: usize) -> usize {
    (files.saturating_sub(OTHER_FILES) / workers).clamp(1, MOST)
}

/// How many of all connections may wait for locks. The others are left to those who give them back.
pub fn that_may_wait(for_each_worker: usize, workers: usize) -> usize {
    (for_each_worker * workers / 4 * 3).max(1)
}

/// Has what is written sent at once. The last piece of a large answer would wait until the client
/// acknowledges the one before, which many systems put off for 40 ms.
pub fn send_at_once(stream: &TcpStream) {
    // Without it the connection serves as well.
    let _ = stream.set_nodelay(true);
}

/// Has the operating system break off a connection whose client takes nothing of an answer for half
/// a minute, or has vanished, which it finds out within a minute and a half. Otherwise answers
/// would be kept in memory for ever, and requests stay parked for nobody.
#[cfg(target_os = "linux")]
pub fn limit_silence(stream: &TcpStream) {
    use socket2::{SockRef, TcpKeepalive};
    use std::time::Duration;

    const SILENCE: Duration = Duration::from_secs(30);
    let probes =
        TcpKeepalive::new().with_time(2 * SILENCE).with_interval(SILENCE / 3).with_retries(3);
    let socket = SockRef::from(stream);
    // Without them the connection serves as well.
    let _ = socket.set_tcp_user_timeout(Some(SILENCE));
    let _ = socket.set_tcp_keepalive(&probes);
}

/// Only Linux has this option.
#[cfg(not(target_os = "linux"))]
pub fn limit_silence(_: &TcpStream) {}

/// Sockets that listen at all addresses of a name, at the same port.
///
/// # Errors
/// If the name has none, or one of them is taken: two servers behind one name would grant twice.
pub fn listeners(name: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for address in addresses(name, port)? {
        // Port 0 picks a free one, the same for all addresses.
        let port = match listeners.first() {
            Some(first) => first.local_addr()?.port(),
            None => port,
        };
        listeners.push(listen(SocketAddr::new(address.ip(), port))?);
    }
    Ok(listeners)
}

/// A name may resolve to an address that this machine does not have, such as `::1` where there is
/// no IPv6; it is left out where there is another.
fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let all: Vec<_> = (name.trim_matches(['[', ']']), port).to_socket_addrs()?.collect();
    let is_ours = |address: &&SocketAddr| TcpListener::bind((address.ip(), 0)).is_ok();
    let ours: Vec<_> = all.iter().filter(is_ours).copied().collect();
    Ok(if ours.is_empty() { all } else { ours })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Otherwise a server that was ended a moment ago would keep the address. On Windows this would
    // mean something else.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
