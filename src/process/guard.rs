//! What sees to it that a command does not outlive us, should we be killed: a small process that
//! holds one end of a pipe. When the other end closes without a word, it ends the command.

use std::{
    env,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{SigSet, SigmaskHow, Signal, killpg},
    unistd::Pid,
};

/// How often to look whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Our end. To be dropped once the command has ended, or need not end.
#[derive(Debug)]
pub struct Guard(ChildStdin);

impl Guard {
    /// Starts one over a group of processes.
    ///
    /// # Errors
    /// Where it cannot be started. The command then outlives us if we are killed.
    pub fn over(group: Pid, kill_after: Duration) -> io::Result<Self> {
        // This very program, also if its file was replaced meanwhile.
        let ourselves = match Path::new("/proc/self/exe") {
            ourselves if ourselves.exists() => ourselves.to_owned(),
            _ => env::current_exe()?,
        };
        // Before it has left our group, Ctrl+Z and the like are for it, too: it would stop before
        // its program is loaded, and we with it.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let spawned = Command::new(ourselves)
            .arg0("throttle")
            .arg("guard")
            .args([group.to_string(), kill_after.as_millis().to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            // Whoever reads what the command writes must not wait for this one.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of what is done to our group, or to that of the command.
            .process_group(0)
            .spawn();
        let _ = before.thread_set_mask();
        spawned?.stdin.take().map(Guard).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // If it has gone already, so be it.
        let _ = self.0.write_all(b".");
    }
}

/// What the guard does: waits for the other end of its standard input, and ends the group if that
/// closes without a word.
pub fn guard(group: i32, kill_after: Duration) {
    // Process 1, or everybody, is nobody's command.
    if group <= 1 {
        return;
    }
    let mut word = [0];
    if !matches!(io::stdin().read(&mut word), Ok(0)) {
        return;
    }
    let group = Pid::from_raw(group);
    let send = |signal| killpg(group, signal).is_ok();
    send(Signal::SIGTERM);
    send(Signal::SIGCONT);
    for _ in 0..kill_after.as_millis() / LOOK.as_millis() {
        thread::sleep(LOOK);
        if killpg(group, None).is_err() {
            return;
        }
    }
    send(Signal::SIGKILL);
}
