//! What all but the semaphores is set to, defaults included.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    cli::shown::escaped,
    config::{Config, Gelf, Limits},
};

/// One of them.
pub struct Setting {
    /// Its key in the file.
    pub key: &'static str,
    /// What it means, for people.
    pub text: String,
    /// Its value, for programs. Durations as the file has them.
    pub json: Value,
}

/// All of them. `may_wait` requests can wait on this machine at most.
pub fn settings(config: &Config, may_wait: usize) -> Vec<Setting> {
    let mut all = vec![time("litter_collection_interval", config.litter_collection_interval)];
    let window = config.recovery_window();
    all.push(some_time("recovery_window", window, "none: locks are granted from the start on"));
    limits(&config.limits, may_wait, &mut all);
    let (text, has_token) = match &config.admin.token {
        // It is a secret.
        Some(_) => ("set: administrators are those who send it", true),
        None => ("none: administrators are those on the same machine", false),
    };
    all.push(setting("admin.token", text, json!(has_token)));
    let level = config.logging.stderr.level.as_str();
    all.push(setting("logging.stderr.level", level, json!(level)));
    all.push(match &config.logging.gelf {
        None => setting("logging.gelf", "none", Value::Null),
        Some(Gelf { name, host, port, level }) => {
            let (name_shown, host_shown) = (escaped(name), escaped(host));
            let text = format!("{level} to {host_shown}, port {port}, as `{name_shown}`");
            let level = level.as_str();
            let value = json!({"host": host, "port": port, "name": name, "level": level});
            setting("logging.gelf", text, value)
        }
    });
    all
}

fn limits(limits: &Limits, may_wait: usize, all: &mut Vec<Setting>) {
    let number = |key, number: usize| setting(key, number.to_string(), json!(number));
    all.push(number("limits.max_peers", limits.max_peers));
    all.push(number("limits.max_semaphores", limits.max_semaphores));
    let max_waiters = limits.max_waiters.unwrap_or(may_wait).min(may_wait);
    let text = match limits.max_waiters {
        Some(max) if max <= may_wait => max.to_string(),
        _ => format!("{may_wait}, the most that this machine allows"),
    };
    all.push(setting("limits.max_waiters", text, json!(max_waiters)));
    all.push(time("limits.max_block_for", limits.max_block_for));
    all.push(some_time("limits.max_expires_in", limits.max_expires_in, "none: any length"));
    all.push(setting(
        "limits.max_body",
        format!("{} bytes", limits.max_body),
        json!(limits.max_body),
    ));
    all.push(time("limits.header_timeout", limits.header_timeout));
    all.push(time("limits.body_timeout", limits.body_timeout));
}

fn setting(key: &'static str, text: impl Into<String>, json: Value) -> Setting {
    Setting { key, text: text.into(), json }
}

fn time(key: &'static str, time: Duration) -> Setting {
    let text = humantime::format_duration(time).to_string();
    setting(key, text.clone(), json!(text))
}

fn some_time(key: &'static str, some: Option<Duration>, none: &str) -> Setting {
    some.map_or_else(|| setting(key, none, Value::Null), |some| time(key, some))
}
