//! What a configuration is allowed to say, and hardly anybody means.

use log::LevelFilter;

use crate::{cli::shown::escaped, config::Config};

/// All of them, as sentences without an end. `may_wait` requests can wait on this machine at most.
pub fn of(config: &Config, may_wait: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    about_semaphores(config, &mut warnings);
    if let Some(window) = config.recovery_window() {
        let window = humantime::format_duration(window);
        warnings.push(format!("after each start, nothing is granted for {window}"));
    }
    if let Some(max) = config.limits.max_waiters.filter(|max| *max > may_wait) {
        warnings.push(format!(
            "limits.max_waiters is {max}, but no more than {may_wait} can wait on this machine"
        ));
    }
    if config.logging.stderr.level == LevelFilter::Off && config.logging.gelf.is_none() {
        warnings.push("nothing is logged, not even locks that expire".to_owned());
    }
    warnings
}

fn about_semaphores(config: &Config, warnings: &mut Vec<String>) {
    let semaphores = config.semaphores.semaphores.iter();
    let named = semaphores.map(|(name, config)| (escaped(name).into_owned(), *config));
    let templates = config.semaphores.templates.iter();
    let patterns = templates.map(|template| (template.pattern(), template.config()));
    let all: Vec<_> = named.chain(patterns).collect();
    if all.is_empty() {
        warnings.push(
            "no semaphores: whoever asks for one is refused; name some below `[semaphores]`, such \
             as `A = 42`"
                .to_owned(),
        );
    }
    for (name, _) in all.iter().filter(|(_, config)| config.max == 0) {
        warnings.push(format!("`{name}` has max 0: it grants nothing"));
    }
    let level = all.first().map(|(_, config)| config.level);
    if let Some(level) = level.filter(|level| all.iter().all(|(_, it)| it.level == *level))
        && (all.len() > 1 || !config.semaphores.templates.is_empty())
    {
        warnings.push(format!(
            "all semaphores are at level {level}: who holds one cannot take another; give levels \
             to those that are to be nested, or ask for them together"
        ));
    }
}
