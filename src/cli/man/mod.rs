//! `throttle man`: manual pages, made of the same texts as the help.

mod sections;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_mangen::{
    Man as Page,
    roff::{Roff, bold, roman},
};

use self::sections::{Entries, Sections};
use super::{Cli, print::print};

/// Print the manual page, or write all of them.
#[derive(Args, Clone, Debug)]
pub struct Man {
    /// Write throttle.1, and a page for each subcommand, into this folder, which is made if it is
    /// missing. `man` finds them in ~/.local/share/man/man1, for instance.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl Man {
    /// Prints it, or writes them.
    ///
    /// # Errors
    /// Where that cannot be done.
    pub fn execute(&self) -> anyhow::Result<ExitCode> {
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        match &self.out {
            None => print(&page(&command)?)?,
            Some(folder) => write_all(&command, folder)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write_all(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let cannot_write = |path: &Path| format!("cannot write `{}`", path.display());
    fs::create_dir_all(folder).with_context(|| cannot_write(folder))?;
    for command in std::iter::once(command).chain(subcommands(command)) {
        let path = folder.join(format!("{}.1", title(command)));
        fs::write(&path, page(command)?).with_context(|| cannot_write(&path))?;
    }
    Ok(())
}

/// Those that people are told of.
fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set())
}

/// Such as `throttle-ps`.
fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> anyhow::Result<String> {
    let version = concat!("throttle ", env!("CARGO_PKG_VERSION"));
    // In the place of a date: an empty one would be left out, and what follows move up.
    let page = Page::new(command.clone()).date(version).source("Throttle");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if subcommands(command).next().is_some() {
        page.render_subcommands_section(&mut text)?;
    }
    let sections = Sections::of(command.get_name());
    let mut roff = Roff::new();
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        heading(&mut roff, sections.after_help);
        lines(&mut roff, &after.to_string());
    }
    if let Some(exit_status) = sections.exit_status {
        heading(&mut roff, "EXIT STATUS");
        lines(&mut roff, exit_status);
    }
    entries(&mut roff, "ENVIRONMENT", &sections.environment);
    entries(&mut roff, "FILES", &sections.files);
    if !sections.examples.is_empty() {
        heading(&mut roff, "EXAMPLES");
        for (example, what) in &sections.examples {
            roff.control("TP", []).text([bold(*example)]).text([roman(*what)]);
        }
    }
    see_also(&mut roff, command);
    roff.to_writer(&mut text)?;
    Ok(String::from_utf8(text)?)
}

fn heading(roff: &mut Roff, title: &str) {
    roff.control("SH", [title]);
}

/// Paragraphs, and lines that begin with a blank as they stand.
fn lines(roff: &mut Roff, text: &str) {
    let mut is_literal = false;
    for line in text.lines() {
        if line.starts_with(' ') != is_literal {
            is_literal = !is_literal;
            roff.control(if is_literal { "nf" } else { "fi" }, []);
        }
        match line.is_empty() {
            true => roff.control("PP", []),
            false => roff.text([roman(line)]),
        };
    }
    if is_literal {
        roff.control("fi", []);
    }
}

fn entries(roff: &mut Roff, title: &str, entries: &Entries) {
    if !entries.is_empty() {
        heading(roff, title);
    }
    for (name, what) in entries {
        roff.control("TP", []).text([bold(*name)]).text([roman(*what)]);
    }
}

/// The page of the whole names those of its parts, and they it.
fn see_also(roff: &mut Roff, command: &Command) {
    let mut titles: Vec<_> = subcommands(command).map(title).collect();
    if titles.is_empty() {
        titles.push("throttle");
    }
    heading(roff, "SEE ALSO");
    let last = titles.len() - 1;
    for (ix, title) in titles.into_iter().enumerate() {
        let comma = if ix == last { "" } else { "," };
        roff.text([bold(title), roman(format!("(1){comma}"))]);
    }
}
