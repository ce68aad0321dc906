//! Tests of the real binary over real sockets. They mirror `src/http`; what concerns the process as
//! a whole (command line, configuration, logs, shutdown) has files of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]
#![allow(clippy::disallowed_methods, reason = "tests see the server from outside")]

mod client;
mod server;

mod admin;
mod bad_input;
mod cli;
mod gelf;
mod limits;
mod locks;
mod logging;
mod metrics;
mod pages;
mod peers;
mod readme;
mod recovery;
mod refusals;
mod restore;
mod routes;
mod shutdown;
mod together;
mod tokens;
mod waiting;
