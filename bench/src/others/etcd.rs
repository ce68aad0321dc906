//! Locks in etcd, through its HTTP gateway, which is where one without a gRPC library goes. They
//! are locks, not semaphores, so that only a max of 1 can be compared.
//!
//! In its favour: its data lie in memory where the system has a folder there, for it writes each
//! change to disk before it answers; it is a cluster of one; and each client has one lease for all
//! of the run, which it need not renew.

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::Result;
use serde::Deserialize;
use tempfile::TempDir;

use super::{Running, Setting, unexpected};
use crate::{
    api::request,
    engine::{Connections, Reply},
    loads::{
        hand_off::{Dialect, Meaning},
        peers,
    },
    process::{Process, free_address},
    wire::Protocol,
};

/// More of them would wait for longer than we measure.
pub const MOST_CLIENTS: usize = 64;

/// A folder in memory.
const IN_MEMORY: &str = "/dev/shm";

/// It reserves 64 MB at once, and grows while it runs: what was is remembered.
const ROOM: u64 = 1 << 30;

/// Seconds for which the locks of a client are good. Longer than any run.
const LEASE_SECONDS: u32 = 24 * 60 * 60;

/// Starts a server, gives each client a lease, and connects them.
///
/// # Errors
/// As [`super::Found::start`].
pub fn start(program: &Path, setting: Setting) -> Result<Running> {
    let folder = folder()?;
    let address = free_address()?;
    // It is alone, so that nobody has to know where it listens for other servers.
    let (for_clients, for_servers) = (format!("http://{address}"), "http://127.0.0.1:0".to_owned());
    let mut server = Command::new(program);
    server.arg("--data-dir").arg(folder.path().join("data"));
    for (flag, url) in [
        ("--listen-client-urls", &for_clients),
        ("--advertise-client-urls", &for_clients),
        ("--listen-peer-urls", &for_servers),
        ("--initial-advertise-peer-urls", &for_servers),
        ("--initial-cluster", &format!("default={for_servers}")),
    ] {
        server.args([flag, url]);
    }
    let process = Process::start(&mut server, address, setting.placement)?;
    let mut connections = Connections::open(address, Protocol::Http, setting.clients)?;
    let mut clients = Vec::new();
    for client in 0..setting.clients {
        // Digits are a name in base 64 as well, if their number is a multiple of four.
        let name = format!("{:08}", if setting.max.is_some() { 0 } else { client });
        let lease = client + 1;
        let grant = format!("{{\"ID\":{lease},\"TTL\":{LEASE_SECONDS}}}");
        peers::once(&mut connections, request(address, "POST", "/v3/lease/grant", Some(&grant)))?;
        let lock = format!("{{\"name\":\"{name}\",\"lease\":{lease}}}");
        let lock = request(address, "POST", "/v3/lock/lock", Some(&lock));
        clients.push(Client { lock, unlock: None });
    }
    Ok(Running { process, connections, dialect: Box::new(Etcd { address, clients }), folder })
}

fn folder() -> Result<TempDir> {
    let room = rustix::fs::statvfs(IN_MEMORY).map_or(0, |folder| folder.f_bavail * folder.f_frsize);
    Ok(if room < ROOM { TempDir::new()? } else { TempDir::new_in(IN_MEMORY)? })
}

struct Client {
    lock: Vec<u8>,
    /// What releases the lock while it is held: only the answer to the lock says how it is named.
    unlock: Option<Vec<u8>>,
}

/// What is read of the answer to a lock.
#[derive(Deserialize)]
struct Locked {
    key: String,
}

struct Etcd {
    address: SocketAddr,
    clients: Vec<Client>,
}

impl Dialect for Etcd {
    fn ask(&mut self, client: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.clients[client].lock);
    }

    fn release(&mut self, client: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(self.clients[client].unlock.as_deref().unwrap_or_default());
    }

    fn read(&mut self, client: usize, reply: &Reply<'_>) -> Result<Meaning> {
        let client = &mut self.clients[client];
        if reply.code != 200 {
            let state = if client.unlock.is_some() { "releases" } else { "asks" };
            return Err(unexpected(state, reply));
        }
        if client.unlock.take().is_some() {
            return Ok(Meaning::Released);
        }
        let Ok(Locked { key }) = serde_json::from_slice(reply.body) else {
            return Err(unexpected("asks", reply));
        };
        let unlock = format!("{{\"key\":\"{key}\"}}");
        client.unlock = Some(request(self.address, "POST", "/v3/lock/unlock", Some(&unlock)));
        Ok(Meaning::Granted)
    }
}
