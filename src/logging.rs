//! Log lines on standard error.

use std::env;

use anyhow::{Context, bail};
use env_logger::Builder;
use log::LevelFilter;

use crate::{config::Logging, nearest::nearest};

/// Overrides the level of the configuration, in the filter syntax of env_logger.
const VARIABLE: &str = "THROTTLE_LOG";

/// Starts logging. To be called once.
///
/// # Errors
/// If `THROTTLE_LOG` is set to something that is no filter.
pub fn start(logging: &Logging) -> anyhow::Result<()> {
    let mut builder = Builder::new();
    builder.filter_level(logging.stderr.level);
    match env::var(VARIABLE) {
        Ok(filter) => {
            check(&filter)?;
            builder.parse_filters(&filter);
        }
        Err(env::VarError::NotPresent) => {}
        Err(error) => return Err(error).context(VARIABLE),
    }
    builder.try_init().context("cannot start logging")
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
    for word in filter.split(['/', ',']).map(str::trim) {
        let is_module = word.contains(['=', ':']) || word.parse::<LevelFilter>().is_ok();
        if let Some(level) = nearest(word, levels.iter().copied()).filter(|_| !is_module) {
            bail!("invalid {VARIABLE} `{filter}`, {expected}; did you mean `{level}`?");
        }
    }
    Ok(())
}
