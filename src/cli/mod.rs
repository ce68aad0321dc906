//! The command line: `throttle` alone serves, and each subcommand has a file of its own. What
//! clap shows as help are the doc comments here.

mod check;
mod completions;
mod look;
mod man;
mod print;
mod ps;
mod release;
mod remote;
pub mod run;
mod serve;
mod set;
mod shown;
mod table;

pub use self::{serve::Serve, shown::escaped_lines};

use std::{ffi::OsString, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use crate::{logging, process::guard};

use self::{
    check::Check, completions::Completions, man::Man, ps::Ps, release::Release, remote::Remote,
    run::Run, set::Set,
};

/// Counting semaphores for distributed systems, served over HTTP.
///
/// Without a subcommand, `throttle` starts a server. The subcommands talk to one.
#[derive(Clone, Debug, Parser)]
#[command(name = "throttle", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// How to serve, where there is no subcommand.
    #[command(flatten)]
    pub serve: Serve,

    /// What to do instead.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command line without a subcommand, a wish for help, or a mistake.
#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
struct Alone {
    #[command(flatten)]
    serve: Serve,
}

/// What can be done instead of serving.
#[derive(Clone, Debug, Subcommand)]
#[expect(missing_docs, reason = "a doc comment here would stand in the help instead of their own")]
pub enum Command {
    Run(Run),
    Ps(Ps),
    Set(Set),
    Release(Release),
    Check(Check),
    Completions(Completions),
    Man(Man),
    /// What `run` starts beside the command, to end it should `run` be killed or stopped.
    #[command(hide = true)]
    Guard {
        /// The process that has started it.
        run: u32,
        /// Between SIGTERM and SIGKILL, in milliseconds.
        kill_after_ms: u64,
    },
}

impl Cli {
    /// Reads the command line. Where it asks for help or the version, or is wrong, the answer is
    /// printed, and the exit code says which.
    ///
    /// # Errors
    /// The exit code to end with.
    pub fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self, ExitCode> {
        let arguments: Vec<_> = arguments.collect();
        // Whoever serves has no use for all that there is to know of the subcommands.
        if let Ok(Alone { serve }) = Alone::try_parse_from(&arguments) {
            return Ok(Cli { serve, command: None });
        }
        Cli::try_parse_from(&arguments).map_err(|error| {
            // There is nobody to tell if that fails.
            let _ = error.print();
            let code = u8::try_from(error.exit_code()).unwrap_or(1);
            // What `run` says of its own must not look as if the command had said it.
            let is_of_run = arguments.get(1).is_some_and(|name| name == "run");
            if !error.use_stderr() || !is_of_run {
                return ExitCode::from(code);
            }
            if !arguments.iter().any(|argument| argument == "--") {
                logging::note("tip: put `--` before the command: throttle run A -- ./load.sh");
            }
            ExitCode::from(run::TROUBLE)
        })
    }
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// What went wrong, in words that say what to do.
    pub fn execute(&self) -> anyhow::Result<ExitCode> {
        match self {
            Command::Run(run) => return Ok(run.execute()),
            Command::Ps(ps) => return ps.execute(),
            Command::Set(set) => return set.execute(),
            Command::Release(release) => return release.execute(),
            Command::Check(check) => return check.execute(),
            Command::Completions(completions) => return completions.execute(),
            Command::Man(man) => return man.execute(),
            Command::Guard { kill_after_ms, .. } => guard(Duration::from_millis(*kill_after_ms)),
        }
        Ok(ExitCode::SUCCESS)
    }
}
