//! The memory of the server over time, and what is to be thought of it.

use std::time::Duration;

use serde::Serialize;

use crate::{
    results::Spread,
    tables::{markdown, number},
};

/// It may grow by so much from the first minutes to the end.
const GROWTH: f64 = 1.05;

/// A run that is shorter than this says nothing of memory: the heap is still being filled.
const SHORTEST: Duration = Duration::from_secs(10 * 60);

/// What a table of samples over time shows.
const ROWS: usize = 30;

/// How things were at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Since the start.
    pub seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// What of that is no file: heap and stacks.
    pub anonymous_bytes: u64,
    /// Open files, which are connections for the most part.
    pub files: usize,
    /// Threads.
    pub threads: u64,
    /// Peers with a lease, by our own books.
    pub peers: usize,
    /// Locks that are held, and those that are pending, by our own books.
    pub locks: [usize; 2],
    /// Requests that were answered so far.
    pub requests: u64,
}

/// Memory at the beginning and at the end.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// The median of the minute that follows the first tenth.
    pub first_bytes: f64,
    /// The median of the last thirtieth.
    pub last_bytes: f64,
    /// How many times the former the latter is.
    pub ratio: f64,
    /// Whether that is within bounds; `None` where the run was too short to tell.
    pub is_steady: Option<bool>,
}

/// Compares the beginning, that is minute 3 to 4 of thirty, with the end, the last minute.
pub fn judge(samples: &[Sample], length: Duration) -> Option<Memory> {
    let between = |from: f64, to: f64| {
        let [from, to] = [from, to].map(|part| part * length.as_secs_f64());
        let within = samples.iter().filter(|s| from <= s.seconds && s.seconds <= to);
        Some(Spread::of(within.map(|sample| sample.resident_bytes as f64))?.median)
    };
    let first_bytes = between(3.0 / 30.0, 4.0 / 30.0)?;
    let last_bytes = between(29.0 / 30.0, f64::INFINITY)?;
    let ratio = last_bytes / first_bytes;
    let is_steady = (length >= SHORTEST).then_some(ratio <= GROWTH);
    Some(Memory { first_bytes, last_bytes, ratio, is_steady })
}

/// Some of the samples as a table, evenly over time.
pub fn table(samples: &[Sample]) -> String {
    let heads = [
        "minute",
        "RSS, MB",
        "of that heap",
        "files",
        "threads",
        "peers",
        "held",
        "pending",
        "requests",
    ];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    let step = samples.len().div_ceil(ROWS).max(1);
    for sample in samples.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev() {
        let megabytes = |bytes: u64| number(bytes as f64 / 1e6, 2);
        let whole = |value: usize| number(value as f64, 0);
        lines.push(vec![
            number(sample.seconds / 60.0, 1),
            megabytes(sample.resident_bytes),
            megabytes(sample.anonymous_bytes),
            whole(sample.files),
            number(sample.threads as f64, 0),
            whole(sample.peers),
            whole(sample.locks[0]),
            whole(sample.locks[1]),
            number(sample.requests as f64, 0),
        ]);
    }
    markdown(&lines, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident: impl Fn(f64) -> f64) -> Vec<Sample> {
        let sample = |second: u32| Sample {
            seconds: second.into(),
            resident_bytes: resident(second.into()) as u64,
            anonymous_bytes: 0,
            files: 0,
            threads: 0,
            peers: 0,
            locks: [0, 0],
            requests: 0,
        };
        (0..1_800).step_by(5).map(sample).collect()
    }

    #[test]
    fn memory_that_grows_is_found() {
        let length = Duration::from_secs(1_800);
        let is_steady = |resident: fn(f64) -> f64| {
            judge(&samples(resident), length).unwrap().is_steady.unwrap()
        };

        assert!(is_steady(|_| 50e6));
        // What fills up at first is none of it.
        assert!(is_steady(|second| 50e6 * (second / 120.0).min(1.0)));
        assert!(!is_steady(|second| 50e6 + 2e3 * second));
    }

    #[test]
    fn short_run_is_not_judged() {
        let memory = judge(&samples(|second| second), Duration::from_secs(300)).unwrap();

        assert_eq!(None, memory.is_steady);
    }
}
