//! Random numbers of a seed that is printed (PGSTOW_TEST_SEED repeats a run), and how many rounds.

use std::{env, time::UNIX_EPOCH};

/// How often to repeat something: the long form is for PGSTOW_TEST_LONG=1.
pub fn rounds(short: u64, long: u64) -> u64 {
    match env::var_os("PGSTOW_TEST_LONG") {
        Some(_) => long,
        None => short,
    }
}

pub struct Random(u64);

impl Random {
    pub fn new(test: &str) -> Self {
        let seed = match env::var("PGSTOW_TEST_SEED") {
            Ok(seed) => seed.parse().expect("PGSTOW_TEST_SEED"),
            Err(_) => UNIX_EPOCH.elapsed().unwrap().as_micros() as u64,
        };
        println!("{test}: PGSTOW_TEST_SEED={seed}");
        Self(seed)
    }

    /// Of a seed that is told otherwise.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `end` - 1 (splitmix64).
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}
