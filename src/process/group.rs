//! Groups of processes on Unix.

use std::{
    ffi::{OsStr, OsString},
    io::{self, ErrorKind},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::Signal as Kind,
    unistd::{Pid, gethostname},
};
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::{
    Happening, Signal, Status, find,
    guard::Guard,
    members::Members,
    terminal::{Terminal, leads_session},
};

/// What this machine is called.
pub fn host() -> Option<String> {
    gethostname().ok()?.into_string().ok()
}

/// A command and all that it starts, but for what has a session of its own.
#[derive(Debug)]
pub struct Group {
    /// The group, whose id is that of its first process, and what has left it.
    members: Members,
    terminal: Terminal,
    /// Whether all of it was asked to end.
    is_terminated: bool,
    /// Ends all of it if we cannot; or why there is none.
    guard: io::Result<Guard>,
}

impl Group {
    /// Starts a command in a group of its own. Should this process be killed, all of the group is
    /// told to end, and killed after `kill_after`. A script that does not say who runs it is run by
    /// the shell, as shells do. The first variable of the environment must differ from that of all
    /// other commands.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(
        command: &[OsString],
        environment: &[(&str, String)],
        kill_after: Duration,
    ) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(ErrorKind::InvalidInput)?;
        inherit_orphans();
        let mut guard = Guard::start(kill_after);
        let prepared = |program: &OsStr, script: Option<&Path>| {
            let mut process = Command::new(program);
            process.args(script).args(arguments).envs(environment.iter().cloned());
            process.process_group(0);
            process
        };
        let started = match spawn(prepared(program, None)) {
            Err(error) if error.raw_os_error() == Some(Errno::ENOEXEC as i32) => {
                spawn(prepared(OsStr::new("/bin/sh"), find(program).as_deref()))
            }
            started => started,
        };
        let group = Pid::from_raw(i32::try_from(started?.id()).map_err(io::Error::other)?);
        let mark = environment.first().map(|(name, value)| format!("{name}={value}"));
        let members = Members { group, mark: mark.unwrap_or_default() };
        if let Ok(guard) = &mut guard {
            guard.watch_over(&members);
        }
        Ok(Group { members, terminal: Terminal::default(), is_terminated: false, guard })
    }

    /// Why nothing would end the command if this process were killed, where that is so.
    pub fn unguarded(&self) -> Option<&io::Error> {
        self.guard.as_ref().err()
    }

    /// Has all of it ended by then at the latest, even if this process is stopped or stuck; a time
    /// of [`crate::clock::since_boot`].
    pub fn keep_until(&mut self, latest: Duration) {
        if let Ok(guard) = &mut self.guard {
            guard.keep_until(latest);
        }
    }

    /// Has it told what happens to the command, up to its end. To be called once.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn watch(&self, mut tell: impl FnMut(Happening) + Send + 'static) -> io::Result<()> {
        let leader = self.members.group.as_raw();
        thread::Builder::new().name("command".to_owned()).spawn(move || {
            let mut has_ended = false;
            loop {
                // Any child: this process inherits the orphans of the command.
                match wait(WaitOptions::UNTRACED) {
                    Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == leader => {
                        let happening = happening(status);
                        has_ended |= matches!(happening, Some(Happening::Ended(_)));
                        happening.into_iter().for_each(&mut tell);
                    }
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    // There are no more children.
                    Err(_) => break,
                }
            }
            if !has_ended {
                // Somebody else was told of its end, and how it was.
                tell(Happening::Ended(Status::Exited(u8::MAX)));
            }
        })?;
        Ok(())
    }

    /// Sends a signal to all of it; quiet where nothing is left.
    pub fn tell(&mut self, signal: Signal) {
        self.is_terminated |= signal.0 == Kind::SIGTERM;
        self.members.send(signal.0);
        if signal.asks_for_the_end() {
            self.tell_guard();
        }
    }

    /// Asks all of it to end, also what is stopped. Only once: many programs take a second request
    /// as one to end at once.
    pub fn terminate(&mut self) {
        if !self.is_terminated {
            self.is_terminated = true;
            self.members.send(Kind::SIGTERM);
            self.tell_guard();
        }
        self.members.send(Kind::SIGCONT);
    }

    fn tell_guard(&mut self) {
        if let Ok(guard) = &mut self.guard {
            guard.is_told();
        }
    }

    /// Ends all of it.
    pub fn kill(&self) {
        self.members.send(Kind::SIGKILL);
    }

    /// Whether nothing of it is left.
    pub fn is_gone(&self) -> bool {
        self.members.are_gone()
    }

    /// What is to be done after it was stopped. If it only wanted the terminal, it gets it and goes
    /// on. If the terminal stopped it, as by Ctrl+Z, this process stops as well, until somebody
    /// resumes it; it is then up to the caller to [`resume`](Group::resume) the command.
    ///
    /// Returns whether it is to be resumed.
    pub fn follow_stop(&mut self, signal: Signal) -> bool {
        if signal.asks_for_terminal() && self.terminal.lend(self.members.group) {
            // At once: to go on makes it forget a Ctrl+Z that reaches it now.
            self.members.send(Kind::SIGCONT);
            return false;
        }
        if signal.stops() && leads_session() {
            // Nobody would resume us, and so neither the command.
            return true;
        }
        // Whoever sent SIGSTOP wanted the command alone to stop.
        signal.is_of_terminal() && self.terminal.stop_ourselves()
    }

    /// Resumes it, with the terminal if it had that.
    pub fn resume(&mut self) {
        self.terminal.lend_again();
        self.members.send(Kind::SIGCONT);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.terminal.take_back();
    }
}

