//! The `throttle` command.

use std::process::ExitCode;

use clap::Parser;
use throttle::{cli::Cli, server};

fn main() -> ExitCode {
    match server::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
