//! The command as an operator types it: with a server to talk to, in a shell, on a terminal.

use std::process::{Command, Output};

use crate::server::{Server, throttle};

/// What the command printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let Output { status, stdout, stderr } = output;
        Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// What it printed; it must have ended well, and without a word on standard error.
    pub fn good(self) -> String {
        assert_eq!((Some(0), ""), (self.code, self.stderr.as_str()), "{}", self.stdout);
        self.stdout
    }

    /// Its complaint; it must have ended with this code, and printed nothing.
    pub fn bad(self, code: i32) -> String {
        assert_eq!((Some(code), ""), (self.code, self.stdout.as_str()), "{}", self.stderr);
        self.stderr
    }
}

/// Where a server is.
pub fn url(server: &Server) -> String {
    format!("http://{}", server.address)
}

/// The command, which talks to this server.
pub fn at(server: &Server, args: &[&str]) -> Command {
    let mut command = throttle();
    command.env("THROTTLE_URL", url(server)).env_remove("THROTTLE_ADMIN_TOKEN").args(args);
    command
}

/// Runs the command against this server.
pub fn run(server: &Server, args: &[&str]) -> Ran {
    Ran::of(at(server, args).output().unwrap())
}

/// A line of a shell that runs the command against this server as `throttle`.
#[cfg(unix)]
pub fn shell(server: &Server, line: &str) -> Ran {
    let mut shell = Command::new("bash");
    let function = format!("throttle() {{ '{}' \"$@\"; }}; ", env!("CARGO_BIN_EXE_throttle"));
    shell.args(["-c", &(function + line)]).env("THROTTLE_URL", url(server));
    Ran::of(shell.output().unwrap())
}

/// The command on a terminal of this size, with colours.
#[cfg(unix)]
pub fn terminal(server: &Server, size: (u16, u16), args: &[&str]) -> crate::terminal::Terminal {
    let mut command = at(server, args);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("CLICOLOR");
    crate::terminal::Terminal::start(command, size)
}
