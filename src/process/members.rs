//! All that belongs to a command: its group of processes, and what has left that, as `timeout` and
//! shells with job control do. The latter is found by a variable of its environment, where the
//! system shows that (Linux), unless it has a session of its own, as daemons have.

use std::fs;

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, getsid},
};

/// A command's processes.
#[derive(Clone, Debug)]
pub struct Members {
    /// Its group.
    pub group: Pid,
    /// What stands in the environment of all of them, such as `THROTTLE_PEER=42`.
    pub mark: String,
}

/// One that has left the group.
struct Stray {
    id: i32,
    parent: i32,
}

impl Members {
    /// Sends a signal to all of them; quiet where nothing is left.
    pub fn send(&self, signal: Signal) {
        // What has ended needs no signals.
        let _ = killpg(self.group, signal);
        let is_for_all = signal == Signal::SIGKILL;
        if !is_for_all && !super::Signal(signal).asks_for_the_end() {
            return;
        }
        let strays = self.strays();
        for Stray { id, parent } in &strays {
            // Whoever starts others in such a way passes on what it gets.
            if is_for_all || strays.iter().all(|other| other.id != *parent) {
                let _ = kill(Pid::from_raw(*id), signal);
            }
        }
    }

    /// Whether nothing of them is left.
    pub fn are_gone(&self) -> bool {
        killpg(self.group, None) == Err(Errno::ESRCH) && self.strays().is_empty()
    }

    fn strays(&self) -> Vec<Stray> {
        let Ok(session) = getsid(None) else { return Vec::new() };
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter_map(|id| self.stray(id, session)).collect()
    }

    /// This process, if it is one.
    fn stray(&self, id: i32, session: Pid) -> Option<Stray> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name of a program may hold anything, but the fields behind it do not.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let is_dead = fields.next()? == "Z";
        let mut number = || fields.next()?.parse::<i32>().ok();
        let [parent, group, of_session] = [number()?, number()?, number()?];
        if is_dead || group == self.group.as_raw() || of_session != session.as_raw() {
            return None;
        }
        let environment = fs::read(format!("/proc/{id}/environ")).ok()?;
        let is_marked =
            environment.split(|byte| *byte == 0).any(|entry| entry == self.mark.as_bytes());
        is_marked.then_some(Stray { id, parent })
    }
}