/// How long a process takes to be started, unless it is stopped meanwhile.
const START: Duration = Duration::from_millis(20);

/// Starts a process. If Ctrl+Z comes before that has left our group, it stops; where that is before
/// its program is loaded, `Command::spawn` does not return. So it is resumed, and stopped once more
/// when the signal is forwarded.
fn spawn(mut command: Command) -> io::Result<Child> {
    let (teller, started) = channel();
    thread::Builder::new().name("spawn".to_owned()).spawn(move || {
        let _ = teller.send(command.spawn());
    })?;
    loop {
        match started.recv_timeout(START) {
            Ok(child) => return child,
            Err(RecvTimeoutError::Timeout) => resume_stopped(),
            Err(RecvTimeoutError::Disconnected) => return Err(ErrorKind::Other.into()),
        }
    }
}

/// What a status means; `None` where it is of no interest.
fn happening(status: WaitStatus) -> Option<Happening> {
    let kind = |number: i32| Kind::try_from(number).ok().map(Signal);
    let code = |code: i32| Status::Exited(u8::try_from(code).unwrap_or(u8::MAX));
    if let Some(exit_status) = status.exit_status() {
        return Some(Happening::Ended(code(exit_status)));
    }
    if let Some(number) = status.terminating_signal() {
        // Those of real time have no name, and are shown as shells do.
        let status = kind(number).map_or_else(|| code(128 + number), Status::Killed);
        return Some(Happening::Ended(status));
    }
    status.stopping_signal().and_then(kind).map(Happening::Stopped)
}

/// Has what the command leaves behind become a child of ours, so that what of it has ended is gone
/// at once, and not when somebody else finds the time.
#[cfg(target_os = "linux")]
fn inherit_orphans() {
    // Without it, it takes longer.
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Elsewhere there is no such thing.
#[cfg(not(target_os = "linux"))]
fn inherit_orphans() {}

/// Resumes a child of ours that is stopped.
#[cfg(target_os = "linux")]
fn resume_stopped() {
    use nix::sys::{
        signal::kill,
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    };
    let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    if let Ok(WaitStatus::Stopped(child, _)) = waitid(Id::All, flags) {
        let _ = kill(child, Kind::SIGCONT);
    }
}

/// Elsewhere it is not known which one that is.
#[cfg(not(target_os = "linux"))]
fn resume_stopped() {}
