//! Log lines on standard error, written by a thread of its own (see `queue`).

mod queue;

use std::{
    env,
    io::{self, Write},
};

use anyhow::{Context, bail};
use env_logger::{Builder, Target};
use log::LevelFilter;

pub use self::queue::Queue;
use crate::{config::Logging, nearest::nearest};

/// Overrides the level of the configuration, in the filter syntax of env_logger.
const VARIABLE: &str = "THROTTLE_LOG";

/// Names that may stand for themselves in a filter, to log everything of theirs.
const OUR_CRATES: [&str; 2] = ["throttle", "actix"];

/// Writes a line to standard error, whatever is logged. Without a standard error there is nobody to
/// read it, and nothing is lost.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Starts logging. To be called once. Call [`Queue::drain`] of what it returns before the end.
///
/// # Errors
/// If `THROTTLE_LOG` is set to something that is no filter.
pub fn start(logging: &Logging) -> anyhow::Result<Queue> {
    let queue = Queue::to(io::stderr()).context("cannot start logging")?;
    let mut builder = Builder::new();
    builder.target(Target::Pipe(Box::new(queue.clone())));
    builder.filter_level(logging.stderr.level);
    match env::var(VARIABLE) {
        Ok(filter) => {
            check(&filter)?;
            builder.parse_filters(&filter);
        }
        Err(env::VarError::NotPresent) => {
            // Errors to actix, but nobody here has to act when a stranger does not speak HTTP.
            builder.filter_module("actix_http::h1::dispatcher", LevelFilter::Off);
        }
        Err(error) => return Err(error).context(VARIABLE),
    }
    builder.try_init().context("cannot start logging")?;
    Ok(queue)
}

/// env_logger passes over what it does not understand, and takes a misspelt level for the name of
/// a module; so this is looked for before.
fn check(filter: &str) -> anyhow::Result<()> {
    let expected = "expected ERROR, WARN, INFO, DEBUG, TRACE or OFF, or a list such as \
                    `warn,throttle=debug`";
    env_filter::Builder::new()
        .try_parse(filter)
        .with_context(|| format!("invalid {VARIABLE} `{filter}`, {expected}"))?;
    let levels: Vec<_> = LevelFilter::iter().map(|level| level.as_str()).collect();
    let directives = filter.split('/').next().unwrap_or_default();
    for word in directives.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let is_known = word.parse::<LevelFilter>().is_ok()
            || word.contains(['=', ':'])
            || OUR_CRATES.iter().any(|name| word.starts_with(name));
        if !is_known {
            let hint = nearest(word, levels.iter().copied())
                .map_or_else(String::new, |level| format!("; did you mean `{level}`?"));
            bail!("invalid {VARIABLE} `{filter}`, {expected}{hint}");
        }
    }
    Ok(())
}
