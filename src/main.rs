//! The `throttle` command.

use std::{env, process::ExitCode};

use throttle::{
    cli::{Cli, escaped_lines},
    logging, server,
};

fn main() -> ExitCode {
    let cli = match Cli::read(env::args_os()) {
        Ok(cli) => cli,
        Err(exit_code) => return exit_code,
    };
    let done = match &cli.command {
        None => server::run(&cli.serve).map(|()| ExitCode::SUCCESS),
        Some(command) => command.execute(),
    };
    done.unwrap_or_else(|error| {
        // It may quote what others have made up, such as names.
        logging::note(&escaped_lines(&format!("error: {error:#}")));
        ExitCode::FAILURE
    })
}
