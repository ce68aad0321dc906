//! The terminal, which belongs to one group of processes at a time: who reads it gets it.
//!
//! The command is in a group of its own, so the terminal stops it where it reads. It is then lent
//! the terminal, if we have it. From then on Ctrl+C and Ctrl+Z reach the command and not us.

use std::{fs::File, io};

use nix::{
    sys::signal::{SigSet, Signal, killpg, raise},
    unistd::{Pid, getpgrp, getsid, tcgetpgrp, tcsetpgrp},
};

/// Whether standard error is a terminal that belongs to others now.
pub fn is_in_background() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|holder| holder != getpgrp())
}

/// Whether there is no shell above that would resume this process, as with `ssh -t`.
pub fn leads_session() -> bool {
    getsid(None) == Ok(getpgrp())
}

/// The terminal of this process, if it has one.
#[derive(Debug, Default)]
pub struct Terminal {
    /// Opened once it matters, which it does for few commands.
    device: Option<File>,
    /// The group that it was lent to.
    borrower: Option<Pid>,
}

impl Terminal {
    /// Lends it to a group, if it is ours to lend. Returns whether the group has it now.
    pub fn lend(&mut self, group: Pid) -> bool {
        let Some(device) = self.open() else { return false };
        let holder = tcgetpgrp(device).ok();
        let has_it = holder == Some(group)
            || (holder == Some(getpgrp()) && tcsetpgrp(device, group).is_ok());
        if has_it {
            self.borrower = Some(group);
        }
        has_it
    }

    /// Lends it once more to the group that had it before, after we were resumed.
    pub fn lend_again(&mut self) {
        if let Some(group) = self.borrower {
            self.lend(group);
        }
    }

    /// Takes it back, so that whoever comes after us finds it as we did. Returns whether it was
    /// lent.
    pub fn take_back(&mut self) -> bool {
        let holder = self.device.as_ref().and_then(|device| tcgetpgrp(device).ok());
        let Some(device) = self.device.as_ref().filter(|_| holder == self.borrower) else {
            return false;
        };
        if self.borrower.is_none() {
            return false;
        }
        // We are in the background now, where this signal would stop us.
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTTOU);
        let is_blocked = mask.thread_block().is_ok();
        let _ = tcsetpgrp(device, getpgrp());
        if is_blocked {
            let _ = mask.thread_unblock();
        }
        true
    }

    /// Stops this process as Ctrl+Z would, until it is resumed. Returns whether it was: where there
    /// is no terminal, nobody would resume it.
    pub fn stop_ourselves(&mut self) -> bool {
        if leads_session() || self.open().is_none() {
            return false;
        }
        if self.take_back() {
            // Ctrl+Z is for all of a pipe, and has reached the command alone.
            killpg(getpgrp(), Signal::SIGSTOP).is_ok()
        } else {
            raise(Signal::SIGSTOP).is_ok()
        }
    }

    fn open(&mut self) -> Option<&File> {
        if self.device.is_none() {
            self.device = File::options().read(true).write(true).open("/dev/tty").ok();
        }
        self.device.as_ref()
    }
}
