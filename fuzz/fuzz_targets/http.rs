//! `throttle_fuzz::http`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| throttle_fuzz::http::run(bytes));
