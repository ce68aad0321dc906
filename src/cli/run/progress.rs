//! What people see on standard error: notes, and, on a terminal, one line that changes while they
//! wait. A thread of its own writes it, for nobody may be reading, and heartbeats must go on.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use terminal_size::{Width, terminal_size_of};

use super::place::Place;
use crate::{cli::table::cut, process::is_in_background};

/// The line is drawn anew this often.
const TICK: Duration = Duration::from_secs(1);

/// Whoever gets the locks by then has seen nothing.
const PATIENCE: Duration = Duration::from_millis(300);

/// No more than this waits to be written; what is more is left out.
const MOST_PIECES: usize = 64;

/// Whoever has to wait until all is written, waits no longer than this.
const SETTLED: Duration = Duration::from_millis(200);

/// Standard error.
#[derive(Debug)]
pub struct Progress {
    writer: SyncSender<Piece>,
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

/// What the thread does next.
#[derive(Debug)]
enum Piece {
    /// To write something.
    Text(String),
    /// To say that all before is written.
    Tell(SyncSender<()>),
}

impl Progress {
    /// Where nothing is waited for yet.
    ///
    /// # Errors
    /// Where there is no thread to be had.
    pub fn new(is_quiet: bool) -> io::Result<Self> {
        let (writer, pieces) = sync_channel(MOST_PIECES);
        thread::Builder::new().name("stderr".to_owned()).spawn(move || write(&pieces))?;
        let is_dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        Ok(Progress {
            writer,
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
            self.settle();
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
        // If that much is not read, nobody reads it.
        let _ = self.writer.try_send(Piece::Text(text.to_owned()));
    }

    /// Waits until all is written, but not for long.
    fn settle(&self) {
        let (teller, told) = sync_channel(1);
        if self.writer.try_send(Piece::Tell(teller)).is_ok() {
            let _ = told.recv_timeout(SETTLED);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.settle();
    }
}

fn write(pieces: &Receiver<Piece>) {
    for piece in pieces {
        match piece {
            // Without a standard error there is nobody to read it, and nothing is lost.
            Piece::Text(text) => drop(io::stderr().write_all(text.as_bytes())),
            Piece::Tell(teller) => drop(teller.send(())),
        }
    }
}
