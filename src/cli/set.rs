//! `throttle set`: resize, pause and resume a semaphore, and undo that.

use std::process::ExitCode;

use clap::{ArgGroup, Args, builder::NonEmptyStringValueParser};
use serde_json::{Map, Value};

use super::{
    Remote,
    look::Semaphore,
    print::print,
    remote::explain,
    shown::{escaped, pretty, quoted},
};
use crate::{
    client::{REPLY, Request, Trouble},
    logging,
};

/// Resize, pause or resume a semaphore.
///
/// What is set lasts until it is undone, or the server is restarted. Nothing is revoked: what is
/// held above a smaller max drains; asks for more than it are withdrawn. While a semaphore is
/// paused, nothing is granted, and its queue stays.
///
/// This is for administrators: THROTTLE_ADMIN_TOKEN must be the `admin.token` of the server, or
/// this its own machine where none is configured.
#[derive(Args, Clone, Debug)]
#[command(override_usage = "throttle set [OPTIONS] <SEMAPHORE> <MAX|--pause|--resume|--undo>")]
#[command(group(
    ArgGroup::new("change").args(["max", "pause", "resume", "undo"]).required(true).multiple(true)
))]
pub struct Set {
    /// The semaphore to change.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub semaphore: String,

    /// How many permits there shall be, 0 or more.
    #[arg(value_parser = max, allow_negative_numbers = true)]
    pub max: Option<i64>,

    /// Grant nothing.
    #[arg(long)]
    pub pause: bool,

    /// Grant again.
    #[arg(long, conflicts_with = "pause")]
    pub resume: bool,

    /// Back to what the configuration says: its max, and not paused.
    #[arg(long, conflicts_with_all = ["max", "pause", "resume"])]
    pub undo: bool,

    /// Print what the server says the semaphore is now, as JSON.
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Set {
    /// Sets it, and says what it is now.
    ///
    /// # Errors
    /// [`Trouble`], in words that say what to do.
    pub fn execute(&self) -> anyhow::Result<ExitCode> {
        let client = self.remote.client()?;
        let name = self.semaphore.as_str();
        let request = match self.undo {
            true => Request::new("DELETE", ["semaphores", name]),
            false => Request::new("PUT", ["semaphores", name]).body(self.change()),
        };
        let answer = client
            .send(&request.administrative(), REPLY)
            .map_err(|trouble| explain(&client, trouble, &[name]))?;
        let stranger = || Trouble::stranger(client.url(), &answer.body);
        if self.json {
            let value: Value = answer.json().ok_or_else(stranger)?;
            print(&pretty(&value))?;
            return Ok(ExitCode::SUCCESS);
        }
        let semaphore: Semaphore = answer.json().ok_or_else(stranger)?;
        print(&(in_one_line(&semaphore) + "\n"))?;
        if is_set_by_hand(&semaphore) {
            let name = quoted(&semaphore.name);
            logging::note(&format!(
                "This lasts until the server is restarted, or `throttle set {name} --undo`."
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn change(&self) -> Value {
        let mut change = Map::new();
        if let Some(max) = self.max {
            change.insert("max".to_owned(), max.into());
        }
        if self.pause || self.resume {
            change.insert("paused".to_owned(), self.pause.into());
        }
        Value::Object(change)
    }
}

fn is_set_by_hand(semaphore: &Semaphore) -> bool {
    let is_resized = semaphore.configured.as_ref().is_some_and(|it| it.max != semaphore.max);
    semaphore.paused || is_resized
}

/// Such as `A: max 5 (42 in the configuration), paused, 3 held, 2 wait`.
fn in_one_line(semaphore: &Semaphore) -> String {
    let Semaphore { max, acquired, waiting, paused, .. } = semaphore;
    let configured = match &semaphore.configured {
        Some(configured) if configured.max == *max => " as in the configuration".to_owned(),
        Some(configured) => format!(" ({} in the configuration)", configured.max),
        None => " (gone from the configuration)".to_owned(),
    };
    let paused = if *paused { ", paused" } else { "" };
    let waiting = match waiting {
        0 => "nobody waits".to_owned(),
        1 => "1 waits".to_owned(),
        many => format!("{many} wait"),
    };
    let name = escaped(&semaphore.name);
    format!("{name}: max {max}{configured}{paused}, {acquired} held, {waiting}")
}

fn max(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(max @ 0..) => Ok(max),
        Ok(max) => Err(format!("max {max} is negative, expected 0 or more")),
        Err(_) => Err(format!("expected an integer of 0 to {}", i64::MAX)),
    }
}
