//! What else one could use to pass few permits around: servers that were not made for it, as their
//! users do it. They are looked for where programs lie, and left out where they are not installed.
//!
//! Each is set up in its own favour: nothing is kept on a disk, and no client has to renew a lease.

mod etcd;
mod postgres;
mod redis;

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Error, Result, anyhow};
use tempfile::TempDir;

use crate::{
    engine::{Connections, Reply},
    loads::hand_off::Dialect,
    process::{Placement, Process},
};

/// A way to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A queue in Redis, whose next client is woken.
    RedisWaking,
    /// A queue in Redis, whose clients ask again and again.
    RedisPolling,
    /// Advisory locks in PostgreSQL.
    Postgres,
    /// Locks in etcd.
    Etcd,
}

/// What its clients do.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// How many there are, one a connection.
    pub clients: usize,
    /// How many of them may hold a permit at once; `None` where nobody ever has to wait.
    pub max: Option<usize>,
    /// Where the server runs.
    pub placement: Placement,
}

/// A way whose program is installed.
#[derive(Clone, Debug)]
pub struct Found {
    way: Way,
    program: PathBuf,
}

/// A server that runs, and ends with this value.
pub struct Running {
    /// Its process.
    pub process: Process,
    /// Those of its clients.
    pub connections: Connections,
    /// How they speak.
    pub dialect: Box<dyn Dialect>,
    /// Where its data lie, for as long as this value is kept.
    pub folder: TempDir,
}

/// Looks for them all: says which are not there, and notes the versions of those that are.
///
/// # Errors
/// Where a program does not say its version.
pub fn find(versions: &mut BTreeMap<String, String>) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for (name, program, ways) in [
        ("redis-server", in_path("redis-server"), &[Way::RedisWaking, Way::RedisPolling][..]),
        ("postgres", postgres::program(), &[Way::Postgres]),
        ("etcd", in_path("etcd"), &[Way::Etcd]),
    ] {
        let Some(program) = program else {
            eprintln!("{name} is not installed: skipped");
            continue;
        };
        versions.insert(name.to_owned(), version(&program)?);
        found.extend(ways.iter().map(|way| Found { way: *way, program: program.clone() }));
    }
    Ok(found)
}

impl Found {
    /// As tables name it.
    pub fn name(&self) -> &'static str {
        match self.way {
            Way::RedisWaking => "redis, BLPOP",
            Way::RedisPolling => "redis, polling",
            Way::Postgres => "postgresql",
            Way::Etcd => "etcd",
        }
    }

    /// Whether it is measured in this setting.
    pub fn takes_part(&self, setting: Setting) -> bool {
        let is_lock = matches!(setting.max, None | Some(1));
        match self.way {
            Way::RedisWaking => true,
            // Nobody waits where nobody fights, and what it costs to ask in vain is no ceiling.
            Way::RedisPolling => setting.max.is_some() && setting.placement == Placement::Free,
            Way::Postgres => is_lock,
            Way::Etcd => is_lock && setting.clients <= etcd::MOST_CLIENTS,
        }
    }

    /// As [`Found::start`]; says on standard error why a server is left out.
    pub fn start_or_say(&self, setting: Setting) -> Option<Running> {
        let failed = |error: Error| eprintln!("\n{} is left out: {error:#}", self.name());
        self.start(setting).map_err(failed).ok()
    }

    /// Starts the server, and connects the clients.
    ///
    /// # Errors
    /// Where it cannot be started, or refuses what goes before the first ask.
    fn start(&self, setting: Setting) -> Result<Running> {
        match self.way {
            Way::RedisWaking => redis::start(&self.program, redis::Wait::Woken, setting),
            Way::RedisPolling => redis::start(&self.program, redis::Wait::Polling, setting),
            Way::Postgres => postgres::start(&self.program, setting),
            Way::Etcd => etcd::start(&self.program, setting),
        }
        .with_context(|| format!("the server `{}`", self.name()))
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn version(program: &Path) -> Result<String> {
    let answer = || anyhow!("{} does not say its version", program.display());
    let output = Command::new(program).arg("--version").output().with_context(answer)?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned).with_context(answer)
}

/// An answer that none of the clients has a use for.
fn unexpected(state: &str, reply: &Reply<'_>) -> Error {
    anyhow!("answer {} to a client that {state}: {:?}", reply.code, reply.excerpt())
}
