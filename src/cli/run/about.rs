//! What the server is told of who asks, for its lists and log lines. Never the arguments of the
//! command, which may hold secrets.

use std::{env, ffi::OsStr, path::Path, process, str::FromStr};

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};

use crate::{
    process::host,
    semaphore::{self, breaks_lines},
};

/// One of the options: `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    key: String,
    value: String,
}

impl FromStr for Label {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (key, value) = text.split_once('=').context("a label looks like `job=nightly`")?;
        ensure!(!key.is_empty(), "a label has a key, before the `=`");
        let is_short = key.chars().count() <= semaphore::About::LONGEST_KEY;
        ensure!(
            is_short,
            "the key of a label has {} letters at most",
            semaphore::About::LONGEST_KEY
        );
        Ok(Label { key: readable(key)?, value: readable(value)? })
    }
}

/// A name and labels, as fields of a request.
#[derive(Clone, Debug)]
pub struct About(Map<String, Value>);

impl About {
    /// Of this process and its command. What is given goes before what is found out; a label with
    /// an empty value is left out.
    pub fn of(program: &OsStr, name: Option<&str>, given: &[Label]) -> Self {
        let program = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
        let (program, host) = (clean(&program), clean(&host().unwrap_or_default()));
        let user = env::var("USER").or_else(|_| env::var("LOGNAME")).unwrap_or_default();
        let default_name = if host.is_empty() { program } else { format!("{program}@{host}") };
        let name = name.map_or_else(|| clean(&default_name), str::to_owned);
        let mut labels = Map::new();
        for (key, value) in
            [("host", host), ("pid", process::id().to_string()), ("user", clean(&user))]
        {
            labels.insert(key.to_owned(), value.into());
        }
        for Label { key, value } in given {
            labels.insert(key.clone(), value.clone().into());
        }
        labels.retain(|_, value| value != "");
        let fields = json!({"name": name, "labels": labels});
        About(fields.as_object().cloned().unwrap_or_default())
    }

    /// Adds the fields to those of a request.
    pub fn add_to(&self, body: &mut Value) {
        if let Some(fields) = body.as_object_mut() {
            fields.extend(self.0.clone());
        }
    }
}

/// Reads a text that people are shown.
pub fn readable(text: &str) -> anyhow::Result<String> {
    let is_short = text.chars().count() <= semaphore::About::LONGEST_TEXT;
    ensure!(is_short, "it has more than {} letters", semaphore::About::LONGEST_TEXT);
    ensure!(!text.contains(breaks_lines), "it has control characters");
    Ok(text.to_owned())
}

/// Leaves out what the server would refuse of something that nobody has typed.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|letter| !breaks_lines(*letter))
        .take(semaphore::About::LONGEST_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: Option<&str>, labels: &[&str]) -> Value {
        let labels: Vec<Label> = labels.iter().map(|label| label.parse().unwrap()).collect();
        let mut body = json!({"expires_in": "5m"});
        About::of(OsStr::new("/usr/bin/etl"), name, &labels).add_to(&mut body);
        body
    }

    #[test]
    fn program_and_host_make_the_name() {
        let body = fields(None, &[]);

        assert_eq!(format!("etl@{}", host().unwrap()), body["name"].as_str().unwrap());
        assert_eq!(process::id().to_string(), body["labels"]["pid"].as_str().unwrap());
        assert_eq!("5m", body["expires_in"]);
    }

    #[test]
    fn what_is_given_goes_first() {
        let body = fields(Some("nightly"), &["job=load=3", "pid=", "host=here"]);

        assert_eq!("nightly", body["name"]);
        assert_eq!("load=3", body["labels"]["job"]);
        assert_eq!("here", body["labels"]["host"]);
        assert!(body["labels"].get("pid").is_none());
    }

    #[test]
    fn what_is_no_label_is_refused() {
        assert!("nightly".parse::<Label>().is_err());
        assert!("=nightly".parse::<Label>().is_err());
        assert!("job=a\nb".parse::<Label>().is_err());
        assert!(format!("job={}", "x".repeat(129)).parse::<Label>().is_err());
        assert!(format!("{}=x", "k".repeat(33)).parse::<Label>().is_err());
    }
}
