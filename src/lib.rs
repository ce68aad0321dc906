//! Throttle: counting semaphores for distributed systems, served over plain HTTP.
//!
//! A request is translated once at the edge (`http`), decided in one pure place (`semaphore`), and
//! answered. The rooms, and what each must not do:
//!
//! - [`cli`], [`config`], [`logging`], [`server`]: start and stop. They decide nothing about locks.
//! - [`http`]: the route table and one file a resource. Handlers extract, call [`state`] once, and
//!   shape the answer; the books are out of their reach.
//! - [`state`]: the books behind their one door. It awaits nothing while it holds the lock.
//! - [`waiting`]: requests that are parked on a pending lock; [`aftermath`]: what is done for them
//!   and others once the lock of the books is let go.
//! - [`feed`]: what happened lately, for those who look on; [`samples`]: how full things were. They
//!   decide nothing, and are not looked at by those who do.
//! - [`reload`]: reads the configuration again.
//! - [`watch`]: closes connections that make no progress. It looks at no bytes.
//! - [`litter_collection`]: sees to it that leases end in time, and decides nothing.
//! - [`semaphore`]: the pure room, where everything is decided. No clock, no async, no HTTP, no
//!   log, no randomness (but for the seed of a hash table, on which no outcome depends).
//! - [`clock`] and [`ids`]: the only readers of time and randomness.
//! - [`metrics`], [`in_flight`], [`signals`], [`connections`], [`fields`], [`nearest`],
//!   [`log_text`]: small helpers.
//!
//! This library exists for the `throttle` command and its tests; only the HTTP interface is stable.

pub mod aftermath;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod connections;
pub mod feed;
pub mod fields;
pub mod http;
pub mod ids;
pub mod in_flight;
pub mod litter_collection;
pub mod log_text;
pub mod logging;
pub mod metrics;
pub mod nearest;
pub mod process;
pub mod reload;
pub mod samples;
pub mod semaphore;
pub mod signals;
pub mod state;
pub mod waiting;
pub mod watch;

pub mod server;
