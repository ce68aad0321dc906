//! Everything of Throttle that reads bytes, fed with bytes that nobody would send.
//!
//! Each module is one target: a function that takes any bytes, and panics where something does not
//! hold that always must. `fuzz_targets/` hands them to libFuzzer, which looks for such bytes;
//! `tests/corpus.rs` replays what it has found interesting so far, and needs nothing but Rust.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a target says what it has found"
)]

mod answered;
mod books;
mod metrics;
mod server;

pub mod answer;
pub mod configuration;
pub mod duration;
pub mod gelf;
pub mod http;
pub mod operations;
pub mod server_url;
pub mod wire;

/// A target: what it is called, and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 8] = [
    ("answer", answer::run),
    ("configuration", configuration::run),
    ("duration", duration::run),
    ("gelf", gelf::run),
    ("http", http::run),
    ("operations", operations::run),
    ("server_url", server_url::run),
    ("wire", wire::run),
];
