//! The HTTP servers that are measured: ours, the published one, and the ceiling.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Placement, Process, free_address};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// This project's.
    Throttle,
    /// The published `throttle-server`.
    Upstream,
    /// Fixed answers; see `ceiling`.
    Ceiling,
}

impl Kind {
    /// As tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Throttle => "throttle",
            Kind::Upstream => "upstream",
            Kind::Ceiling => "ceiling",
        }
    }
}

/// Where the servers lie.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// Ours.
    pub throttle: PathBuf,
    /// The published one, if there is one.
    pub upstream: Option<PathBuf>,
}

impl Binaries {
    /// Those kinds of `wanted` that are there.
    pub fn present(&self, wanted: &[Kind]) -> Vec<Kind> {
        let is_there = |kind: &Kind| *kind != Kind::Upstream || self.upstream.is_some();
        wanted.iter().copied().filter(is_there).collect()
    }

    /// The file of a server.
    ///
    /// # Errors
    /// Where this program cannot find itself.
    pub fn of(&self, kind: Kind) -> Result<PathBuf> {
        match kind {
            Kind::Throttle => Ok(self.throttle.clone()),
            Kind::Upstream => Ok(self.upstream.clone().unwrap_or_default()),
            Kind::Ceiling => Ok(env::current_exe()?),
        }
    }
}

/// A server that runs, and ends with this value.
#[derive(Debug)]
pub struct Server {
    /// Which one.
    pub kind: Kind,
    /// Its process.
    pub process: Process,
    /// Where its configuration lies, for as long as this value is kept.
    pub folder: TempDir,
}

impl Server {
    /// Starts a server with this configuration.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start(
        binaries: &Binaries,
        kind: Kind,
        configuration: &str,
        placement: Placement,
    ) -> Result<Self> {
        let folder = TempDir::new()?;
        let file = folder.path().join("throttle.toml");
        // Its limit, not less than what is measured.
        let limits = if kind == Kind::Throttle { "[limits]\nmax_peers = 2000000\n" } else { "" };
        std::fs::write(&file, format!("{limits}{configuration}"))?;
        let address = free_address()?;
        let mut command = command(&binaries.of(kind)?, kind, &file, address);
        let process = Process::start(&mut command, address, placement)?;
        Ok(Server { kind, process, folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.process.address
    }
}

/// How a server is started.
pub fn command(binary: &Path, kind: Kind, configuration: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(binary);
    command.env_remove("RUST_LOG");
    let port = address.port().to_string();
    match kind {
        Kind::Ceiling => command.args(["ceiling", "--port", &port]),
        Kind::Throttle | Kind::Upstream => command
            .args(["--address", "127.0.0.1", "--port", &port, "--configuration"])
            .arg(configuration),
    };
    command
}
