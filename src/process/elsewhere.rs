//! A command where there are no groups of processes, as on Windows: one plain process. What it
//! starts in turn is left alone, and so is the command if this process is killed.

use std::{
    env,
    ffi::OsString,
    io::{self, ErrorKind},
    process::{Child, Command, ExitCode},
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::Mutex;

use super::{Happening, Status};
use crate::signals::Signals;

/// Ctrl+C, the only signal that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal;

impl Signal {
    /// What it is called.
    pub fn name(self) -> &'static str {
        "Ctrl+C"
    }

    /// Whether whoever sends it wants the command to end.
    pub fn asks_for_the_end(self) -> bool {
        true
    }

    /// Whether it ends a process that does not mind it.
    pub fn ends_by_default(self) -> bool {
        true
    }

    /// Whether it stops a process.
    pub fn stops(self) -> bool {
        false
    }

    /// Whether it resumes a process.
    pub fn resumes(self) -> bool {
        false
    }

    /// Nothing can be stopped.
    pub fn stop_ourselves(self) {}

    /// Ends this process with the exit code of one that was interrupted.
    pub fn die(self) -> ExitCode {
        ExitCode::from(130)
    }
}

/// Has each Ctrl+C told from now on, instead of what it would do.
///
/// # Errors
/// Where the system refuses.
pub fn listen(mut tell: impl FnMut(Signal) + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = Signals::new()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        loop {
            runtime.block_on(signals.next());
            tell(Signal);
        }
    })?;
    Ok(())
}

/// What this machine is called.
pub fn host() -> Option<String> {
    env::var("COMPUTERNAME").ok()
}

/// Nothing has a terminal for itself.
pub fn is_in_background() -> bool {
    false
}

/// There is nothing to guard with.
pub fn guard(_kill_after: Duration) {}

/// A command.
#[derive(Debug)]
pub struct Group(Arc<Mutex<Child>>);

impl Group {
    /// Starts a command.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(
        command: &[OsString],
        environment: &[(&str, String)],
        _kill_after: Duration,
    ) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(ErrorKind::InvalidInput)?;
        let mut process = Command::new(program);
        let child = process.args(arguments).envs(environment.iter().cloned()).spawn()?;
        Ok(Group(Arc::new(Mutex::new(child))))
    }

    /// Whoever uses it here knows that nothing would end the command.
    pub fn unguarded(&self) -> Option<&io::Error> {
        None
    }

    /// Nothing: it is ended by us alone.
    pub fn keep_until(&mut self, _latest: Duration) {}

    /// Has it told when the command ends. To be called once.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn watch(&self, mut tell: impl FnMut(Happening) + Send + 'static) -> io::Result<()> {
        const LOOK: Duration = Duration::from_millis(20);
        let child = self.0.clone();
        thread::Builder::new().name("command".to_owned()).spawn(move || {
            // It is not waited for under the lock, so that it can be killed meanwhile.
            let status = loop {
                match child.lock().try_wait() {
                    Ok(Some(status)) => break status.code(),
                    Ok(None) => thread::sleep(LOOK),
                    Err(_) => break None,
                }
            };
            let code = status.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
            tell(Happening::Ended(Status::Exited(code)));
        })?;
        Ok(())
    }

    /// Nothing: Ctrl+C reaches the command by itself.
    pub fn tell(&mut self, _signal: Signal) {}

    /// Ends it. There is no way to ask.
    pub fn terminate(&mut self) {
        self.kill();
    }

    /// Ends it.
    pub fn kill(&self) {
        // It may have ended by itself.
        let _ = self.0.lock().kill();
    }

    /// Whether it has ended.
    pub fn is_gone(&self) -> bool {
        !matches!(self.0.lock().try_wait(), Ok(None))
    }

    /// It is never stopped.
    pub fn follow_stop(&mut self, _signal: Signal) -> bool {
        false
    }

    /// It is never stopped.
    pub fn resume(&mut self) {}
}
