//! A command as a group of processes of its own, and the signals that are meant for it.
//!
//! Nothing here knows of locks. Elsewhere than on Unix there are no groups: a command is one plain
//! process there, and what it starts is left alone.

#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod group;
#[cfg(unix)]
mod guard;
#[cfg(unix)]
mod members;
#[cfg(unix)]
mod signal;
#[cfg(unix)]
mod terminal;

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::ExitCode,
};

#[cfg(not(unix))]
pub use self::elsewhere::{Group, Signal, guard, host, is_in_background, listen};
#[cfg(unix)]
pub use self::{
    group::{Group, host},
    guard::guard,
    signal::{Signal, listen},
    terminal::is_in_background,
};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this exit code.
    Exited(u8),
    /// By a signal.
    Killed(Signal),
}

/// What happened to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The terminal or a signal stopped it; it can be resumed.
    Stopped(Signal),
    /// Its first process ended. Others of its group may live on.
    Ended(Status),
}

impl Status {
    /// Ends this process in the same way, as far as that is possible: by the same signal, so that
    /// whoever waits for it sees what it would have seen of the command.
    pub fn follow(self) -> ExitCode {
        match self {
            Status::Exited(code) => ExitCode::from(code),
            Status::Killed(signal) => signal.die(),
        }
    }
}

/// Where a program is, as far as can be told without starting it. What has no separator in its name
/// is looked for where the environment says.
pub fn find(program: &OsStr) -> Option<PathBuf> {
    let given = Path::new(program);
    if cfg!(windows) {
        // Windows looks in further places, and for further endings.
        return Some(given.to_owned());
    }
    if program.as_encoded_bytes().contains(&b'/') {
        return given.exists().then(|| given.to_owned());
    }
    let path = env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    env::split_paths(&path)
        .map(|folder| folder.join(given))
        .find(|file| !program.is_empty() && file.exists())
}
