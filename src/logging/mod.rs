//! Log lines on standard error, and for Graylog if it is configured. Each sink has a level, a queue
//! and a thread of its own (see `queue`).

pub mod gelf;
mod lines;
mod queue;

use std::{
    env,
    io::{self, Write},
};

use anyhow::{Context, bail};
use env_logger::{Builder, Target};
use log::{LevelFilter, Metadata, Record};

use self::lines::Lines;
pub use self::queue::Queue;
use crate::{config::Logging, nearest::nearest};

/// Overrides the level of the configuration for standard error, in the filter syntax of env_logger.
const VARIABLE: &str = "THROTTLE_LOG";

/// Names that may stand for themselves in a filter, to log everything of theirs.
const OUR_CRATES: [&str; 2] = ["throttle", "actix"];

/// It logs errors, but nobody here has to act when a stranger does not speak HTTP.
const NOT_OURS: &str = "actix_http::h1::dispatcher";

/// Writes a line to standard error, whatever is logged. Without a standard error there is nobody to
/// read it, and nothing is lost.
pub fn note(line: &str) {
    // At once, for standard error has no buffer, and others may read it by pieces.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// A way to standard error that keeps nobody waiting, even where nobody reads it.
///
/// # Errors
/// If its thread cannot be started.
pub fn queue_to_stderr() -> io::Result<Queue> {
    Queue::to("log-stderr", Lines(io::stderr()))
}

/// Logging that has been started. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Log {
    stderr: Queue,
    gelf: Option<Queue>,
}

impl Log {
    /// Waits until all is written that was logged before, but not for long: it may be that nobody
    /// reads it.
    pub fn drain(&self) {
        if let Some(gelf) = &self.gelf {
            gelf.drain();
        }
        // The last, for it is told what went wrong with the other one.
        self.stderr.drain();
    }

    /// How many lines were dropped since the start, by the name of the sink. 0 where there is no
    /// such sink.
    pub fn dropped(&self) -> [(&'static str, u64); 2] {
        let gelf = self.gelf.as_ref().map_or(0, Queue::dropped);
        [("stderr", self.stderr.dropped()), ("gelf", gelf)]
    }
}

/// Starts logging. To be called once. Call [`Log::drain`] of what it returns before the end.
///
/// # Errors
/// If `THROTTLE_LOG` is set to something that is no filter.
pub fn start(logging: &Logging) -> anyhow::Result<Log> {
    const FAILED: &str = "cannot start logging";
    let queue = queue_to_stderr().context(FAILED)?;
    let stderr = to_stderr(logging, &queue)?;
    let mut level = stderr.filter();
    let mut all: Vec<Box<dyn log::Log>> = vec![Box::new(stderr)];
    let mut log = Log { stderr: queue, gelf: None };
    if let Some(gelf) = &logging.gelf {
        let gelf = gelf::Logger::start(gelf, log.stderr.clone()).context(FAILED)?;
        level = level.max(gelf.level());
        log.gelf = Some(gelf.queue());
        all.push(Box::new(gelf));
    }
    log::set_boxed_logger(Box::new(FanOut(all))).context(FAILED)?;
    log::set_max_level(level);
    Ok(log)
}

fn to_stderr(logging: &Logging, queue: &Queue) -> anyhow::Result<env_logger::Logger> {
    let mut builder = Builder::new();
    builder.target(Target::Pipe(Box::new(queue.clone())));
    builder.filter_level(logging.stderr.level);
    match env::var(VARIABLE) {
        Ok(filter) => {
            check(&filter)?;
            builder.parse_filters(&filter);
        }
        Err(env::VarError::NotPresent) => {
            builder.filter_module(NOT_OURS, LevelFilter::Off);
        }
        Err(error) => return Err(error).context(VARIABLE),
    }
    Ok(builder.build())
}

/// Hands each record to all loggers. Each of them leaves out what it is not to log.
struct FanOut(Vec<Box<dyn log::Log>>);

impl log::Log for FanOut {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.iter().any(|logger| logger.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        self.0.iter().for_each(|logger| logger.log(record));
    }

    fn flush(&self) {}
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

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::{queue::Sink, *};

    /// Takes its time, only to lose the line.
    struct Slow;

    impl Sink for Slow {
        fn write(&mut self, _: &[u8]) -> u64 {
            thread::sleep(Duration::from_millis(30));
            1
        }

        fn notice(&self, _: u64) -> Vec<u8> {
            Vec::new()
        }
    }

    fn queue(lines: usize) -> Queue {
        let queue = Queue::to("test", Slow).unwrap();
        (0..lines).for_each(|_| queue.put(b"line".to_vec()));
        queue
    }

    #[test]
    fn both_sinks_are_drained_and_count_what_they_drop() {
        let log = Log { stderr: queue(1), gelf: Some(queue(3)) };

        log.drain();

        assert_eq!([("stderr", 1), ("gelf", 3)], log.dropped());
    }

    #[test]
    fn sink_that_there_is_not_drops_nothing() {
        let log = Log { stderr: queue(2), gelf: None };

        log.drain();

        assert_eq!([("stderr", 2), ("gelf", 0)], log.dropped());
    }
}
