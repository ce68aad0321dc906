//! A program at a terminal, and who sits before it: types keys, and looks at the screen.

use std::{
    env,
    io::{Read, Write},
    num::NonZeroU16,
    os::fd::AsFd,
    path::Path,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pty_process::{
    Size,
    blocking::{Command as PtyCommand, Pty},
};

use crate::{
    client::{Client, eventually},
    server::throttle,
};

/// No screen takes longer to show what is waited for, also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often to look at what has no screen.
const LOOK: Duration = Duration::from_millis(10);

/// So long a program may take to end after its test.
const LAST: Duration = Duration::from_secs(1);

pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const CTRL_Z: &str = "\x1a";

/// Rows and columns, where the size does not matter.
pub const ROOMY: (u16, u16) = (24, 100);

/// A terminal, and the program that was started in it. Both end with the test.
pub struct Terminal {
    program: Program,
    pty: Pty,
    parser: vt100::Parser,
    raw: Vec<u8>,
}

/// What was started at a terminal.
pub struct Program(Child);

impl Terminal {
    /// Starts a program, which is the leader of the session.
    pub fn start(command: impl Into<PtyCommand>, (rows, columns): (u16, u16)) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(Size::new(rows, columns)).unwrap();
        let program = Program(command.into().spawn(pts).unwrap());
        let parser = vt100::Parser::new(nonzero(rows), nonzero(columns), 0);
        Terminal { program, pty, parser, raw: Vec::new() }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        self.look();
        self.pty.resize(Size::new(rows, columns)).unwrap();
        self.parser.set_size(nonzero(rows), nonzero(columns));
    }

    /// All lines of the screen down to the last that shows something, with no spaces at their ends.
    pub fn lines(&mut self) -> Vec<String> {
        self.look();
        let columns = self.parser.screen().size().1.get();
        let mut lines: Vec<_> = self.parser.screen().rows(0, columns).collect();
        lines.iter_mut().for_each(|line| line.truncate(line.trim_end().len()));
        lines.truncate(lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
        lines
    }

    /// Where the cursor is, from 0: row and column.
    pub fn cursor(&mut self) -> (u16, u16) {
        self.look();
        self.parser.screen().cursor_position()
    }

    /// All that was written so far.
    pub fn raw(&mut self) -> String {
        self.look();
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// Waits until the lines of the screen are as they should be, and returns them.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let began_at = Instant::now();
        loop {
            let lines = self.lines();
            if is_so(&lines) {
                return lines;
            }
            let waited = began_at.elapsed();
            let screen = lines.join("\n");
            assert!(waited < PATIENCE, "never shown: {what}\n{screen}\n(end of the screen)");
            self.receive(PATIENCE - waited);
        }
    }

    /// Waits until some line holds this text, and returns that line.
    pub fn until_shown(&mut self, text: &str) -> String {
        let lines = self.until(text, |lines| lines.iter().any(|line| line.contains(text)));
        lines.into_iter().find(|line| line.contains(text)).unwrap()
    }

    /// Waits until the program has ended, and returns how. Then the screen is complete.
    pub fn wait(&mut self) -> ExitStatus {
        let began_at = Instant::now();
        loop {
            if let Some(status) = self.program.0.try_wait().unwrap() {
                self.look();
                return status;
            }
            let screen = self.lines().join("\n");
            assert!(
                began_at.elapsed() < PATIENCE,
                "it does not end\n{screen}\n(end of the screen)"
            );
            self.receive(LOOK);
        }
    }

    /// Closes the terminal, as somebody closes a window. The program may live on.
    pub fn close(self) -> Program {
        self.program
    }

    /// Takes what is there already.
    fn look(&mut self) {
        while self.receive(Duration::ZERO) {}
    }

    /// Takes the next piece, if one comes in time.
    fn receive(&mut self, patience: Duration) -> bool {
        let mut ready = [PollFd::new(self.pty.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::try_from(patience).unwrap()).unwrap() == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        // There is an error as long as nobody is on the other side.
        let Ok(count @ 1..) = self.pty.read(&mut buffer) else {
            thread::sleep(LOOK.min(patience));
            return false;
        };
        self.raw.extend_from_slice(&buffer[..count]);
        self.parser.process(&buffer[..count]);
        true
    }
}

impl Program {
    /// Waits until it has ended, and returns how.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Shells pass this on to all that they have started. It may have ended already; then there
        // is nothing left to do.
        if let Ok(None) = self.0.try_wait() {
            let id = Pid::from_raw(self.0.id().try_into().unwrap());
            let _ = kill(id, Signal::SIGHUP);
            let began_at = Instant::now();
            while matches!(self.0.try_wait(), Ok(None)) && began_at.elapsed() < LAST {
                thread::sleep(LOOK);
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An interactive shell at a terminal. Each of its prompts shows `$?`, and is told from all others
/// by its number.
pub struct Shell {
    terminal: Terminal,
    prompts: u32,
}

impl Shell {
    /// One where `throttle` is this very program, and talks to this server.
    pub fn start(client: &Client) -> Self {
        let throttle = Path::new(env!("CARGO_BIN_EXE_throttle")).parent().unwrap();
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [throttle.to_owned()].into_iter().chain(env::split_paths(&path));
        let mut command = surroundings(Command::new("bash"), client);
        command
            .args(["--norc", "--noprofile", "-i"])
            .env("PATH", env::join_paths(folders).unwrap())
            .env("PS1", r"[\#: $?] ")
            .env("INPUTRC", "/dev/null")
            .env_remove("PROMPT_COMMAND")
            .env_remove("HISTFILE");
        let mut shell = Shell { terminal: Terminal::start(command, ROOMY), prompts: 0 };
        shell.prompt();
        shell
    }

    /// Closes the terminal, as somebody closes a window. The shell may live on.
    pub fn close(self) -> Program {
        self.terminal.close()
    }

    /// Types a command.
    pub fn enter(&mut self, command: &str) {
        self.terminal.press(&format!("{command}\n"));
    }

    /// Waits for the next prompt, and returns `$?`.
    pub fn prompt(&mut self) -> i32 {
        self.prompts += 1;
        let start = format!("[{}: ", self.prompts);
        let what = format!("prompt {}", self.prompts);
        let is_last = |lines: &[String]| {
            lines.last().is_some_and(|line| line.starts_with(&start) && line.ends_with(']'))
        };
        let lines = self.terminal.until(&what, is_last);
        let status = lines.last().unwrap().strip_prefix(&start).unwrap().strip_suffix(']');
        status.unwrap().parse().unwrap()
    }

    /// Types a command, waits for its end, and returns `$?` and what is on the screen after it.
    pub fn run(&mut self, command: &str) -> (i32, Vec<String>) {
        self.enter(command);
        let status = self.prompt();
        (status, self.shown())
    }

    /// What the last command has shown: the lines between the last two prompts.
    pub fn shown(&mut self) -> Vec<String> {
        let mut lines = self.terminal.lines();
        lines.pop();
        let start = format!("[{}: ", self.prompts - 1);
        let at = lines.iter().rposition(|line| line.starts_with(&start)).map_or(0, |at| at + 1);
        lines.split_off(at)
    }
}

impl std::ops::Deref for Shell {
    type Target = Terminal;

    fn deref(&self) -> &Terminal {
        &self.terminal
    }
}

impl std::ops::DerefMut for Shell {
    fn deref_mut(&mut self) -> &mut Terminal {
        &mut self.terminal
    }
}

/// `throttle run` with these arguments, to be started at a terminal.
pub fn run(client: &Client, arguments: &[&str]) -> Command {
    let mut command = surroundings(throttle(), client);
    command.arg("run").args(arguments);
    command
}

fn surroundings(mut command: Command, client: &Client) -> Command {
    command
        .env("THROTTLE_URL", format!("http://{}", client.address))
        .env("TERM", "xterm-256color")
        .env_remove("THROTTLE_LOG")
        .env_remove("THROTTLE_ADMIN_TOKEN")
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR")
        .env_remove("CLICOLOR_FORCE");
    command
}

fn nonzero(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}
