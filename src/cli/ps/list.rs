//! All semaphores, as a table.

use anstyle::Style;

use super::Room;
use crate::cli::{
    look::Semaphore,
    shown::{RED, YELLOW, counted, duration, escaped},
    table::{Cell, Column, Table},
};

/// What to tell who has no semaphores.
pub fn nothing(url: &str) -> Vec<String> {
    vec![
        format!("no semaphores at {url}"),
        "Its configuration makes them: `A = 42` below `[semaphores]` in `throttle.toml`,"
            .to_owned(),
        "read again on SIGHUP. Those of templates come with their first use.".to_owned(),
    ]
}

/// A line for each, in the order of their names. Where there is no room for all, those come first
/// that somebody waits for, or that are not as they should be.
pub fn lines(semaphores: &[Semaphore], room: Room) -> Vec<String> {
    // One for the heading, and one to say how many more there are.
    let rows = room.height.map_or(semaphores.len(), |height| match height.saturating_sub(1) {
        all if all >= semaphores.len() => semaphores.len(),
        some => some.saturating_sub(1),
    });
    let mut table = Table::new(&[
        Column::new("NAME").cut(),
        Column::number("HELD"),
        Column::number("MAX"),
        Column::number("HOLDERS").spare(3),
        Column::number("WAITING").spare(1),
        Column::number("LONGEST WAIT").spare(2),
        Column::number("LEVEL").spare(4),
        Column::new("NOTE").cut(),
    ]);
    for semaphore in most_wanted(semaphores, rows) {
        let longest = match semaphore.waiting {
            0 => "-".to_owned(),
            _ => duration(semaphore.longest_pending),
        };
        table.push([
            escaped(&semaphore.name).into(),
            semaphore.acquired.into(),
            semaphore.max.into(),
            semaphore.holders.into(),
            waiting(semaphore).into(),
            longest.into(),
            semaphore.level.into(),
            note(semaphore),
        ]);
    }
    let mut lines = table.lines(room.width);
    if rows < semaphores.len() {
        lines.push(format!("… and {} more", semaphores.len() - rows));
    }
    lines
}

/// How many peers wait, and for how many permits where that is another number.
fn waiting(semaphore: &Semaphore) -> String {
    let Semaphore { waiting, pending, .. } = semaphore;
    match pending.as_u64() == u64::try_from(*waiting).ok() {
        true => waiting.to_string(),
        false => format!("{waiting} for {pending}"),
    }
}

/// All that is unusual about a semaphore, the worst first.
pub fn notes(semaphore: &Semaphore) -> Vec<String> {
    let Semaphore { max, acquired, level, configured, .. } = semaphore;
    let mut notes = Vec::new();
    if acquired > max {
        notes.push(format!("over max by {}", acquired - max));
    }
    if semaphore.paused {
        notes.push("paused".to_owned());
    }
    if let Some(configured) = configured {
        if configured.max != *max {
            notes.push(format!("max {} in the file", configured.max));
        }
        if configured.level != *level {
            notes.push(format!("level {} in the file", configured.level));
        }
    }
    match semaphore.source.as_str() {
        "template" => notes.push("template".to_owned()),
        "removed" => notes.push("removed".to_owned()),
        _ => {}
    }
    notes
}

/// The colour that the notes deserve.
pub fn colour(semaphore: &Semaphore) -> Style {
    match semaphore {
        semaphore if semaphore.acquired > semaphore.max => RED,
        semaphore if semaphore.paused => YELLOW,
        _ => Style::new(),
    }
}

fn note(semaphore: &Semaphore) -> Cell {
    Cell::painted(notes(semaphore).join(", "), colour(semaphore))
}

/// So many of them, those first that matter most, in the order in which they came.
fn most_wanted(semaphores: &[Semaphore], count: usize) -> Vec<&Semaphore> {
    let mut ranked: Vec<_> = (0..semaphores.len()).collect();
    ranked.sort_by_key(|ix| {
        let semaphore = &semaphores[*ix];
        match () {
            () if colour(semaphore) != Style::new() => 0,
            () if semaphore.waiting > 0 => 1,
            () if semaphore.acquired > 0 => 2,
            () => 3,
        }
    });
    ranked.truncate(count);
    ranked.sort_unstable();
    ranked.into_iter().map(|ix| &semaphores[ix]).collect()
}

/// In one line: `A: 3 of 42 held by 2 peers, 1 peer waits for 5, level 0, paused`.
pub fn in_one_line(semaphore: &Semaphore) -> String {
    let Semaphore { acquired, max, holders, waiting, pending, level, .. } = semaphore;
    let mut line = format!("{}: {acquired} of {max} held", escaped(&semaphore.name));
    if *holders > 0 {
        line += &format!(" by {}", counted(*holders, "peer"));
    }
    line += &match waiting {
        0 => ", nobody waits".to_owned(),
        1 => format!(", 1 peer waits for {pending}"),
        many => format!(", {many} peers wait for {pending}"),
    };
    line + &format!(", level {level}")
}
