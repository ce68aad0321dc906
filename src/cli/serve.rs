//! `throttle` alone: which server to start.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    config::{Config, ConfigError},
    logging,
};

/// Read from the working directory if no other file is named.
pub(super) const DEFAULT_CONFIGURATION: &str = "throttle.toml";

/// Which server to start.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Address to listen on: an IP address or a name that resolves to one. `0.0.0.0` listens on
    /// all, for whoever can reach this machine.
    #[arg(long, default_value = "127.0.0.1")]
    pub address: String,

    /// Port to listen on; 0 picks a free one.
    #[arg(long, default_value_t = 8000)]
    pub port: u16,

    /// Configuration file. Without this option: `throttle.toml` in the working directory, and an
    /// empty configuration if there is none.
    #[arg(short, long, value_name = "FILE")]
    pub configuration: Option<PathBuf>,
}

impl Serve {
    /// Reads the configuration that the command line names.
    ///
    /// # Errors
    /// [`ConfigError`]; also if a file that was named does not exist.
    pub fn read_configuration(&self) -> Result<Config, ConfigError> {
        if let Some(path) = &self.configuration {
            return Config::read(path);
        }
        let path = Path::new(DEFAULT_CONFIGURATION);
        if !is_missing(path) {
            return Config::read(path);
        }
        logging::note(&format!(
            "{DEFAULT_CONFIGURATION} not found => Using empty default configuration."
        ));
        Ok(Config::default())
    }

    /// Reads the same file again, for a server that runs. It must be there, and have something in
    /// it: without it, or while somebody writes it anew, all semaphores would go.
    ///
    /// # Errors
    /// [`ConfigError`]; also if it is no file, such as a pipe, which would be waited for.
    pub fn read_configuration_again(&self) -> Result<Config, ConfigError> {
        let path = self.configuration.as_deref().unwrap_or(Path::new(DEFAULT_CONFIGURATION));
        let found = fs::metadata(path);
        let complaint = match &found {
            Ok(found) if !found.is_file() => "it is no file",
            Ok(found) if found.len() == 0 => "it is empty",
            // Whatever is wrong with it, reading will report.
            _ => return Config::read(path),
        };
        let source = io::Error::other(complaint);
        Err(ConfigError::Unreadable { path: path.to_owned(), source })
    }
}

/// Whether there is nothing of this name. Anything else, such as a link that leads nowhere, is an
/// error that reading will report.
pub(super) fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}
