//! Reads the configuration again while the server runs, and applies what it says of semaphores.
//!
//! A bad file changes nothing. What else has changed in it needs a restart, and is named.

use std::sync::Arc;

use log::{error, warn};
use parking_lot::Mutex;

use crate::{
    cli::Cli,
    config::Config,
    feed::Reloaded,
    metrics::Metrics,
    semaphore::{Changes, Kept},
    state::State,
};

/// Whoever can have the configuration read again.
#[derive(Debug)]
pub struct Reloader {
    cli: Cli,
    /// What the server was started with.
    started: Config,
    state: Arc<State>,
    metrics: Arc<Metrics>,
    /// One after the other.
    reloading: Mutex<()>,
}

impl Reloader {
    /// For a server that was started with this configuration.
    pub fn new(cli: Cli, started: Config, state: Arc<State>, metrics: Arc<Metrics>) -> Self {
        Reloader { cli, started, state, metrics, reloading: Mutex::new(()) }
    }

    /// Reads the configuration again, and logs what came of it and who asked for it. Blocks while
    /// the file is read.
    ///
    /// # Errors
    /// Where the file is missing or bad; then nothing is changed.
    pub fn reload(&self, by: &str) -> anyhow::Result<Arc<Reloaded>> {
        let _reloading = self.reloading.lock();
        let read = self.cli.read_configuration_again().map_err(anyhow::Error::from);
        self.metrics.note_reload(read.is_ok());
        let config = read.inspect_err(|complaint| {
            error!(target: "throttle", by; "configuration not reloaded for {by}: {complaint:#}");
        })?;
        let needs_restart = self.started.what_needs_restart(&config);
        let reloaded = self.state.configure(config.semaphores, needs_restart, by);
        let described = describe(&reloaded.changes);
        warn!(target: "throttle", by; "configuration reloaded by {by}: {described}");
        if !reloaded.needs_restart.is_empty() {
            let changed = reloaded.needs_restart.join(", ");
            warn!(
                target: "throttle", changed;
                "what has changed of {changed} takes effect after a restart"
            );
        }
        Ok(reloaded)
    }
}

/// For a log line.
fn describe(changes: &Changes) -> String {
    let Changes { added, changed, removed, kept } = changes;
    let mut parts: Vec<String> = [("added", added), ("changed", changed), ("removed", removed)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("{what} {}", names.join(", "))
        })
        .collect();
    parts.extend(kept.iter().map(|Kept { semaphore, reason }| format!("`{semaphore}` {reason}")));
    if parts.is_empty() { "no semaphore has changed".to_owned() } else { parts.join("; ") }
}
