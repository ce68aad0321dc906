//! `throttle run` as a child process: its command is a script, whose files tell what it did.

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::SystemTime,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{Client, eventually},
    server::throttle,
};

/// Waits until somebody writes a line to it, or closes its standard input.
pub const HOLD: &str = "echo in; read line";

/// `throttle run` with these arguments, with nothing of the surroundings that could change what it
/// does. It is up to them to name a server.
pub fn run(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = throttle();
    for name in ["THROTTLE_URL", "THROTTLE_TOKEN", "THROTTLE_PEER", "THROTTLE_ADMIN_TOKEN"] {
        command.env_remove(name);
    }
    command.arg("run").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// `throttle run` of a script. Options and semaphores are given as one text with blanks between.
pub fn script(server: &Client, options: &str, script: &str) -> Command {
    let url = url(server);
    run(["--url", &url]
        .into_iter()
        .chain(options.split_whitespace())
        .chain(["--", "sh", "-c", script]))
}

/// A command as arguments of a shell that does something before or after it. Not every `sh` passes
/// on that SIGCHLD is ignored; this one does.
pub fn through_shell(text: &str, inner: &Command) -> Command {
    let mut outer = Command::new("bash");
    outer.args(["-c", text, "bash"]).arg(inner.get_program()).args(inner.get_args());
    outer.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    outer
}

pub fn url(server: &Client) -> String {
    format!("http://{}", server.address)
}

/// A `throttle run` that was started. It is killed with the test, and its command with it.
pub struct Running {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: Output,
    stderr: Output,
}

/// What a process has written so far, and whether it goes on.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

/// How a `throttle run` ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = bytes.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Output { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}

impl Running {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let mut process = command.spawn().unwrap();
        let stdout = Output::of(process.stdout.take().unwrap());
        let stderr = Output::of(process.stderr.take().unwrap());
        Running { stdin: process.stdin.take(), process, stdout, stderr }
    }

    /// Starts a script and waits until it runs, which it says by writing something.
    pub fn granted(command: &mut Command) -> Self {
        let mut running = Running::start(command);
        running.await_output();
        running
    }

    /// Starts one that has to wait, as the last of so many.
    pub fn pending(command: &mut Command, server: &Client, waiting: usize) -> Self {
        let mut running = Running::start(command);
        eventually("it is pending", || {
            running.assert_runs();
            waiting_for(server, "A") == waiting
        });
        running
    }

    /// Waits until the command has written something.
    pub fn await_output(&mut self) {
        eventually("the command runs", || {
            let is_there = !self.stdout().is_empty();
            if !is_there {
                self.assert_runs();
            }
            is_there
        });
    }

    fn assert_runs(&mut self) {
        let ended = self.process.try_wait().unwrap();
        assert!(ended.is_none(), "it has ended: {ended:?} {}", self.stderr());
    }

    pub fn id(&self) -> i32 {
        self.process.id().try_into().unwrap()
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id()), signal).unwrap();
    }

    /// Lets a script go on that reads.
    pub fn go_on(&mut self) {
        self.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits for the process alone; something that it has started may still write.
    pub fn status(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("it ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Closes its standard input, and waits for it and for all that it has written.
    pub fn end(mut self) -> Ended {
        self.stdin = None;
        let status = self.status();
        eventually("all that wrote has ended", || {
            self.stdout.reader.is_finished() && self.stderr.reader.is_finished()
        });
        let stdout = self.stdout.bytes.lock().unwrap().clone();
        Ended { status, stdout, stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already. Its command ends by the guard.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("stdout of the run:\n{}stderr:\n{}", self.stdout(), self.stderr());
        }
    }
}

impl Ended {
    /// How one ends.
    pub fn of(command: &mut Command) -> Self {
        Running::start(command).end()
    }

    /// The exit code; `None` where a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What it has written, blanks at the ends left out.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap().trim()
    }
}

/// A directory for what scripts write.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Place(TempDir::new().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    /// What stands in a file; nothing while it is not there.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    /// The number that stands in a file, once there is a whole line.
    pub fn number(&self, name: &str) -> i32 {
        eventually(name, || self.text(name).ends_with('\n'));
        self.text(name).trim().parse().unwrap()
    }

    /// Waits until a file is there.
    pub fn await_file(&self, name: &str) {
        eventually(name, || self.has(name));
    }

    /// When a file was last written.
    pub fn written_at(&self, name: &str) -> SystemTime {
        fs::metadata(self.path().join(name)).unwrap().modified().unwrap()
    }
}

/// How many wait for a semaphore.
pub fn waiting_for(server: &Client, semaphore: &str) -> usize {
    let view = server.json(&format!("/semaphores/{semaphore}"));
    view["waiting"].as_u64().unwrap().try_into().unwrap()
}

/// All processes of a group that have not ended, one line each.
pub fn group(leader: i32) -> Vec<String> {
    let left = processes().into_iter().filter(|process| process.group == leader);
    left.map(|process| process.line).collect()
}

/// Whether a process has not ended.
pub fn is_alive(id: i32) -> bool {
    processes().iter().any(|process| process.id == id)
}

/// What guards the command of this leader, while that runs.
pub fn guards(leader: i32) -> Vec<String> {
    let all = processes();
    let run = all.iter().find(|process| process.id == leader).map(|process| process.parent);
    let of_run = |process: &Process| run.is_some() && process.guarded_run() == run;
    all.into_iter().filter(of_run).map(|process| process.line).collect()
}

/// A process that has not ended, or not been waited for.
struct Process {
    id: i32,
    parent: i32,
    group: i32,
    line: String,
}

impl Process {
    /// For which `throttle run` it guards a command, if it does.
    fn guarded_run(&self) -> Option<i32> {
        let (_, arguments) = self.line.split_once("throttle guard ")?;
        arguments.split_whitespace().next()?.parse().ok()
    }
}

/// All processes but those that have ended and are not waited for.
fn processes() -> Vec<Process> {
    let fields = ["-A", "-o", "pid=,ppid=,pgid=,stat=,args="];
    let output = Command::new("ps").args(fields).output().unwrap().stdout;
    let text = String::from_utf8_lossy(&output);
    let process = |line: &str| {
        let mut fields = line.split_whitespace();
        let mut number = || fields.next()?.parse().ok();
        let [id, parent, group] = [number()?, number()?, number()?];
        let is_there = !fields.next()?.starts_with('Z');
        is_there.then(|| Process { id, parent, group, line: line.to_owned() })
    };
    text.lines().filter_map(process).collect()
}

/// Waits until nothing is left of a command, and of guards whose `throttle run` has ended.
pub fn await_end_of(leader: i32) {
    eventually("the command is gone", || group(leader).is_empty());
    eventually("its guard is gone", || {
        let all = processes();
        let is_there = |run: i32| all.iter().any(|process| process.id == run);
        all.iter().filter_map(Process::guarded_run).all(is_there)
    });
}

/// The server must know of nothing, now.
pub fn assert_nothing_left(server: &Client) {
    assert_eq!(json!([]), server.json("/peers/"));
    for semaphore in server.json("/semaphores").as_array().unwrap() {
        let counts = ["acquired", "pending", "waiting", "holders"].map(|key| &semaphore[key]);
        assert_eq!([&Value::from(0); 4], counts, "{semaphore}");
    }
}
