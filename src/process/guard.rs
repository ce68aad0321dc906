//! What sees to it that a command does not outlive its lease, should we be killed, stopped or
//! stuck: a small process that is told by a pipe what it guards, and until when.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{self, ChildStdin, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{SigSet, SigmaskHow, Signal},
    unistd::Pid,
};

use super::members::Members;
use crate::clock;

/// How often to look whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

/// The clock is looked at this often at least: waiting may stand still while the machine sleeps.
const NAP: Duration = Duration::from_secs(1);

/// Our end. To be dropped once the command has ended, or need not end.
#[derive(Debug)]
pub struct Guard(ChildStdin);

impl Guard {
    /// Starts one that guards nothing yet.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(kill_after: Duration) -> io::Result<Self> {
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
            // The first is for people who list processes.
            .args([process::id().to_string(), kill_after.as_millis().to_string()])
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

    /// Has it guard a command.
    pub fn watch_over(&mut self, Members { group, mark }: &Members) {
        self.say(&format!("group {group} {mark}"));
    }

    /// Has it end the group by then at the latest, a time of [`clock::since_boot`].
    pub fn keep_until(&mut self, latest: Duration) {
        self.say(&format!("until {}", latest.as_millis()));
    }

    /// Tells it that the group was asked to end, and needs not be asked again.
    pub fn is_told(&mut self) {
        self.say("told");
    }

    fn say(&mut self, line: &str) {
        // If it has gone already, so be it.
        let _ = self.0.write_all(format!("{line}\n").as_bytes());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.say("done");
    }
}

/// What the guard does: ends the group once its time is over, or its standard input closes without
/// a word.
pub fn guard(kill_after: Duration) {
    let (teller, lines) = channel();
    let read = move || {
        let lines = BufReader::new(io::stdin()).lines();
        lines.map_while(Result::ok).try_for_each(|line| teller.send(line))
    };
    let Ok(_) = thread::Builder::new().spawn(read) else { return };
    let mut members = None;
    let mut latest = Duration::MAX;
    let mut patience = kill_after;
    loop {
        let left = latest.saturating_sub(clock::since_boot());
        match lines.recv_timeout(left.min(NAP)) {
            Ok(line) => match line.split_once(' ') {
                Some(("group", rest)) => members = parse(rest),
                Some(("until", ms)) => latest = ms.parse().map_or(latest, Duration::from_millis),
                // Whoever kills us after that has waited before.
                None if line == "told" => patience = Duration::ZERO,
                _ => return,
            },
            Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
            Err(RecvTimeoutError::Timeout) => return end(members, Duration::ZERO),
            Err(RecvTimeoutError::Disconnected) => return end(members, patience.min(left)),
        }
    }
}

/// What is guarded, as [`Guard::watch_over`] says it.
fn parse(text: &str) -> Option<Members> {
    let (group, mark) = text.split_once(' ')?;
    // Process 1, or everybody, is nobody's command.
    let group = group.parse().ok().filter(|group| *group > 1)?;
    Some(Members { group: Pid::from_raw(group), mark: mark.to_owned() })
}

/// Asks a command to end, and ends it.
fn end(members: Option<Members>, patience: Duration) {
    let Some(members) = members else { return };
    if !patience.is_zero() {
        members.send(Signal::SIGTERM);
        members.send(Signal::SIGCONT);
    }
    let until = clock::since_boot().saturating_add(patience);
    while clock::since_boot() < until {
        thread::sleep(LOOK);
        if members.are_gone() {
            return;
        }
    }
    members.send(Signal::SIGKILL);
}
