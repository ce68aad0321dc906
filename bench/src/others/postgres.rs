//! Advisory locks in PostgreSQL: each client has a connection of its own, and with it a process of
//! the server. They are locks, not semaphores, so that only a max of 1 can be compared.
//!
//! In its favour: nothing waits for a disk, nothing is cleaned up in the background, nobody looks
//! for deadlocks or asks for a password, and queries are simple ones, answered in one piece.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use super::{Running, Setting, in_path, unexpected};
use crate::{
    engine::{Connections, Reply},
    loads::hand_off::{Dialect, Meaning},
    process::{Process, READY_WITHIN, free_address},
    wire::{
        Protocol,
        postgres::{USER, query, row},
    },
};

/// Where Debian and its like put versions beside each other, outside of the path.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The server, if it is installed; `initdb` lies beside it.
pub fn program() -> Option<PathBuf> {
    let of_version = |folder: fs::DirEntry| {
        let version: u32 = folder.file_name().to_str()?.parse().ok()?;
        let program = folder.path().join("bin/postgres");
        program.is_file().then_some((version, program))
    };
    let newest = || {
        let folders = fs::read_dir(VERSIONS).ok()?.filter_map(Result::ok);
        folders.filter_map(of_version).max().map(|(_, program)| program)
    };
    in_path("postgres").or_else(newest)
}

/// Starts a server with a new database, and connects the clients.
///
/// # Errors
/// As [`super::Found::start`].
pub fn start(program: &Path, setting: Setting) -> Result<Running> {
    let folder = TempDir::new()?;
    let data = folder.path().join("data");
    let user = User::to_run_as()?;
    if let Some(User { uid, gid }) = user {
        chown(folder.path(), Some(uid), Some(gid))?;
    }
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(folder.path());
        if let Some(User { uid, gid }) = user {
            command.uid(uid).gid(gid);
        }
        command
    };
    make_database(command(&program.with_file_name("initdb")), &data)?;
    let address = free_address()?;
    let mut server = command(program);
    server.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &address.port().to_string()]);
    for (name, value) in [
        ("max_connections", (setting.clients + 10).to_string().as_str()),
        ("unix_socket_directories", ""),
        // So that all that is left of a server that was killed lies in its folder.
        ("dynamic_shared_memory_type", "mmap"),
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("autovacuum", "off"),
        ("max_wal_senders", "0"),
        // After this wait each client has the server look for a deadlock, at a cost that grows with
        // the square of those who wait. Between two rounds nobody is served, and all of them wait.
        ("deadlock_timeout", "1h"),
        ("jit", "off"),
    ] {
        server.args(["-c", &format!("{name}={value}")]);
    }
    // An immediate shutdown: it ends its children, and removes its shared memory.
    let process = Process::start_ended_by(Signal::QUIT, &mut server, address, setting.placement)?;
    // It listens before it is ready.
    let started_at = Instant::now();
    let mut connections = loop {
        match Connections::open(address, Protocol::Postgres, 1) {
            Err(_) if started_at.elapsed() < READY_WITHIN => sleep(Duration::from_millis(10)),
            other => break other?,
        }
    };
    connections.add(setting.clients - 1)?;
    let dialect = Box::new(Postgres::new(setting));
    Ok(Running { process, connections, dialect, folder })
}

fn make_database(mut command: Command, data: &Path) -> Result<()> {
    command.arg("--pgdata").arg(data).args(["--username", USER, "--auth", "trust"]);
    command.args(["--encoding", "UTF8", "--no-locale", "--no-sync"]).stdin(Stdio::null());
    let output = command.output().context("cannot start initdb")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "initdb failed: {text}");
    Ok(())
}

/// As whom the server runs: it refuses to do so as root.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// `None` is who we are.
    fn to_run_as() -> Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let of_line = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            match fields[..] {
                ["postgres", _, uid, gid, ..] => {
                    Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
                }
                _ => None,
            }
        };
        let user = users.lines().find_map(of_line);
        Ok(Some(user.context("it does not run as root, and there is no user `postgres`")?))
    }
}

/// The clients: each has a lock of its own, or all have the same.
struct Postgres {
    queries: Vec<[Vec<u8>; 2]>,
    is_holding: Vec<bool>,
    locked: Vec<u8>,
    unlocked: Vec<u8>,
}

impl Postgres {
    fn new(setting: Setting) -> Self {
        let queries = |client: usize| {
            let key = if setting.max.is_some() { 0 } else { client };
            [
                query(&format!("SELECT pg_advisory_lock({key})")),
                query(&format!("SELECT pg_advisory_unlock({key})")),
            ]
        };
        Postgres {
            queries: (0..setting.clients).map(queries).collect(),
            is_holding: vec![false; setting.clients],
            locked: row(""),
            unlocked: row("t"),
        }
    }
}

impl Dialect for Postgres {
    fn ask(&mut self, client: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.queries[client][0]);
    }

    fn release(&mut self, client: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.queries[client][1]);
    }

    fn read(&mut self, client: usize, reply: &Reply<'_>) -> Result<Meaning> {
        let is_holding = &mut self.is_holding[client];
        let (expected, state, meaning) = match *is_holding {
            false => (&self.locked, "asks", Meaning::Granted),
            true => (&self.unlocked, "releases", Meaning::Released),
        };
        if reply.body != expected {
            return Err(unexpected(state, reply));
        }
        *is_holding = !*is_holding;
        Ok(meaning)
    }
}
