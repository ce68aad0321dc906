//! `throttle completions`: what a shell needs to complete the command.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::{Cli, print::print};

/// Print what a shell needs to complete the `throttle` command.
#[derive(Args, Clone, Debug)]
#[command(after_help = INSTALL)]
pub struct Completions {
    /// Which shell.
    pub shell: Shell,
}

const INSTALL: &str = "\
Have it there from the next start of the shell on:
  bash        throttle completions bash > ~/.local/share/bash-completion/completions/throttle
  zsh         throttle completions zsh > ~/.zfunc/_throttle  # with fpath+=~/.zfunc before compinit
  fish        throttle completions fish > ~/.config/fish/completions/throttle.fish
  powershell  throttle completions powershell >> $PROFILE
  elvish      throttle completions elvish >> ~/.config/elvish/rc.elv";

impl Completions {
    /// Prints it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "throttle", &mut script);
        print(&String::from_utf8(script)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
