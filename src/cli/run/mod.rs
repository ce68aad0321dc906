//! `throttle run`: holds locks while a command runs.

mod about;
mod asking;
mod backoff;
mod giving_back;
mod holder;
mod holding;
mod inbox;
pub mod lease;
mod locks;
mod peer;
mod place;
mod progress;

use std::{
    ffi::OsString,
    io::{self, ErrorKind},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::{Args, ValueHint};

use self::{
    about::{About, Label},
    asking::{Asking, Outcome},
    giving_back::{give_back, is_unknown},
    holder::Holder,
    holding::{Ended, Holding},
    inbox::{Errand, Event, Inbox},
    lease::Lease,
    locks::{Lock, Locks},
    peer::Peer,
    progress::Progress,
};
use super::{
    remote::{Remote, explain},
    shown::{escaped, escaped_lines},
};
use crate::{
    clock, logging,
    process::{Group, Status, find},
};

/// The time is over, or it is not free at once.
const TOO_LATE: u8 = 124;
/// Something is wrong that is none of the command's business.
pub const TROUBLE: u8 = 125;
/// The command cannot be run.
const NOT_RUNNABLE: u8 = 126;
/// There is no such command.
const NOT_FOUND: u8 = 127;

/// A lease must leave time for heartbeats.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// Nobody waits for longer for what a dead machine has left behind.
const LONGEST_LEASE: Duration = Duration::from_secs(31_557_600);

/// How long giving back is tried at the end.
const GIVING_BACK: Duration = Duration::from_secs(5);

/// Hold locks while a command runs.
///
/// Waits for its turn, runs the command, and gives the locks back when it has ended. Several
/// semaphores are granted together or not at all.
#[derive(Args, Clone, Debug)]
#[command(override_usage = "throttle run [OPTIONS] <SEMAPHORE[=COUNT]>... -- <COMMAND>...")]
#[command(after_long_help = EXITS)]
pub struct Run {
    /// What to take: `A` for one permit of it, `A=2` for two.
    #[arg(required = true, value_name = "SEMAPHORE[=COUNT]")]
    locks: Vec<Lock>,

    /// What to run meanwhile, after a `--`.
    #[arg(last = true, required = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    command: Vec<OsString>,

    #[command(flatten)]
    remote: Remote,

    /// How long to wait for the locks, such as `10m`. Without it: for ever.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,

    /// Do not wait: run the command only if all of it is free at once.
    #[arg(long, conflicts_with = "timeout")]
    if_free: bool,

    /// The length of the lease, at least a second. It is renewed while the command runs; so long
    /// the locks stay taken if this machine dies.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = lease)]
    expires_in: Duration,

    /// The time between SIGTERM and SIGKILL where the command has to end as the lease is lost; no
    /// longer than a sixth of the lease.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    kill_after: Duration,

    /// What the server shows people. Without it: `PROGRAM@HOST`.
    #[arg(long, value_parser = about::readable)]
    name: Option<String>,

    /// A label that the server shows, such as `job=nightly`, beside `host`, `pid` and `user`. Can
    /// be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,

    /// Say nothing but what is wrong: neither where we are in the queue, nor that it took too long.
    #[arg(short, long)]
    quiet: bool,
}

/// What stands below the help. Lines are broken by clap, which knows the terminal.
const EXITS: &str = concat!(
    "Exit status: that of the command; if a signal ended it, the same signal ends `throttle run`, ",
    "which shells show as 128 and its number. Otherwise\n",
    "  124  the locks were not free within --timeout, or with --if-free not at once\n",
    "  125  trouble with the server, the locks or the command line, or the lease was lost\n",
    "  126  the command cannot be run\n",
    "  127  there is no such command\n\n",
    "The command gets THROTTLE_TOKEN (the fencing token of the grant), THROTTLE_PEER and ",
    "THROTTLE_URL in its environment. Signals are forwarded to it and all its children.",
);

impl Run {
    /// Does it, and reports what went wrong.
    pub fn execute(&self) -> ExitCode {
        let mut progress = match Progress::new(self.quiet) {
            Ok(progress) => progress,
            Err(error) => {
                logging::note(&format!("throttle: error: cannot start a thread: {error}"));
                return ExitCode::from(TROUBLE);
            }
        };
        let status = self.run(&mut progress).unwrap_or_else(|error| {
            progress.warn(&escaped_lines(&format!("error: {error:#}")));
            Status::Exited(TROUBLE)
        });
        drop(progress);
        status.follow()
    }

    fn run(&self, progress: &mut Progress) -> anyhow::Result<Status> {
        let locks = Locks::new(&self.locks)?;
        let Some(program) = self.command.first().filter(|program| find(program).is_some()) else {
            // Better now than after hours in a queue.
            return Ok(self.not_started(&ErrorKind::NotFound.into(), progress));
        };
        let client = self.remote.client()?;
        let about = About::of(program, self.name.as_deref(), &self.labels);
        let inbox = Inbox::open().context("cannot listen for signals")?;
        let now = clock::since_boot();
        progress.begin(locks.to_string(), now);
        let mut peer = Peer::new(client, inbox, locks, about, self.expires_in);
        let timeout = if self.if_free { Some(Duration::ZERO) } else { self.timeout };
        let outcome = Asking::new(&mut peer, progress, timeout, now).until_granted();
        let outcome = outcome
            .map_err(|trouble| explain(&peer.client, trouble, &peer.locks.names()))
            .with_context(|| format!("cannot take {}", peer.locks))?;
        match outcome {
            Outcome::Granted(lease, token) => self.run_command(&peer, progress, lease, token),
            Outcome::TooLate => {
                if !self.quiet {
                    progress.warn(&too_late(&peer, timeout.unwrap_or_default()));
                }
                Ok(Status::Exited(TOO_LATE))
            }
            Outcome::Interrupted(signal) => Ok(Status::Killed(signal)),
        }
    }

    fn run_command(
        &self,
        peer: &Peer,
        progress: &mut Progress,
        lease: Lease,
        token: Option<u64>,
    ) -> anyhow::Result<Status> {
        let environment = [
            ("THROTTLE_PEER", peer.id.to_string()),
            ("THROTTLE_TOKEN", token.map(|token| token.to_string()).unwrap_or_default()),
            ("THROTTLE_URL", peer.client.url_with_credentials().to_owned()),
        ];
        // A short lease leaves less time for a peaceful end.
        let kill_after = self.kill_after.min(self.expires_in / 6);
        let group = match Group::start(&self.command, &environment, kill_after) {
            Ok(group) => group,
            Err(error) => {
                self.give_back(peer, progress, &lease);
                return Ok(self.not_started(&error, progress));
            }
        };
        if let Err(error) = peer.inbox.hear_of(&group) {
            group.kill();
            self.give_back(peer, progress, &lease);
            return Err(error).context("cannot watch over the command");
        }
        if let Some(error) = group.unguarded() {
            progress.warn(&format!(
                "the command will go on if `throttle run` is killed, for want of a guard: {error}"
            ));
        }
        let holding = Holding::new(peer, progress, group, (lease, token), kill_after);
        let Ended { status, loss, lease, is_restoring } = holding.until_ended();
        if is_restoring {
            await_restore(peer);
        }
        if loss.is_some() {
            // What is over by our own clock may not be so at the server, but that is not worth a
            // wait.
            drop(give_back(peer, Duration::ZERO));
            return Ok(Status::Exited(TROUBLE));
        }
        self.give_back(peer, progress, &lease);
        Ok(status)
    }

    /// Gives the locks back, and warns if they were not ours any more, or if that failed.
    fn give_back(&self, peer: &Peer, progress: &mut Progress, lease: &Lease) {
        let locks = &peer.locks;
        match give_back(peer, GIVING_BACK) {
            Ok(answer) if is_unknown(&answer) && answer.instance == lease.instance => {
                progress.warn(&format!(
                    "{locks} was lost before the command ended: the server had expired it, or \
                     somebody released it"
                ));
            }
            Ok(_) => {}
            Err(trouble) => {
                let left = lease.left(clock::since_boot()).as_secs() + 1;
                let left = humantime::format_duration(Duration::from_secs(left));
                progress.warn(&format!(
                    "could not give back {locks}, which is free in {left} at the latest: {trouble}"
                ));
            }
        }
    }

    /// Says why the command does not run.
    fn not_started(&self, error: &io::Error, progress: &mut Progress) -> Status {
        let program = self.command.first().map(PathBuf::from).unwrap_or_default();
        let (code, why) = match error.kind() {
            ErrorKind::NotFound if find(program.as_os_str()).is_some() => {
                (NOT_FOUND, "the interpreter that its first line names is not there".to_owned())
            }
            ErrorKind::NotFound => (NOT_FOUND, "there is no such program".to_owned()),
            _ => (NOT_RUNNABLE, error.to_string()),
        };
        let program = program.to_string_lossy();
        progress.warn(&format!("cannot run `{}`: {why}", escaped(&program)));
        Status::Exited(code)
    }
}

/// Says that the locks were not to be had in time, and for whom.
fn too_late(peer: &Peer, timeout: Duration) -> String {
    let Peer { client, locks, .. } = peer;
    let mut text = match timeout {
        Duration::ZERO => format!("{locks} is not free"),
        _ => format!("{locks} was not free within {}", humantime::format_duration(timeout)),
    };
    if let Some(holder) = Holder::find(client, &locks.names()) {
        text.push_str(&format!(": {holder}"));
    }
    text
}

/// Waits for the answer to a request that would bring the peer back after it was given back.
fn await_restore(peer: &Peer) {
    let until = clock::since_boot() + GIVING_BACK;
    while clock::since_boot() < until {
        if let Some(Event::Answered(Errand::Restore, _)) = peer.inbox.next(until) {
            return;
        }
    }
}

/// Reads a duration.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let is_bare = text != "0" && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    ensure!(!is_bare || text.is_empty(), "a duration needs a unit, such as `{text}s` or `{text}m`");
    humantime::parse_duration(text).with_context(|| "a duration looks like `90s` or `1h 30m`")
}

/// Reads the length of a lease.
fn lease(text: &str) -> anyhow::Result<Duration> {
    let length = duration(text)?;
    let [shortest, longest] = [SHORTEST_LEASE, LONGEST_LEASE].map(humantime::format_duration);
    ensure!(length >= SHORTEST_LEASE, "a lease lasts {shortest} at least");
    ensure!(length <= LONGEST_LEASE, "a lease lasts {longest} at most");
    Ok(length)
}
