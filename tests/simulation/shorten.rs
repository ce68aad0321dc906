//! Makes the history of a failure short: leaves out decisions for as long as something breaks.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    dice::{Decision, Script},
    promises::Broken,
};

/// The shortest script that was found which breaks a promise too, and which promise.
///
/// Nobody waits for longer than `time` for it to become shorter still. `run` runs a script, and
/// returns what broke and the decisions that were taken up to then. `None` where the script keeps
/// all promises after all.
pub fn shorten(
    failed: &Script,
    time: Duration,
    mut run: impl FnMut(&Script) -> Option<(Broken, Vec<Decision>)>,
) -> Option<(Script, Broken)> {
    let started = Instant::now();
    let (mut broken, mut kept) = run(failed)?;
    let mut without = |kept: &mut Vec<Decision>, is_left_out: &dyn Fn(usize, Decision) -> bool| {
        let stays = |(place, decision): (usize, &Decision)| !is_left_out(place, *decision);
        let fewer: Vec<_> =
            kept.iter().enumerate().filter(|it| stays(*it)).map(|(_, it)| *it).collect();
        if fewer.len() == kept.len() || started.elapsed() >= time {
            return false;
        }
        let script = Script { seed: failed.seed, kept: Some(Arc::new(fewer)) };
        let Some((now_broken, mut taken)) = run(&script) else { return false };
        taken.sort();
        (*kept, broken) = (taken, now_broken);
        true
    };
    kept.sort();
    // First everything that somebody decides, then halves, quarters, and so on.
    let everybody: BTreeSet<_> = kept.iter().map(|(who, _)| *who).collect();
    for who in everybody {
        without(&mut kept, &|_, decision| decision.0 == who);
    }
    let mut piece = kept.len().div_ceil(2).max(1);
    loop {
        let (mut start, mut has_shrunk) = (0, false);
        while start < kept.len() {
            let places = start..start + piece;
            match without(&mut kept, &|place, _| places.contains(&place)) {
                true => has_shrunk = true,
                false => start += piece,
            }
        }
        if piece == 1 && !has_shrunk {
            break;
        }
        piece = (piece / 2).max(1);
    }
    Some((Script { seed: failed.seed, kept: Some(Arc::new(kept)) }, broken))
}
