//! Operations on the books, beside the naive model of them.
//!
//! The first byte is how long the recovery window is, if there is one. Each byte that follows picks
//! an operation, and those behind it are its arguments.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use throttle::semaphore::model::{Counts, REMOVABLE, SEMAPHORES, Step, play};

/// The model looks at everything after each step: what takes longer is not worth it.
const MOST: usize = 200;

/// Does all of it to both, which must agree after each step.
pub fn run(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let window = bytes.int_in_range(0..=80_u64).map_or(0, |window| window.saturating_sub(40));
    let mut steps = Vec::new();
    while !bytes.is_empty()
        && steps.len() < MOST
        && let Ok(step) = step(&mut bytes)
    {
        steps.push(step);
    }
    if let Err(difference) = play(window, &steps) {
        panic!("{difference}\nafter a recovery window of {window} s and {steps:#?}");
    }
}

fn step(bytes: &mut Unstructured<'_>) -> Result<Step> {
    let step = match bytes.int_in_range(0..=12)? {
        0 => Step::NewPeer {
            id: id(bytes)?,
            wanted: counts(bytes, 0..=3)?,
            may_queue: mostly(bytes)?,
            expires_in: lease(bytes)?,
        },
        1 => Step::Heartbeat { id: id(bytes)?, expires_in: lease(bytes)? },
        2 => acquire(bytes, false)?,
        3 => acquire(bytes, true)?,
        4 => Step::Release { id: id(bytes)?, semaphore: semaphore(bytes)? },
        5 => Step::RemovePeer { id: id(bytes)? },
        6 => Step::Revoke { id: id(bytes)? },
        7 => Step::Restore {
            id: id(bytes)?,
            held: counts(bytes, 0..=3)?,
            token: some(bytes, |bytes| bytes.int_in_range(0..=120))?,
            expires_in: lease(bytes)?,
        },
        8 => Step::Adjust {
            semaphore: semaphore(bytes)?,
            max: some(bytes, |bytes| bytes.int_in_range(0..=8))?,
            paused: some(bytes, |bytes| bytes.arbitrary())?,
        },
        9 => Step::Reset { semaphore: semaphore(bytes)? },
        10 => configure(bytes)?,
        11 => Step::Wait { seconds: bytes.int_in_range(0..=40)? },
        _ => Step::Collect,
    };
    Ok(step)
}

/// An ask for one semaphore, or for one or more together.
fn acquire(bytes: &mut Unstructured<'_>, whole: bool) -> Result<Step> {
    Ok(Step::Acquire {
        id: id(bytes)?,
        wanted: counts(bytes, if whole { 1..=4 } else { 1..=1 })?,
        whole,
        may_queue: mostly(bytes)?,
        expires_in: some(bytes, lease)?,
    })
}

/// Those that may leave the configuration do so now and then.
fn configure(bytes: &mut Unstructured<'_>) -> Result<Step> {
    let mut maxes = [None; SEMAPHORES.len()];
    for (ix, max) in maxes.iter_mut().enumerate() {
        let is_there = !REMOVABLE.contains(&ix) || mostly(bytes)?;
        *max = is_there.then(|| bytes.int_in_range(0..=8)).transpose()?;
    }
    Ok(Step::Configure { maxes })
}

/// More than there may be peers.
fn id(bytes: &mut Unstructured<'_>) -> Result<u64> {
    bytes.int_in_range(1..=6)
}

/// In seconds; some are longer than allowed.
fn lease(bytes: &mut Unstructured<'_>) -> Result<u64> {
    bytes.int_in_range(1..=30)
}

fn semaphore(bytes: &mut Unstructured<'_>) -> Result<usize> {
    bytes.int_in_range(0..=SEMAPHORES.len() - 1)
}

fn counts(bytes: &mut Unstructured<'_>, size: std::ops::RangeInclusive<usize>) -> Result<Counts> {
    let size = bytes.int_in_range(size)?;
    let mut semaphores = BTreeSet::new();
    while semaphores.len() < size {
        // One that is there already is followed by the next one that is not.
        let first = semaphore(bytes)?;
        let all = (first..SEMAPHORES.len()).chain(0..first);
        semaphores.extend(all.into_iter().find(|ix| !semaphores.contains(ix)));
    }
    semaphores.into_iter().map(|ix| Ok((ix, bytes.int_in_range(-1..=7)?))).collect()
}

/// True for most bytes.
fn mostly(bytes: &mut Unstructured<'_>) -> Result<bool> {
    bytes.ratio(3_u8, 4)
}

fn some<'a, T>(
    bytes: &mut Unstructured<'a>,
    value: impl FnOnce(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Option<T>> {
    bytes.arbitrary::<bool>()?.then(|| value(bytes)).transpose()
}
