//! `throttle check`: what a configuration means, or what the server would say against it.

mod settings;
mod warnings;

use std::{
    num::NonZero,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use self::settings::settings;
use super::{
    print::print,
    serve::{DEFAULT_CONFIGURATION, is_missing},
    shown::{YELLOW, escaped, painted, pretty},
    table::{Column, Table},
};
use crate::{
    config::Config,
    connections,
    semaphore::{Catalogue, SemaphoreConfig},
};

/// Check a configuration, and print what it means.
///
/// Ends with 1 and the complaint that the server would make, with line and column, if there is one.
/// Warnings are no complaints. Neither asks nor changes any server.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// The configuration. Without it: `throttle.toml` in the working directory.
    pub file: Option<PathBuf>,

    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

impl Check {
    /// Checks it.
    ///
    /// # Errors
    /// [`crate::config::ConfigError`], and where the default is not there.
    pub fn execute(&self) -> anyhow::Result<ExitCode> {
        let file = self.file.as_deref().unwrap_or(Path::new(DEFAULT_CONFIGURATION));
        if self.file.is_none() && is_missing(file) {
            bail!(
                "no `{DEFAULT_CONFIGURATION}` in the working directory; name a file, as in \
                 `throttle check FILE`"
            );
        }
        let config = Config::read(file)?;
        let may_wait = may_wait();
        let warnings = warnings::of(&config, may_wait);
        let text = match self.json {
            true => pretty(&as_json(file, &config, may_wait, &warnings)),
            false => as_text(file, &config, may_wait, &warnings),
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// How many requests could wait at most if the server was started here.
fn may_wait() -> usize {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let connections = connections::for_each_worker(connections::raise_limit(), workers);
    connections::that_may_wait(connections, workers)
}

fn as_json(file: &Path, config: &Config, may_wait: usize, warnings: &[String]) -> Value {
    let list = |key: &str, named: Vec<(String, SemaphoreConfig)>| {
        let named = named.into_iter();
        let all = named.map(
            |(name, SemaphoreConfig { max, level })| json!({key: name, "max": max, "level": level}),
        );
        all.collect::<Vec<_>>()
    };
    let settings = settings(config, may_wait).into_iter();
    let settings = settings.map(|setting| (setting.key.to_owned(), setting.json));
    json!({
        "file": file.display().to_string(),
        "semaphores": list("name", semaphores(config)),
        "templates": list("pattern", templates(config)),
        "settings": settings.collect::<serde_json::Map<_, _>>(),
        "warnings": warnings,
    })
}

fn as_text(file: &Path, config: &Config, may_wait: usize, warnings: &[String]) -> String {
    let mut lines = vec![format!("{} is fine", escaped(&file.display().to_string()))];
    let mut add = |table: Table, remark: Option<&str>| {
        lines.push(String::new());
        lines.extend(table.lines(None));
        lines.extend(remark.map(str::to_owned));
    };
    let (semaphores, templates) = (semaphores(config), templates(config));
    let mut levels: Vec<_> = semaphores.iter().chain(&templates).map(|(_, it)| it.level).collect();
    levels.sort_unstable();
    levels.dedup();
    if !semaphores.is_empty() {
        let order = "Hold those of a higher level first: who holds one may take others only at \
                     lower levels.";
        add(named("SEMAPHORE", semaphores), (levels.len() > 1).then_some(order));
    }
    if !templates.is_empty() {
        let life = "Semaphores of a template are made at their first use, and go when nobody uses \
                    them.";
        add(named("TEMPLATE", templates), Some(life));
    }
    let mut table = Table::new(&[Column::new("SETTING"), Column::new("VALUE")]);
    for setting in settings(config, may_wait) {
        table.push([setting.key.into(), setting.text.into()]);
    }
    add(table, None);
    if !warnings.is_empty() {
        lines.push(String::new());
    }
    let warning = painted(YELLOW, "warning:");
    lines.extend(warnings.iter().map(|text| format!("{warning} {text}")));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn named(title: &'static str, all: Vec<(String, SemaphoreConfig)>) -> Table {
    let mut table =
        Table::new(&[Column::new(title), Column::number("MAX"), Column::number("LEVEL")]);
    for (name, SemaphoreConfig { max, level }) in all {
        table.push([escaped(&name).into(), max.into(), level.into()]);
    }
    table
}

/// The highest level first, as they are to be held.
fn semaphores(config: &Config) -> Vec<(String, SemaphoreConfig)> {
    let Catalogue { semaphores, .. } = &config.semaphores;
    by_level(semaphores.iter().map(|(name, config)| (name.clone(), *config)))
}

/// The highest level first.
fn templates(config: &Config) -> Vec<(String, SemaphoreConfig)> {
    let templates = config.semaphores.templates.iter();
    by_level(templates.map(|template| (template.pattern(), template.config())))
}

fn by_level(
    all: impl Iterator<Item = (String, SemaphoreConfig)>,
) -> Vec<(String, SemaphoreConfig)> {
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, config)| std::cmp::Reverse(config.level));
    all
}
