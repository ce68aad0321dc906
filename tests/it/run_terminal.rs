//! `throttle run` at a terminal: what people see while they wait, and what their keys do. See
//! `run_jobs` for what they do by way of a shell.

use std::{
    fs,
    io::{self, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::process::ExitStatusExt,
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use nix::sys::signal::Signal;
use pty_process::blocking::Command as PtyCommand;
use tempfile::TempDir;

use crate::{
    client::{Client, eventually},
    server::Server,
    terminal::{CTRL_C, CTRL_Z, ROOMY, Terminal, run},
};

/// The seconds in ``waiting for `A`, 2s``.
fn seconds(line: &str) -> u64 {
    let (_, rest) = line.split_once("`, ").unwrap();
    rest.split_once('s').unwrap().0.parse().unwrap()
}

fn waiting(client: &Client, semaphore: &str) -> u64 {
    client.json(&format!("/semaphores/{semaphore}"))["waiting"].as_u64().unwrap()
}

fn escape(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Takes the permits of `A` in turn: the first of these peers holds it, the others wait.
fn peers(server: &Server, number: usize) -> Vec<u64> {
    let peers: Vec<_> = (0..number).map(|_| server.new_peer()).collect();
    for (at, peer) in peers.iter().enumerate() {
        assert_eq!(if at == 0 { 200 } else { 202 }, server.acquire(*peer, "A", 1));
    }
    peers
}

fn go(server: &Server, peer: u64) {
    assert_eq!(200, server.delete(&format!("/peers/{peer}")).status);
}

#[test]
fn place_in_the_queue_and_time_are_shown_while_it_waits() {
    let server = Server::with_max(1);
    let before = peers(&server, 2);

    let mut terminal = Terminal::start(run(&server, &["A", "--", "echo", "done"]), ROOMY);
    eventually("it waits", || waiting(&server, "A") == 2);
    let after = server.new_peer();
    assert_eq!(202, server.acquire(after, "A", 1));

    let line = terminal.until_shown("s: 2nd of 3");
    assert!(line.starts_with("waiting for `A`, "), "{line}");
    let later = format!("waiting for `A`, {}s: 2nd of 3", seconds(&line) + 1);
    terminal.until_shown(&later);
    go(&server, before[1]);
    terminal.until_shown("s: 1st of 2");
    assert_eq!(1, terminal.lines().len());
    go(&server, before[0]);
    assert_eq!(Some(0), terminal.wait().code());
    assert_eq!(["done"], *terminal.lines());
    assert_eq!((1, 0), terminal.cursor());
}

#[test]
fn what_is_free_at_once_shows_nothing_of_its_own() {
    let server = Server::with_max(1);

    let mut terminal = Terminal::start(run(&server, &["A", "--", "echo", "done"]), ROOMY);

    assert_eq!(Some(0), terminal.wait().code());
    assert_eq!("done\r\n", terminal.raw());
}

#[test]
fn line_is_cut_where_the_terminal_is_narrow() {
    let server = Server::with_max(1);
    let before = peers(&server, 2);

    let mut terminal = Terminal::start(run(&server, &["A", "--", "echo", "done"]), (5, 25));

    terminal.until_shown("s: 2n…");
    let line = terminal.until_shown("waiting for `A`, 3s");
    assert_eq!("waiting for `A`, 3s: 2n…", line);
    assert_eq!((1, 0), (terminal.lines().len(), terminal.cursor().0));
    terminal.resize(5, 21);
    terminal.until("the line fits", |lines| {
        lines[0].starts_with("waiting for `A`, ") && seconds(&lines[0]) > 3
    });
    assert_eq!((1, 0), (terminal.lines().len(), terminal.cursor().0));
    before.into_iter().rev().for_each(|peer| go(&server, peer));
    assert_eq!(Some(0), terminal.wait().code());
    assert_eq!(["done"], *terminal.lines());
}

#[test]
fn names_with_wide_letters_are_cut_by_the_columns_that_they_take() {
    let name = "毎晩のデータ取り込み処理";
    let server = Server::start(&format!("[semaphores]\n\"{name}\" = 1\n"));
    let holder = server.new_peer();
    assert_eq!(200, server.put(&format!("/peers/{holder}/{}", escape(name)), "1").status);

    let mut terminal = Terminal::start(run(&server, &[name, "--", "echo", "done"]), (5, 30));

    terminal.until_shown("waiting for");
    eventually("it is drawn three times", || terminal.raw().matches("\x1b[K").count() >= 3);
    assert_eq!((1, 0), (terminal.lines().len(), terminal.cursor().0), "{:?}", terminal.lines());
    go(&server, holder);
    assert_eq!(Some(0), terminal.wait().code());
    assert_eq!(["done"], *terminal.lines());
}

#[test]
fn control_characters_in_a_name_do_no_harm() {
    let name = "a\x1b[2J\x07\n\u{9b}31mb";
    let server = Server::start("[semaphores]\n\"a\\u001b[2J\\u0007\\n\\u009b31mb\" = 1\n");
    let holder = server.new_peer();
    assert_eq!(200, server.put(&format!("/peers/{holder}/{}", escape(name)), "1").status);

    let arguments = ["--timeout", "2500ms", name, "--", "echo", "done"];
    let mut terminal = Terminal::start(run(&server, &arguments), ROOMY);

    let shown = r"`a\u{1b}[2J\u{7}\n\u{9b}31mb`";
    let line = terminal.until_shown("s: 1st of 1");
    assert!(line.starts_with(&format!("waiting for {shown}, ")), "{line}");
    assert_eq!(Some(124), terminal.wait().code());
    assert_eq!([format!("throttle: {shown} was not free within 2s 500ms")], *terminal.lines());
    let raw = terminal.raw().replace("\x1b[K", "").replace(['\r', '\n'], "");
    assert!(!raw.contains(char::is_control), "{raw:?}");
}

#[test]
fn paused_semaphore_is_said_to_be_paused() {
    let server = Server::with_max(1);
    server.adjust("A", r#"{"paused":true}"#);

    let mut terminal = Terminal::start(run(&server, &["A", "--", "echo", "done"]), ROOMY);

    terminal.until_shown("s: 1st of 1, paused");
    server.adjust("A", r#"{"paused":false}"#);
    assert_eq!(Some(0), terminal.wait().code());
    assert_eq!(["done"], *terminal.lines());
}

#[test]
fn several_semaphores_are_named_and_the_place_is_that_in_one_of_them() {
    let server = Server::start("[semaphores]\nA = 1\nB = 5\n");
    let before = peers(&server, 1);

    let arguments = ["B=2", "A", "--", "echo", "done"];
    let mut terminal = Terminal::start(run(&server, &arguments), ROOMY);

    let line = terminal.until_shown("s: 1st of 1 for ");
    assert!(line.starts_with("waiting for 2 of `B` and `A`, "), "{line}");
    go(&server, before[0]);
    assert_eq!(Some(0), terminal.wait().code());
    assert_eq!(["done"], *terminal.lines());
}

#[test]
fn quiet_shows_nothing() {
    let server = Server::with_max(1);
    peers(&server, 1);

    let arguments = ["--quiet", "--timeout", "1500ms", "A", "--", "echo", "done"];
    let mut terminal = Terminal::start(run(&server, &arguments), ROOMY);

    assert_eq!(Some(124), terminal.wait().code());
    assert_eq!("", terminal.raw());
}

#[test]
fn dumb_terminal_gets_no_line() {
    for kind in ["dumb", ""] {
        let server = Server::with_max(1);
        peers(&server, 1);

        let mut command = run(&server, &["--timeout", "1500ms", "A", "--", "echo", "done"]);
        if kind.is_empty() {
            command.env_remove("TERM")
        } else {
            command.env("TERM", kind)
        };
        let mut terminal = Terminal::start(command, ROOMY);

        assert_eq!(Some(124), terminal.wait().code());
        assert_eq!("throttle: `A` was not free within 1s 500ms\r\n", terminal.raw());
    }
}

#[test]
fn standard_error_elsewhere_gets_no_line() {
    let server = Server::with_max(1);
    peers(&server, 1);
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("stderr");

    let command = run(&server, &["--timeout", "1500ms", "A", "--", "echo", "done"]);
    let stderr = Stdio::from(fs::File::create(&file).unwrap());
    let mut terminal = Terminal::start(PtyCommand::from(command).stderr(stderr), ROOMY);

    assert_eq!(Some(124), terminal.wait().code());
    assert_eq!("", terminal.raw());
    let written = fs::read_to_string(file).unwrap();
    assert_eq!("throttle: `A` was not free within 1s 500ms\n", written);
}

#[test]
fn no_color_has_no_colours() {
    let server = Server::with_max(1);
    peers(&server, 1);
    let has_colours = |raw: String| {
        raw.split("\x1b[").skip(1).any(|rest| {
            rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ';')
                .starts_with('m')
        })
    };

    for arguments in [&["A"][..], &["--timeout", "1500ms", "A", "--", "echo", "done"]] {
        let mut command = run(&server, arguments);
        command.env("NO_COLOR", "1");
        let mut terminal = Terminal::start(command, ROOMY);

        assert_ne!(Some(0), terminal.wait().code());
        assert!(!terminal.raw().is_empty());
        assert!(!has_colours(terminal.raw()), "{:?}", terminal.raw());
    }
    let mut terminal = Terminal::start(run(&server, &["A"]), ROOMY);
    assert_eq!(Some(125), terminal.wait().code());
    assert!(has_colours(terminal.raw()), "{:?}", terminal.raw());
}

/// The way to a server, which can be shut.
struct Gate {
    address: SocketAddr,
    /// Both ends of all connections; `None` while it is shut.
    connections: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Gate {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Some(Vec::new())));
        let open = connections.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut open = open.lock().unwrap();
                let Some(open) = open.as_mut() else { continue };
                let far = TcpStream::connect(server).unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let [mut from, mut to] = [from, to].map(|end| end.try_clone().unwrap());
                    thread::spawn(move || {
                        // It ends with the connection.
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.flush();
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
                open.extend([near, far]);
            }
        });
        Gate { address, connections }
    }

    fn shut(&self) {
        for end in self.connections.lock().unwrap().take().unwrap() {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn open(&self) {
        *self.connections.lock().unwrap() = Some(Vec::new());
    }
}

#[test]
fn line_says_that_the_server_is_away_and_that_it_is_back() {
    let server = Server::with_max(1);
    let before = peers(&server, 1);
    let gate = Gate::to(server.address);
    let url = format!("http://{}", gate.address);

    let arguments = ["--url", &url, "A", "--", "echo", "done"];
    let mut terminal = Terminal::start(run(&server, &arguments), (24, 150));
    terminal.until_shown("s: 1st of 1");
    gate.shut();

    terminal.until_shown("s: the server does not answer");
    terminal.until("a note, and the line below it", |lines| {
        lines.len() == 2
            && lines[0].ends_with("; still trying")
            && lines[1].ends_with("s: the server does not answer")
    });
    gate.open();
    terminal.until_shown("s: 1st of 1");
    go(&server, before[0]);
    assert_eq!(Some(0), terminal.wait().code());
    let lines = terminal.lines();
    assert_eq!(2, lines.len(), "{lines:?}");
    assert!(lines[0].starts_with("throttle: ") && lines[0].contains(&url), "{lines:?}");
    assert_eq!("done", lines[1]);
}

#[test]
fn ctrl_c_ends_the_wait_and_leaves_nothing_behind() {
    let server = Server::with_max(1);
    peers(&server, 1);
    let mut terminal = Terminal::start(run(&server, &["A", "--", "echo", "done"]), ROOMY);
    terminal.until_shown("waiting for `A`");
    eventually("it waits", || waiting(&server, "A") == 1);

    terminal.press(CTRL_C);

    assert_eq!(Some(Signal::SIGINT as i32), terminal.wait().signal());
    assert_eq!(0, waiting(&server, "A"));
    assert_eq!(Vec::<String>::new(), terminal.lines());
    assert_eq!((0, 0), terminal.cursor());
}

#[test]
fn ctrl_c_reaches_the_command_which_says_how_it_ends() {
    let server = Server::with_max(1);
    let script = "trap 'echo bye; exit 3' INT; echo on; while :; do sleep 0.05; done";
    let mut terminal = Terminal::start(run(&server, &["A", "--", "sh", "-c", script]), ROOMY);
    terminal.until_shown("on");

    terminal.press(CTRL_C);

    assert_eq!(Some(3), terminal.wait().code());
    assert_eq!(["on", "^Cbye"], *terminal.lines());
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn command_that_ctrl_c_ends_is_followed() {
    let server = Server::with_max(1);
    let arguments = ["A", "--", "sh", "-c", "echo on; exec sleep 60"];
    let mut terminal = Terminal::start(run(&server, &arguments), ROOMY);
    terminal.until_shown("on");

    terminal.press(CTRL_C);

    assert_eq!(Some(Signal::SIGINT as i32), terminal.wait().signal());
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn command_learns_that_the_size_has_changed() {
    let server = Server::with_max(1);
    let script = "trap 'stty size; exit' WINCH; echo on; while :; do sleep 0.05; done";
    let mut terminal = Terminal::start(run(&server, &["A", "--", "sh", "-c", script]), ROOMY);
    terminal.until_shown("on");

    terminal.resize(10, 50);

    assert_eq!(Some(0), terminal.wait().code());
    assert_eq!(["on", "10 50"], *terminal.lines());
}

#[test]
fn ctrl_z_is_nothing_where_no_shell_would_resume_it() {
    let server = Server::with_max(1);
    let script = "echo on; read x; echo got $x; read x; echo and $x; exit 7";
    let mut terminal = Terminal::start(run(&server, &["A", "--", "sh", "-c", script]), ROOMY);
    terminal.until_shown("on");
    terminal.press(CTRL_Z);
    terminal.press("1\n");
    terminal.until_shown("got 1");

    terminal.press(CTRL_Z);
    terminal.press("2\n");

    terminal.until_shown("and 2");
    assert_eq!(Some(7), terminal.wait().code());
}

#[test]
fn closing_the_terminal_ends_the_command_and_gives_the_lock_back() {
    for has_used_it in [false, true] {
        let server = Server::with_max(1);
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("signal");
        let ask = if has_used_it { "read x;" } else { "" };
        let script = format!(
            "trap 'echo HUP > {}; exit 4' HUP; echo on; {ask} echo go; while :; do sleep 0.05; done",
            file.display()
        );
        let mut terminal = Terminal::start(run(&server, &["A", "--", "sh", "-c", &script]), ROOMY);
        terminal.until_shown("on");
        terminal.press("x\n");
        terminal.until_shown("go");

        let mut program = terminal.close();

        assert_eq!(Some(4), program.wait().code(), "has used it: {has_used_it}");
        assert_eq!("HUP\n", fs::read_to_string(&file).unwrap());
        assert_eq!(1, server.remainder("A"));
    }
}

#[test]
fn closing_the_terminal_ends_the_wait() {
    let server = Server::with_max(1);
    peers(&server, 1);
    let mut terminal = Terminal::start(run(&server, &["A", "--", "echo", "done"]), ROOMY);
    terminal.until_shown("waiting for `A`");

    let mut program = terminal.close();

    assert_eq!(Some(Signal::SIGHUP as i32), program.wait().signal());
    assert_eq!(0, waiting(&server, "A"));
}
