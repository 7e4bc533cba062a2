//! The fuzzer: `cargo +nightly fuzz run --fuzz-dir tests/fuzz parsers`.
//!
//! PGSTOW_FUZZ names one parser; without it the first byte of the input chooses.
#![no_main]

mod parsers;

use libfuzzer_sys::fuzz_target;
use parsers::PARSERS;

fuzz_target!(|input: &[u8]| {
    match std::env::var("PGSTOW_FUZZ") {
        Ok(wanted) => {
            if let Some((_, parse)) = PARSERS.iter().find(|(name, _)| *name == wanted) {
                parse(input);
            }
        }
        Err(_) => {
            if let Some((first, rest)) = input.split_first() {
                PARSERS[usize::from(*first) % PARSERS.len()].1(rest);
            }
        }
    }
});
