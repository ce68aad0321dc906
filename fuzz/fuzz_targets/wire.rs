//! `throttle_fuzz::wire`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| throttle_fuzz::wire::run(bytes));
