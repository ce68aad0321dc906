//! Replays the corpus: what the documentation shows, and what fuzzing has found interesting. Files
//! named `found-…` are inputs that once broke something.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{fs, path::Path};

use throttle_fuzz::TARGETS;

/// Feeds a target all that lies in its folder.
fn replay(target: &str) {
    let (_, run) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        // Printed where it fails.
        println!("{}", file.display());
        run(&fs::read(&file).unwrap());
    }
}

/// A test for each target, so that they run side by side.
macro_rules! replays {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                replay(stringify!($target));
            }
        )*

        #[test]
        fn no_target_is_forgotten() {
            assert_eq!([$(stringify!($target)),*], TARGETS.map(|(name, _)| name));
        }
    };
}

replays! { answer configuration duration gelf http operations server_url wire }
