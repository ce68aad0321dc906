//! The configuration file.
//!
//! The bytes are its text.

use std::{path::Path, str};

use throttle::{
    config::{Config, ConfigError},
    semaphore::{
        Catalogue, Changes, Effects, Leases, PeerId, Rules, Source, Timestamp, invariants,
    },
};

/// Refuses it with the place and the key of what is wrong, or opens books with it.
pub fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match Config::parse(text, Path::new("throttle.toml")) {
        Ok(config) => {
            assert_eq!(config.what_needs_restart(&config.clone()), [""; 0]);
            assert!(!config.litter_collection_interval.is_zero());
            open(config.semaphores);
        }
        Err(error) => check_complaint(text, error),
    }
}

fn check_complaint(text: &str, error: ConfigError) {
    let complaint = error.to_string();
    let ConfigError::Invalid { line, column, key, reason, .. } = error else {
        panic!("no file was read: {complaint}");
    };
    // Split as the line is counted; it may lie behind the last one, where something is missing.
    let lines: Vec<_> = text.split('\n').collect();
    let columns = lines.get(line - 1).map(|line| line.chars().count());
    assert!(columns.is_some_and(|columns| column <= columns + 1), "{complaint}");
    assert!(!reason.trim().is_empty(), "{complaint}");
    let is_toml = toml::from_str::<toml::Table>(text).is_ok();
    assert!(!is_toml || key.starts_with(", key `"), "{complaint}");
    assert!(complaint.starts_with(&format!("throttle.toml, line {line}, ")), "{complaint}");
}

/// Books of these semaphores show them as they are configured, and are as they were when they are
/// configured in the same way again.
fn open(catalogue: Catalogue) {
    let (now, mut effects) = (Timestamp::default(), Effects::new());
    let mut books = Leases::new(catalogue.clone(), Rules::default());
    invariants::check(&books);
    let shown: Vec<_> = books.semaphores(now).collect();
    assert_eq!(catalogue.semaphores.len(), shown.len());
    for (semaphore, (name, config)) in shown.iter().zip(&catalogue.semaphores) {
        assert_eq!((&**name, Source::File), (&*semaphore.name, semaphore.source));
        assert_eq!((config.max, config.level), (semaphore.max, semaphore.level));
    }
    assert_eq!(Changes::default(), books.configure(catalogue.clone(), now, &mut effects));
    for name in catalogue.semaphores.keys() {
        assert!(books.release(PeerId(1), name, now, &mut effects).is_err(), "nobody is there");
        assert_eq!(Ok(catalogue.semaphores[name].max), books.remainder(name, now, &mut effects));
    }
    let gone = books.configure(Catalogue::default(), now, &mut effects);
    assert_eq!(catalogue.semaphores.len(), gone.removed.len());
    invariants::check(&books);
}
