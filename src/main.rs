//! The `throttle` command.

use std::process::ExitCode;

use clap::Parser;
use throttle::{cli::Cli, logging, server};

fn main() -> ExitCode {
    match server::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
