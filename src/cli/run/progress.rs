//! What people see on standard error: notes, and, on a terminal, one line that changes while they
//! wait. It goes through a queue, for nobody may be reading, and heartbeats must go on.

use std::{
    env,
    io::{self, IsTerminal},
    time::Duration,
};

use terminal_size::{Width, terminal_size_of};

use super::place::Place;
use crate::{
    cli::table::cut,
    logging::{self, Queue},
    process::is_in_background,
};

/// The line is drawn anew this often.
const TICK: Duration = Duration::from_secs(1);

/// Whoever gets the locks by then has seen nothing.
const PATIENCE: Duration = Duration::from_millis(300);

/// Standard error.
#[derive(Debug)]
pub struct Progress {
    stderr: Queue,
    is_quiet: bool,
    is_shown: bool,
    is_drawn: bool,
    what: String,
    began_at: Duration,
    /// Where we are in the queue, as far as that is known.
    pub place: Option<Place>,
    /// Why the server does not answer, if it does not.
    pub trouble: Option<String>,
}

impl Progress {
    /// Where nothing is waited for yet.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn new(is_quiet: bool) -> io::Result<Self> {
        let is_dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        Ok(Progress {
            stderr: logging::queue_to_stderr()?,
            is_quiet,
            is_shown: !is_quiet && !is_dumb && io::stderr().is_terminal(),
            is_drawn: false,
            what: String::new(),
            began_at: Duration::ZERO,
            place: None,
            trouble: None,
        })
    }

    /// Begins to wait for something now.
    pub fn begin(&mut self, what: String, now: Duration) {
        self.what = what;
        self.began_at = now;
    }

    /// Whether there is somebody to look at the line.
    pub fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Draws the line, if there is anybody to look at it. Returns when it is to be drawn again.
    pub fn draw(&mut self, now: Duration) -> Duration {
        let waited = now.saturating_sub(self.began_at);
        if !self.is_shown {
            return Duration::MAX;
        }
        if waited < PATIENCE {
            return self.began_at + PATIENCE;
        }
        if is_in_background() {
            // The terminal belongs to somebody else now.
            self.is_drawn = false;
            return now + TICK;
        }
        let mut line = format!("waiting for {}", self.what);
        if let seconds @ 1.. = waited.as_secs() {
            let waited = humantime::format_duration(Duration::from_secs(seconds));
            line.push_str(&format!(", {waited}"));
        }
        if let Some(trouble) = &self.trouble {
            line.push_str(&format!(": {trouble}"));
        } else if let Some(place) = &self.place {
            line.push_str(&format!(": {place}"));
        }
        let columns = terminal_size_of(io::stderr()).map_or(80, |(Width(columns), _)| columns);
        let line = cut(&line, usize::from(columns).saturating_sub(1));
        self.write(&format!("\r{line}\x1b[K"));
        self.is_drawn = true;
        now + TICK
    }

    /// Removes the line, before somebody else writes there.
    pub fn clear(&mut self) {
        if self.is_drawn {
            self.is_drawn = false;
            self.write("\r\x1b[K");
            self.stderr.drain();
        }
    }

    /// Writes a line that stays, about trouble.
    pub fn warn(&mut self, text: &str) {
        self.clear();
        self.write(&format!("throttle: {text}\n"));
    }

    /// Writes a line that stays, about nothing out of the ordinary; not where that is not wanted.
    pub fn tell(&mut self, text: &str) {
        if !self.is_quiet {
            self.warn(text);
        }
    }

    fn write(&self, text: &str) {
        self.stderr.put(text.as_bytes().to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stderr.drain();
    }
}
