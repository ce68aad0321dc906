//! The real binary as a child process, on a free port of the loopback interface.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    ops::Deref,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;

use crate::client::{Client, eventually};

/// A running server; it ends with the test.
pub struct Server {
    process: Child,
    client: Client,
    stderr: Lines,
    directory: TempDir,
}

/// All lines that a process has written to standard error so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<String>>);

impl Lines {
    /// Reads until the process closes its end.
    pub fn of(process: &mut Child) -> Self {
        let lines = Lines::default();
        let reader = BufReader::new(process.stderr.take().unwrap());
        let sink = lines.clone();
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                sink.0.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        lines
    }

    pub fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// The command, with nothing of the surroundings that could change what it does.
pub fn throttle() -> Command {
    #[cfg(target_os = "linux")]
    mind_signals();
    let mut command = Command::new(env!("CARGO_BIN_EXE_throttle"));
    command.env_remove("THROTTLE_LOG").stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Has signals be minded that whoever runs the tests has ignored, as `nohup` does: what is started
/// here would ignore them, too.
#[cfg(target_os = "linux")]
fn mind_signals() {
    use signal_hook::{consts::*, flag};
    static MINDED: std::sync::Once = std::sync::Once::new();
    MINDED.call_once(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        for signal in [SIGHUP, SIGINT, SIGQUIT] {
            if ignored & (1 << (signal - 1)) != 0 {
                flag::register(signal, Arc::default()).unwrap();
            }
        }
    });
}

/// Some tests open more connections than a process may by default.
fn raise_limit() {
    #[cfg(unix)]
    {
        static RAISED: std::sync::Once = std::sync::Once::new();
        // Where it cannot be raised, these tests fail and say why.
        RAISED.call_once(|| drop(rlimit::increase_nofile_limit(u64::MAX)));
    }
}

/// Starts the command with a configuration that it must refuse, and returns its complaint.
pub fn refusal_to_start(configuration: &str) -> String {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("throttle.toml"), configuration).unwrap();
    let output = throttle().current_dir(&directory).args(["--port", "0"]).output().unwrap();
    assert_eq!(Some(1), output.status.code());
    String::from_utf8(output.stderr).unwrap()
}

/// A server that listens; its complaint if it has ended instead.
fn launch(
    directory: &TempDir,
    port: u16,
    adjust: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<(Child, Lines, SocketAddr), String> {
    let mut command = throttle();
    command.current_dir(directory).args(["--port", &port.to_string()]);
    let mut process = adjust(&mut command).spawn().unwrap();
    let stderr = Lines::of(&mut process);
    let mut address = None;
    let mut has_ended = false;
    eventually("the server listens", || {
        let text = stderr.text();
        has_ended = !matches!(process.try_wait(), Ok(None));
        address = text
            .lines()
            .find_map(|line| line.split_once("listening on http://"))
            .map(|(_, address)| address.parse().unwrap());
        address.is_some() || has_ended
    });
    if has_ended { Err(stderr.text()) } else { Ok((process, stderr, address.unwrap())) }
}

impl Server {
    /// A server with this configuration.
    pub fn start(configuration: &str) -> Self {
        Server::start_with(configuration, |command| command)
    }

    /// A server with one semaphore `A` of this max.
    pub fn with_max(max: i64) -> Self {
        Server::start(&format!("[semaphores]\nA = {max}\n"))
    }

    /// A server whose command is adjusted before it is started.
    pub fn start_with(
        configuration: &str,
        adjust: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        raise_limit();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("throttle.toml"), configuration).unwrap();
        let (process, stderr, address) =
            launch(&directory, 0, adjust).unwrap_or_else(|text| panic!("the server ended: {text}"));
        Server { process, client: Client::new(address), stderr, directory }
    }

    /// Ends it as a crash would. It can be started again.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.wait();
    }

    /// Starts it again at the same address, with what its configuration says by now.
    pub fn start_again(&mut self) {
        let address = self.client.address;
        // Somebody else may have been given the port meanwhile, for a moment.
        eventually("the port is free", || {
            let Ok((process, stderr, _)) = launch(&self.directory, address.port(), |it| it) else {
                return false;
            };
            (self.process, self.stderr) = (process, stderr);
            true
        });
        // Connections of the old one are of no use.
        self.client = Client::new(address);
    }

    /// Writes another configuration, which counts once it is read again.
    pub fn configure(&self, configuration: &str) {
        std::fs::write(self.file(), configuration).unwrap();
    }

    /// The configuration file.
    pub fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("throttle.toml")
    }

    /// The id of its process.
    #[cfg(target_os = "linux")]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends a signal by name, such as `TERM`.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("stderr of the server:\n{}", self.stderr());
        }
    }
}
