//! Durations on the wire, beside humantime, which the parser goes around where it can.
//!
//! The bytes are the text of a duration.

use std::{str, time::Duration};

use throttle::http::duration::{milliseconds, parse, whole_milliseconds};

/// Parses it both ways. They may differ in one thing only: ours saturates.
pub fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match (parse(text), humantime::parse_duration(text)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(theirs, ours, "`{text}`"),
        (Ok(ours), Err(_)) => assert_eq!(saturated(text), Some(ours), "`{text}`"),
        (Err(_), Ok(theirs)) => panic!("`{text}` is refused, and means {theirs:?}"),
        (Err(complaint), Err(_)) => {
            assert!(complaint.starts_with(&format!("`{text}` is not a duration")), "{complaint}");
        }
    }
    if let Ok(duration) = parse(text) {
        comes_back(duration);
    }
}

/// What a whole number of one unit means that humantime has no room for.
fn saturated(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    // The number itself must be one of 64 bits.
    let number = u128::from(number.parse::<u64>().ok()?);
    let ms = number
        * [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
            .into_iter()
            .find_map(|(name, ms)| (name == unit).then_some(ms))?;
    let seconds = u64::try_from(ms / 1_000).unwrap_or(u64::MAX);
    let is_cut = u128::from(seconds) < ms / 1_000;
    Some(Duration::new(seconds, if is_cut { 0 } else { (ms % 1_000) as u32 * 1_000_000 }))
}

/// What an answer shows of a duration means the same, to the millisecond.
fn comes_back(duration: Duration) {
    let shown = milliseconds(duration);

    let expected = Duration::from_millis(whole_milliseconds(duration));
    assert_eq!(Ok(expected), parse(&shown), "{shown}");
    assert!(expected <= duration);
}
