//! Feeds the targets what comes of the corpus by cutting, repeating and mixing: blind, unlike
//! libFuzzer, but it needs nothing but Rust.
//!
//! Each run draws other bytes. `FUZZ_SEED` repeats one, and `FUZZ_INPUTS` is how many there are.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{env, fs, panic, path::Path, time::UNIX_EPOCH};

use throttle_fuzz::TARGETS;

/// For each target.
const INPUTS: u64 = 100;

/// A splitmix64 generator.
struct Lots(u64);

impl Lots {
    fn draw(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % below.max(1) as u64) as usize
    }

    fn piece<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.draw(bytes.len() + 1);
        let length = self.draw((bytes.len() - start).min(64) + 1);
        &bytes[start..start + length]
    }

    /// One of the inputs, changed in a few places.
    fn mutated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.draw(corpus.len())].clone();
        for _ in 0..=self.draw(6) {
            let at = self.draw(input.len() + 1);
            let until = at + self.piece(&input[at..]).len();
            let put = match self.draw(4) {
                0 => Vec::new(),
                1 => vec![self.draw(256) as u8],
                2 => {
                    let other = self.draw(corpus.len());
                    self.piece(&corpus[other]).to_vec()
                }
                _ => input[at..until].repeat(2 + self.draw(3)),
            };
            let is_inserted = self.draw(2) == 0;
            input.splice(at..if is_inserted { at } else { until }, put);
        }
        input
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "which bytes are drawn shall differ")]
fn seed() -> u64 {
    let now = || std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    number("FUZZ_SEED").unwrap_or_else(|| now() as u64)
}

fn mutate(target: &str) {
    let (_, run) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let seed = seed();
    let mut lots = Lots(seed);
    for _ in 0..number("FUZZ_INPUTS").unwrap_or(INPUTS) {
        let input = lots.mutated(&corpus);
        let ran = panic::catch_unwind(|| run(&input));
        assert!(ran.is_ok(), "FUZZ_SEED={seed}: \"{}\"", input.escape_ascii());
    }
}

macro_rules! mutates {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                mutate(stringify!($target));
            }
        )*
    };
}

mutates! { answer configuration duration gelf http operations server_url wire }
