//! Reads the configuration again while the server runs, and applies what it says of semaphores.
//!
//! A bad file changes nothing. What else has changed in it needs a restart, and is named.

use std::{sync::Arc, thread, time::Duration};

use anyhow::bail;
use log::{error, warn};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    cli::Serve,
    config::Config,
    feed::Reloaded,
    log_text,
    metrics::Metrics,
    semaphore::{Changes, Kept},
    state::State,
};

/// So long an attempt waits for the one before. They take milliseconds, unless the file lies
/// elsewhere and cannot be reached.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whoever can have the configuration read again.
#[derive(Debug)]
pub struct Reloader {
    serve: Serve,
    /// What the server was started with.
    started: Config,
    state: Arc<State>,
    metrics: Arc<Metrics>,
    /// One after the other.
    reloading: Mutex<()>,
}

impl Reloader {
    /// For a server that was started with this configuration.
    pub fn new(serve: Serve, started: Config, state: Arc<State>, metrics: Arc<Metrics>) -> Self {
        Reloader { serve, started, state, metrics, reloading: Mutex::new(()) }
    }

    /// Reads the configuration again, and logs what came of it and who asked for it. In a thread of
    /// its own: nothing waits for a file that cannot be read, not even the end of the server.
    ///
    /// # Errors
    /// Where the file is missing or bad, or another attempt has not ended; then nothing is changed.
    pub async fn reload(self: Arc<Self>, by: String) -> anyhow::Result<Arc<Reloaded>> {
        let (answer, reloaded) = oneshot::channel();
        let thread = thread::Builder::new().name("reload".to_owned());
        thread.spawn(move || {
            // Whoever asked may have hung up.
            let _ = answer.send(self.reload_now(&by));
        })?;
        reloaded.await?
    }

    fn reload_now(&self, by: &str) -> anyhow::Result<Arc<Reloaded>> {
        let Some(_reloading) = self.reloading.try_lock_for(PATIENCE) else {
            bail!("another attempt to read the configuration has not ended for {PATIENCE:?}");
        };
        let read = self.serve.read_configuration_again().map_err(anyhow::Error::from);
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
    let quoted = |names: &[Arc<str>]| names.iter().map(|name| format!("`{name}`")).collect();
    let kept = kept.iter().map(|Kept { semaphore, reason }| format!("`{semaphore}` {reason}"));
    let lists: [(&str, Vec<String>); 4] = [
        ("added ", quoted(added)),
        ("changed ", quoted(changed)),
        ("removed ", quoted(removed)),
        ("", kept.collect()),
    ];
    let parts = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let parts = parts.map(|(what, list)| format!("{what}{}", log_text::listed(list.into_iter())));
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() { "no semaphore has changed".to_owned() } else { parts.join("; ") }
}
