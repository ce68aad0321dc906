//! `throttle ps --watch`: again every second. A server that does not answer does not end it, nor
//! does it keep the display from saying so.

use std::{future, process::ExitCode, time::Duration};

use serde_json::Value;
use tokio::{
    runtime::Builder,
    sync::mpsc::unbounded_channel,
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};

use super::{Question, Reach, Room, Screen, text};
use crate::{
    cli::{
        print::try_print,
        shown::{YELLOW, compact, duration, escaped_lines, painted},
        table::cut,
    },
    client::Trouble,
    clock::Stopwatch,
    logging,
    process::listen,
};

const ROUND: Duration = Duration::from_secs(1);

/// An answer that takes no longer than this is not worth a word.
const SILENCE: Duration = Duration::from_secs(2);

/// What is known, and where it is shown.
struct Watch {
    question: Question,
    is_json: bool,
    screen: Option<Screen>,
    /// What the server said last; `None` where it says that there is nothing any more.
    seen: Option<Value>,
    seen_at: Stopwatch,
    trouble: Option<Trouble>,
    /// Which trouble standard error has been told of.
    told: Option<String>,
    is_first: bool,
}

/// Shows the first answer, and then asks again until a signal ends it, or nobody reads any more.
pub fn run(
    question: Question,
    first: Value,
    is_json: bool,
    screen: Option<Screen>,
) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut watch = Watch {
        question,
        is_json,
        screen,
        seen: Some(first),
        seen_at: Stopwatch::start(),
        trouble: None,
        told: None,
        is_first: true,
    };
    let ended = runtime.block_on(watch.rounds());
    // A request that is on its way is not waited for.
    runtime.shutdown_background();
    ended
}

impl Watch {
    async fn rounds(&mut self) -> anyhow::Result<ExitCode> {
        let (teller, mut signals) = unbounded_channel();
        // Nobody listens any more only where the process is about to end.
        listen(move |signal| {
            let _ = teller.send(signal);
        })?;
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        rounds.tick().await;
        let mut goes_on = self.show()?;
        let mut asked: Option<JoinHandle<_>> = None;
        while goes_on {
            let answer = async {
                match &mut asked {
                    Some(answer) => answer.await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(signal) = signals.recv() => {
                    if signal.stops() {
                        // As others have it meanwhile; it is drawn anew afterwards.
                        self.screen.iter_mut().for_each(Screen::leave);
                        signal.stop_ourselves();
                    } else if signal.ends_by_default() {
                        self.screen.iter_mut().for_each(Screen::leave);
                        return Ok(signal.die());
                    }
                }
                answer = answer => {
                    asked = None;
                    goes_on = self.take(answer?)?;
                }
                _ = rounds.tick() => {
                    if asked.is_none() {
                        asked = Some(self.ask());
                    }
                    self.show_silence()?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn ask(&self) -> JoinHandle<Result<Value, Trouble>> {
        let reach = if self.screen.is_some() { Reach::Some } else { Reach::All };
        let question = self.question.clone();
        spawn_blocking(move || question.ask(reach))
    }

    /// Whether somebody still reads it.
    fn take(&mut self, answer: Result<Value, Trouble>) -> anyhow::Result<bool> {
        match answer {
            Ok(answer) => {
                self.seen = Some(answer);
                self.seen_at = Stopwatch::start();
                self.trouble = None;
                self.told = None;
                self.show()
            }
            Err(trouble) => {
                // What it refuses to show is not there any more, such as a semaphore of a template.
                if !matches!(trouble, Trouble::Unreachable { .. }) {
                    self.seen = None;
                }
                self.trouble = Some(trouble);
                self.show_silence()?;
                Ok(true)
            }
        }
    }

    /// Whether somebody still reads it.
    fn show(&mut self) -> anyhow::Result<bool> {
        if self.screen.is_some() {
            self.draw()?;
            return Ok(true);
        }
        let Some(seen) = &self.seen else { return Ok(true) };
        let round = match self.is_json {
            true => compact(seen),
            false => {
                let between = if self.is_first { "" } else { "\n" };
                format!("{between}{}", text(&self.question.lines(seen, Room::default())?))
            }
        };
        self.is_first = false;
        Ok(try_print(&round)?)
    }

    /// Says that there is no answer: on a screen for how long, elsewhere once.
    fn show_silence(&mut self) -> anyhow::Result<()> {
        if self.screen.is_some() {
            self.draw()?;
        } else if let Some(trouble) = &self.trouble {
            let text = escaped_lines(&trouble.to_string());
            if self.told.as_ref() != Some(&text) {
                logging::note(&format!("warning: {text}; asking again every second"));
                self.told = Some(text);
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let (width, height) = Screen::room();
        let mut lines = vec![self.status(width)];
        // With a blank line below the status, where there is room for it.
        let is_airy = height > 8;
        if is_airy {
            lines.push(String::new());
        }
        if let Some(seen) = &self.seen {
            let height = height.saturating_sub(lines.len());
            let room = Room { width: Some(width), height: Some(height) };
            lines.extend(self.question.lines(seen, room)?);
        }
        lines.truncate(height);
        match &mut self.screen {
            Some(screen) => Ok(screen.draw(&lines)?),
            None => Ok(()),
        }
    }

    /// Where it is seen, and whether it still is.
    fn status(&self, width: usize) -> String {
        let url = self.question.client.url();
        let silence = self.seen_at.elapsed();
        let warning = match &self.trouble {
            Some(trouble) if self.seen.is_none() => escaped_lines(&trouble.to_string()),
            None if silence < SILENCE => {
                return cut(&format!("{url} every second, Ctrl+C ends"), width);
            }
            _ => {
                let seconds = Duration::from_secs(silence.as_secs().max(1));
                format!("no answer from {url} for {}", duration(seconds))
            }
        };
        painted(YELLOW, &cut(warning.lines().next().unwrap_or_default(), width))
    }
}
