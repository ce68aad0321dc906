//! Lets the process have as many open files as the system allows: each connection takes one.

/// Raises the soft limit of open files to the hard one. Where that fails, the server runs with
/// what it has: out of files, it accepts no new connection until one is closed.
#[cfg(unix)]
pub fn raise_limit() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => log::debug!("up to {limit} open files"),
        Err(error) => log::warn!("cannot raise the limit of open files: {error}"),
    }
}

/// There is no such limit here.
#[cfg(not(unix))]
pub fn raise_limit() {}
