//! `throttle_fuzz::server_url`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| throttle_fuzz::server_url::run(bytes));
