//! One semaphore: who holds it, and its queue.

use super::{Room, list};
use crate::{
    cli::{
        look::{Holder, View, Waiting, Who},
        shown::{BOLD, duration, escaped, painted},
        table::{Column, Table, cut},
    },
    semaphore::shows,
};

/// A heading, and a table each of who holds and who waits, if there are any.
pub fn lines(view: &View, room: Room) -> Vec<String> {
    let mut lines = vec![heading(view, room)];
    let (held_by, queue) = shares(view, room.height);
    if held_by > 0 {
        lines.push(String::new());
        lines.extend(holders(&view.held_by[..held_by]).lines(room.width));
        lines.extend(rest(view.semaphore.holders.max(view.held_by.len()), held_by));
    }
    if queue > 0 {
        lines.push(String::new());
        lines.extend(waiters(view, &view.queue[..queue]).lines(room.width));
        lines.extend(rest(view.semaphore.waiting.max(view.queue.len()), queue));
    }
    lines
}

fn heading(view: &View, room: Room) -> String {
    let notes = list::notes(&view.semaphore).join(", ");
    let said = list::in_one_line(&view.semaphore);
    let separator = if notes.is_empty() { "" } else { ", " };
    let width = room.width.unwrap_or(usize::MAX);
    // What is unusual is shown in any case.
    let left = width.saturating_sub(cut(&notes, width).chars().count() + separator.len());
    let notes = painted(list::colour(&view.semaphore), &cut(&notes, width));
    format!("{}{separator}{notes}", painted(BOLD, &cut(&said, left)))
}

/// How many rows of both tables there is room for.
fn shares(view: &View, height: Option<usize>) -> (usize, usize) {
    let (held_by, queue) = (view.held_by.len(), view.queue.len());
    let Some(height) = height else { return (held_by, queue) };
    let tables = usize::from(held_by > 0) + usize::from(queue > 0);
    // The heading; and of each table a blank line and its own heading.
    let room = height.saturating_sub(1 + 2 * tables);
    if held_by + queue <= room {
        return (held_by, queue);
    }
    // Now it is also to be said how many more there are.
    let room = room.saturating_sub(tables);
    let held_by = held_by.min((room / 2).max(room.saturating_sub(queue)));
    (held_by, queue.min(room - held_by))
}

fn rest(all: usize, shown: usize) -> Option<String> {
    (all > shown).then(|| format!("… and {} more", all - shown))
}

fn holders(holders: &[Holder]) -> Table {
    let mut table = Table::new(&[
        Column::new("PEER"),
        Column::new("NAME").cut(),
        Column::number("COUNT"),
        Column::number("HELD FOR"),
        Column::number("LEASE").spare(1),
        Column::new("LABELS").cut().spare(2),
    ]);
    for Holder { who, count, held_for, expires_in } in holders {
        table.push([
            who.peer.into(),
            name(who).into(),
            count.into(),
            duration(*held_for).into(),
            duration(*expires_in).into(),
            labels(who).into(),
        ]);
    }
    table
}

fn waiters(view: &View, queue: &[Waiting]) -> Table {
    let mut table = Table::new(&[
        Column::number("POSITION"),
        Column::new("PEER"),
        Column::new("NAME").cut(),
        Column::number("COUNT"),
        Column::number("WAITING FOR"),
        Column::number("LEASE").spare(2),
        Column::new("STILL NEEDS").cut().spare(1),
        Column::new("LABELS").cut().spare(3),
    ]);
    for waiting in queue {
        let Waiting { who, position, count, pending_for, expires_in, .. } = waiting;
        table.push([
            position.into(),
            who.peer.into(),
            name(who).into(),
            count.into(),
            duration(*pending_for).into(),
            duration(*expires_in).into(),
            still_needs(&view.semaphore.name, waiting).into(),
            labels(who).into(),
        ]);
    }
    table
}

fn name(who: &Who) -> String {
    escaped(who.name.as_deref().unwrap_or_default()).into_owned()
}

/// What is not reserved yet of an ask for several semaphores; nothing where it is for this one
/// alone, as the count says it.
fn still_needs(semaphore: &str, waiting: &Waiting) -> String {
    let needs = &waiting.waits_for;
    if needs.len() == 1 && needs.get(semaphore) == Some(&waiting.count) {
        return String::new();
    }
    let needs = needs.iter().map(|(name, count)| format!("{count} of {}", escaped(name)));
    needs.collect::<Vec<_>>().join(", ")
}

/// As in log lines, what the name shows already is left out.
fn labels(who: &Who) -> String {
    let name = who.name.as_deref().unwrap_or_default();
    let labels = who.labels.iter().filter(|(_, value)| !shows(name, value));
    let labels = labels.map(|(key, value)| format!("{}={}", escaped(key), escaped(value)));
    labels.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(holders: usize, waiters: usize) -> View {
        let holder = |peer| json!({"peer": peer, "count": 1});
        let waiter = |peer| json!({"peer": peer, "count": 2, "position": peer});
        let held_by: Vec<_> = (1..=holders).map(holder).collect();
        let queue: Vec<_> = (1..=waiters).map(waiter).collect();
        let view = json!({
            "name": "A", "max": 5, "acquired": holders, "pending": 2 * waiters,
            "holders": holders, "waiting": waiters, "held_by": held_by, "queue": queue,
        });
        View::read(&view).unwrap()
    }

    #[test]
    fn both_tables_share_the_height() {
        for (holders, waiters) in [(0, 0), (1, 1), (3, 50), (50, 3), (50, 50), (17, 0), (0, 17)] {
            for height in 1..30 {
                let view = view(holders, waiters);
                let (held_by, queue) = shares(&view, Some(height));
                let room = Room { width: None, height: Some(height) };
                let lines = lines(&view, room).len();

                assert!(lines <= height, "{holders} {waiters} {height}: {lines}");
                assert!(held_by <= holders && queue <= waiters);
                let all = height > 24 || holders.max(waiters) < 2 && height > 6;
                if all && holders + waiters < 20 {
                    assert_eq!((holders, waiters), (held_by, queue), "{height}");
                }
            }
        }
        assert_eq!((3, 11), shares(&view(3, 50), Some(21)));
        assert_eq!((7, 7), shares(&view(50, 50), Some(21)));
    }

    #[test]
    fn labels_that_the_name_shows_are_left_out() {
        let who = json!({
            "peer": 1, "name": "etl@node7", "labels": {"host": "node7", "pid": "311", "a": "x y"},
        });
        let who: Who = serde_json::from_value(who).unwrap();

        assert_eq!("a=x y pid=311", labels(&who));
    }
}
