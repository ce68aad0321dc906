//! Tests of the real binary over real sockets. They mirror `src/http`; what concerns the process as
//! a whole (command line, configuration, logs, shutdown) has files of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]
#![allow(clippy::disallowed_methods, reason = "tests see the server from outside")]

mod client;
mod listener;
mod server;

mod admin;
mod bad_input;
mod cli;
mod events;
mod gelf;
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
mod readme;
mod recovery;
mod refusals;
mod reload;
mod resizing;
mod restore;
mod routes;
mod semaphores;
mod shutdown;
mod templates;
mod together;
mod tokens;
mod waiting;
