//! `throttle ps`: what is held, and who waits.

mod list;
mod one;
mod screen;
mod watch;

use std::process::ExitCode;

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::Value;

use self::screen::Screen;
use super::{
    Remote,
    look::{self, Reach, Semaphore, View},
    print::print,
    remote::explain,
    shown::{compact, pretty},
};
use crate::client::{Client, Trouble};

/// Show what is held, and who waits.
///
/// Without a name: all semaphores of the server. With one: who holds it since when, and its queue.
/// On a terminal, what is too wide for it is cut.
#[derive(Args, Clone, Debug)]
pub struct Ps {
    /// The semaphore to show, with everybody who holds it or waits for it.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub semaphore: Option<String>,

    /// As JSON, in the words of the server: a list, or an object with all who hold and wait.
    #[arg(long)]
    pub json: bool,

    /// Again every second, until it is interrupted. With --json, or elsewhere than on a terminal,
    /// round after round.
    #[arg(short, long)]
    pub watch: bool,

    #[command(flatten)]
    remote: Remote,
}

/// How much there is room for, in lines and columns of a terminal; `None` for any number.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    width: Option<usize>,
    height: Option<usize>,
}

/// What is asked for, again and again.
#[derive(Clone, Debug)]
struct Question {
    client: Client,
    semaphore: Option<String>,
}

impl Ps {
    /// Shows it.
    ///
    /// # Errors
    /// [`Trouble`], in words that say what to do.
    pub fn execute(&self) -> anyhow::Result<ExitCode> {
        let question =
            Question { client: self.remote.client()?, semaphore: self.semaphore.clone() };
        let is_screen = !self.json && screen::is_there();
        let reach = if self.watch && is_screen { Reach::Some } else { Reach::All };
        let first = question.ask(reach).map_err(|trouble| question.explain(trouble))?;
        if self.watch {
            return watch::run(question, first, self.json, is_screen.then(Screen::default));
        }
        let text = match self.json {
            true => pretty(&first),
            false => text(&question.lines(&first, screen::width())?),
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Question {
    fn ask(&self, reach: Reach) -> Result<Value, Trouble> {
        match &self.semaphore {
            Some(name) => look::at_one(&self.client, name, reach),
            None => look::at_all(&self.client),
        }
    }

    fn explain(&self, trouble: Trouble) -> anyhow::Error {
        explain(&self.client, trouble, self.semaphore.as_deref().as_slice())
    }

    /// The answer, for people.
    fn lines(&self, answer: &Value, room: Room) -> Result<Vec<String>, Trouble> {
        let read = match self.semaphore {
            Some(_) => View::read(answer).map(|view| one::lines(&view, room)),
            None => Semaphore::read_all(answer).map(|all| match all.is_empty() {
                true => list::nothing(self.client.url()),
                false => list::lines(&all, room),
            }),
        };
        read.ok_or_else(|| Trouble::stranger(self.client.url(), &compact(answer)))
    }
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}
