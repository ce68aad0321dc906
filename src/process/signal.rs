//! Signals on Unix.

use std::{
    fs, io,
    process::{self, ExitCode},
    thread,
};

use nix::sys::signal::Signal as Kind;
use signal_hook::{iterator::Signals, low_level};

use super::terminal::Terminal;

/// Those that nobody can catch, that tell of a fault of this very process, or that are meant for it
/// alone. All others are for the command.
const NOT_FORWARDED: [Kind; 16] = [
    Kind::SIGKILL,
    Kind::SIGSTOP,
    Kind::SIGSEGV,
    Kind::SIGBUS,
    Kind::SIGFPE,
    Kind::SIGILL,
    Kind::SIGTRAP,
    Kind::SIGABRT,
    Kind::SIGSYS,
    Kind::SIGXCPU,
    Kind::SIGXFSZ,
    Kind::SIGVTALRM,
    Kind::SIGCHLD,
    Kind::SIGPIPE,
    Kind::SIGTTIN,
    Kind::SIGTTOU,
];

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub(super) Kind);

impl Signal {
    /// What it is called, such as `SIGTERM`.
    pub fn name(self) -> &'static str {
        self.0.as_str()
    }

    /// Whether whoever sends it wants the command to end.
    pub fn asks_for_the_end(self) -> bool {
        matches!(self.0, Kind::SIGHUP | Kind::SIGINT | Kind::SIGQUIT | Kind::SIGTERM)
    }

    /// Whether it ends a process that does not mind it.
    pub fn ends_by_default(self) -> bool {
        !matches!(self.0, Kind::SIGCONT | Kind::SIGTSTP | Kind::SIGWINCH | Kind::SIGURG)
    }

    /// Whether it stops a process, as Ctrl+Z does.
    pub fn stops(self) -> bool {
        self.0 == Kind::SIGTSTP
    }

    /// Whether it resumes a process, as `fg` does.
    pub fn resumes(self) -> bool {
        self.0 == Kind::SIGCONT
    }

    /// Whether it is the terminal that stops a process with it, by Ctrl+Z or as it is in the
    /// background.
    pub(super) fn is_of_terminal(self) -> bool {
        matches!(self.0, Kind::SIGTSTP | Kind::SIGTTIN | Kind::SIGTTOU)
    }

    /// Whether the process wanted to use the terminal from the background.
    pub(super) fn asks_for_terminal(self) -> bool {
        matches!(self.0, Kind::SIGTTIN | Kind::SIGTTOU)
    }

    /// Stops this process, as Ctrl+Z would, until it is resumed; not where nobody would do that.
    pub fn stop_ourselves(self) {
        Terminal::default().stop_ourselves();
    }

    /// Ends this process by the signal. Where that is not possible, with the exit code that shells
    /// show then.
    pub fn die(self) -> ExitCode {
        let number = self.0 as i32;
        // The first process of a container does not end that way.
        if process::id() != 1 {
            // It is the command that may have left a core behind, not this one.
            let _ = rlimit::setrlimit(rlimit::Resource::CORE, 0, 0);
            let _ = low_level::emulate_default_handler(number);
        }
        ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX))
    }
}

/// Has all signals that are for the command told from now on, instead of what they would do. Those
/// that are ignored stay so, as `nohup` has it.
///
/// # Errors
/// Where the system refuses.
pub fn listen(mut tell: impl FnMut(Signal) + Send + 'static) -> io::Result<()> {
    let ignored = ignored_signals();
    let is_for_command =
        |kind: &Kind| !NOT_FORWARDED.contains(kind) && ignored & (1 << (*kind as i32 - 1)) == 0;
    let numbers = Kind::iterator().filter(is_for_command).map(|kind| kind as i32);
    // Where the caller has this one ignored, nobody would ever hear of the end of the command.
    let mut signals = Signals::new(numbers.chain([Kind::SIGCHLD as i32]))?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let kinds = signals.forever().filter_map(|number| Kind::try_from(number).ok());
        for kind in kinds.filter(|kind| *kind != Kind::SIGCHLD) {
            tell(Signal(kind));
        }
    })?;
    Ok(())
}

/// Which signals this process was told to ignore, one bit each; none where the system does not say.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
