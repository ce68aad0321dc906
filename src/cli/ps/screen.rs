//! A terminal that is drawn anew in place. It shows another page meanwhile, as `less` does, and
//! what was there before is there again afterwards.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use terminal_size::{Height, Width};

use super::Room;

/// Another page, without a cursor, and without breaking lines that are too long.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";

/// Undoes that.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// To the beginning of the page.
const HOME: &str = "\x1b[H";

/// Clears what is left of a line, and of the page. What is written over need not be cleared before,
/// and so nothing flickers.
const END_OF_LINE: &str = "\x1b[K";
const END_OF_PAGE: &str = "\x1b[J";

/// For a terminal that does not say how large it is.
const USUAL: (usize, usize) = (80, 24);

/// A terminal that is drawn anew in place. It is as it was once this is dropped.
#[derive(Debug, Default)]
pub struct Screen {
    is_entered: bool,
}

/// Whether standard output is a terminal that can be drawn on.
pub fn is_there() -> bool {
    io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// How wide standard output is; any number of lines scrolls through it.
pub fn width() -> Room {
    let size = terminal_size::terminal_size_of(io::stdout());
    Room { width: size.map(|(Width(width), _)| width.into()), height: None }
}

impl Screen {
    /// How much there is room for, now.
    pub fn room() -> (usize, usize) {
        let size = terminal_size::terminal_size_of(io::stdout());
        let (width, height) =
            size.map_or(USUAL, |(Width(width), Height(height))| (width.into(), height.into()));
        // To clear what is left of a line would take away its last letter where it is full.
        (width.saturating_sub(1).max(1), height.max(1))
    }

    /// Brings back what was there before. It can be drawn on again.
    pub fn leave(&mut self) {
        if self.is_entered {
            self.is_entered = false;
            // There is no terminal any more if that fails.
            let _ = write(LEAVE);
        }
    }

    /// Shows these lines and nothing else.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut frame = String::new();
        if !self.is_entered {
            frame += ENTER;
            self.is_entered = true;
        }
        frame += HOME;
        let separator = format!("{END_OF_LINE}\r\n");
        frame += &match AutoStream::choice(&io::stdout()) {
            ColorChoice::Never => {
                let plain = lines.iter().map(|line| strip_str(line).to_string());
                plain.collect::<Vec<_>>().join(&separator)
            }
            _ => lines.join(&separator),
        };
        frame += END_OF_LINE;
        frame += END_OF_PAGE;
        write(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// In one piece, and past what takes colours away, for there would be no page left.
fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
