//! Tests of the real binary over real sockets. They mirror `src/http`; what concerns the process as
//! a whole (command line, configuration, logs, shutdown) has files of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]
#![allow(clippy::disallowed_methods, reason = "tests see the server from outside")]

mod client;
mod command;
mod listener;
#[cfg(unix)]
mod running;
mod server;
#[cfg(unix)]
mod terminal;

mod admin;
mod bad_input;
mod cli;
mod cli_ps;
mod cli_set;
mod cli_small;
mod events;
mod gelf;
// It looks into `/proc`.
#[cfg(target_os = "linux")]
mod hostile;
mod https;
mod labels;
mod limits;
mod listening;
mod locks;
mod logging;
mod metrics;
mod openapi;
mod page;
mod pages;
mod peers;
#[cfg(unix)]
mod readme;
mod recovery;
mod refusals;
mod reload;
mod resizing;
mod restore;
mod routes;
#[cfg(unix)]
mod run_commands;
#[cfg(unix)]
mod run_jobs;
#[cfg(unix)]
mod run_leases;
#[cfg(unix)]
mod run_signals;
#[cfg(unix)]
mod run_terminal;
mod semaphores;
mod shutdown;
mod templates;
mod together;
mod tokens;
mod waiting;
