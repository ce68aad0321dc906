//! Writes what a run has shown: to the terminal, and into the docs.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::{
    plots,
    results::Results,
    tables::{self, markdown},
    targets,
};

/// What stands between these two is written anew from a run; `NAME` is that of a scenario.
const BEGIN: &str = "<!-- measured: NAME -->\n";
const END: &str = "<!-- end -->";

/// All tables of a run, by the names under which the docs ask for them. `room` is that of the pure
/// room, if it was measured.
fn sections(results: &Results, room: Option<String>) -> BTreeMap<&'static str, String> {
    let mut sections: BTreeMap<_, _> = tables::all(results).into_iter().collect();
    sections.extend(room.map(|table| ("room", table)));
    sections.insert("targets", judged(results));
    let facts = results.machine.iter().map(|(name, value)| format!("- {name}: {value}\n"));
    sections.insert("machine", facts.collect());
    sections
}

/// The targets and whether they were met.
fn judged(results: &Results) -> String {
    let mut lines = vec![["", "target", "measured", ""].map(str::to_owned).to_vec()];
    for judged in targets::judge(results) {
        let verdict = match judged.is_met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not measured",
        };
        lines.push(vec![judged.what, judged.wanted, judged.measured, verdict.to_owned()]);
    }
    markdown(&lines, 1)
}

/// Prints all tables.
pub fn print(results: &Results, room: Option<String>) {
    for (_, table) in tables::all(results) {
        println!("{table}");
    }
    if let Some(table) = room {
        println!("**The pure room, by peers or pending asks**\n\n{table}");
    }
    println!("**Targets**\n\n{}", judged(results));
}

/// Writes the tables into `performance.md` of a folder, and the plots beside it.
///
/// # Errors
/// Where the page asks for a table of which nothing was measured, or a file cannot be written.
pub fn write(results: &Results, room: Option<String>, docs: &Path) -> Result<()> {
    let page = docs.join("performance.md");
    let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let written = fill(&text, &sections(results, room))?;
    fs::write(&page, written)?;
    plots::draw(results, &docs.join("performance"))
}

fn fill(text: &str, sections: &BTreeMap<&'static str, String>) -> Result<String> {
    let (before, after) = BEGIN.split_once("NAME").context("it is there")?;
    let mut written = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once(before) {
        let (name, tail) = tail.split_once(after).context("a section without a name")?;
        let (_, tail) = tail.split_once(END).with_context(|| format!("`{name}` has no end"))?;
        let section = sections.get(name);
        let section = section.with_context(|| format!("nothing was measured for `{name}`"))?;
        ensure!(!section.is_empty(), "nothing was measured for `{name}`");
        written += &[head, before, name, after, "\n", section, "\n", END].concat();
        rest = tail;
    }
    Ok(written + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_written_anew_and_all_else_is_kept() {
        let page = "a\n<!-- measured: cycle -->\nold\n<!-- end -->\nb\n";
        let sections = BTreeMap::from([("cycle", "| new |\n".to_owned())]);

        let written = fill(page, &sections).unwrap();

        let expected = "a\n<!-- measured: cycle -->\n\n| new |\n\n<!-- end -->\nb\n";
        assert_eq!(expected, written);
        assert_eq!(expected, fill(&written, &sections).unwrap());
    }

    #[test]
    fn section_that_was_not_measured_is_an_error() {
        let error = fill("<!-- measured: cycle -->\n<!-- end -->", &BTreeMap::new()).unwrap_err();

        assert_eq!("nothing was measured for `cycle`", error.to_string());
    }
}
