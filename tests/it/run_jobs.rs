//! `throttle run` at the prompt of a shell: what reads the terminal, Ctrl+Z, `fg`, `bg` and `&`.
//! See `run_terminal` for what it shows and does without a shell.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
};

use nix::sys::signal::Signal;
use tempfile::{NamedTempFile, TempDir};

use crate::{
    client::eventually,
    server::Server,
    terminal::{CTRL_C, CTRL_D, CTRL_Z, Shell},
};

/// What `$?` is after Ctrl+Z: we stop by SIGSTOP, others by SIGTSTP; elsewhere than on Linux these
/// have other numbers.
const STOPPED: [i32; 2] = [128 + Signal::SIGSTOP as i32, 128 + Signal::SIGTSTP as i32];

/// What answers each line, once it says that it is there.
const CAT: &str = "sh -c 'echo on; exec cat'";

/// What a command waits for that does not read the terminal: a line in a pipe. It waits by itself,
/// for what some shells start in a loop can be stopped at a moment when they do not take notice.
struct Sign {
    directory: TempDir,
    pipe: File,
}

impl Sign {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // For both, so that nobody has to wait until it is opened.
        let pipe = File::options().read(true).write(true).open(&path).unwrap();
        Sign { directory, pipe }
    }

    /// A command that says its process id, waits for the sign, and ends with exit code 7.
    fn script(&self) -> String {
        self.script_after("")
    }

    /// The same, with something to do before.
    fn script_after(&self, before: &str) -> String {
        let directory = self.directory.path().display();
        format!(
            "sh -c '{before}echo id:$$; read x <{directory}/pipe; echo off >{directory}/off; exit 7'"
        )
    }

    fn give(&mut self) {
        self.pipe.write_all(b"\n").unwrap();
    }

    /// Whether the command has received it.
    fn is_received(&self) -> bool {
        self.directory.path().join("off").exists()
    }
}

/// Types a line at [`CAT`], and waits for the answer.
fn say(shell: &mut Shell, line: &str) {
    shell.until("its first word", |lines| lines.iter().any(|line| line == "on"));
    shell.press(&format!("{line}\n"));
    shell.until("an answer", |lines| lines.iter().filter(|shown| *shown == line).count() == 2);
}

/// The number after `id:` on the screen.
fn id_shown(shell: &mut Shell) -> u32 {
    // In the background it comes after a prompt.
    let id = |line: &String| line.rsplit_once("id:")?.1.parse().ok();
    let lines = shell.until("a process id", |lines| lines.iter().any(|line| id(line).is_some()));
    lines.iter().rev().find_map(id).unwrap()
}

/// As `ps` tells it: `T` if it is stopped; empty if there is no such process.
fn state(process: u32) -> String {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &process.to_string()]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().chars().take(1).collect()
}

fn is_gone(process: u32) -> bool {
    matches!(&*state(process), "" | "Z")
}

fn assert_is_at_prompt(shell: &mut Shell) {
    assert_eq!((0, vec!["here".to_owned()]), shell.run("echo he're'"));
}

#[test]
fn command_reads_what_is_typed() {
    let server = Server::with_max(1);
    let mut shell = Shell::start(&server);

    shell.enter(&format!("throttle run A -- {CAT}"));
    say(&mut shell, "one");
    assert_eq!(0, server.remainder("A"));
    say(&mut shell, "two");
    shell.press(CTRL_D);

    assert_eq!(0, shell.prompt());
    assert_eq!(["on", "one", "one", "two", "two"], *shell.shown());
    assert_eq!(1, server.remainder("A"));
    assert_is_at_prompt(&mut shell);
}

#[test]
fn command_opens_the_terminal_by_itself() {
    let server = Server::with_max(1);
    let mut shell = Shell::start(&server);

    shell.enter("throttle run A -- sh -c 'echo on; read x </dev/tty; echo got $x' </dev/null");
    shell.until("its word", |lines| lines.last().is_some_and(|line| line == "on"));
    shell.press("one\n");

    assert_eq!(0, shell.prompt());
    assert_eq!(["on", "one", "got one"], *shell.shown());
    assert_is_at_prompt(&mut shell);
}

#[test]
fn command_changes_how_the_terminal_reads() {
    let server = Server::with_max(1);
    let mut shell = Shell::start(&server);
    let (_, before) = shell.run("stty -a");
    shell.run("clear");

    shell
        .enter("throttle run A -- sh -c 'stty -echo; echo secret; read x; stty echo; echo got $x'");
    shell.until("a question", |lines| lines.iter().any(|line| line == "secret"));
    shell.press("one\n");

    assert_eq!(0, shell.prompt());
    assert_eq!(["secret", "got one"], *shell.shown());
    shell.run("clear");
    assert_eq!((0, before), shell.run("stty -a"));
}

#[test]
fn shell_is_the_command() {
    let server = Server::with_max(1);
    let mut shell = Shell::start(&server);

    shell.enter("PS1='inner: ' throttle run A -- bash --norc --noprofile -i");
    shell.until("a prompt", |lines| lines.last().is_some_and(|line| line == "inner:"));
    assert_eq!(0, server.remainder("A"));
    shell.enter(CAT);
    say(&mut shell, "one");
    shell.press(CTRL_Z);
    shell.until_shown("Stopped");
    shell.enter("fg");
    shell.until("it is back", |lines| lines.last().is_some_and(|line| line.contains("exec cat")));
    say(&mut shell, "two");
    shell.press(CTRL_C);
    shell.until("a prompt", |lines| lines.last().is_some_and(|line| line == "inner:"));
    shell.enter("echo status $?");
    shell.until_shown("status 130");
    shell.enter("exit 5");

    assert_eq!(5, shell.prompt());
    assert_eq!(1, server.remainder("A"));
    assert_is_at_prompt(&mut shell);
}

#[test]
fn ctrl_c_at_a_prompt_of_the_command_is_followed() {
    let server = Server::with_max(1);
    let mut shell = Shell::start(&server);
    shell.enter(&format!("throttle run A -- {CAT}"));
    say(&mut shell, "one");

    shell.press(CTRL_C);

    assert_eq!(130, shell.prompt());
    assert_eq!(1, server.remainder("A"));
    assert_is_at_prompt(&mut shell);
}

#[test]
fn wait_that_ctrl_c_ends_leaves_a_clean_prompt() {
    let server = Server::with_max(1);
    let holder = server.new_peer();
    assert_eq!(200, server.acquire(holder, "A", 1));
    let mut shell = Shell::start(&server);
    shell.enter("throttle run A -- cat");
    shell.until_shown("waiting for `A`");

    shell.press(CTRL_C);

    assert_eq!(130, shell.prompt());
    assert_eq!(0, server.json("/semaphores/A")["waiting"]);
    assert_is_at_prompt(&mut shell);
}

#[test]
fn ctrl_z_stops_the_command_too_and_fg_resumes_both() {
    let server = Server::with_max(1);
    let (mut shell, mut sign) = (Shell::start(&server), Sign::new());
    shell.enter(&format!("throttle run A -- {}", sign.script()));
    let id = id_shown(&mut shell);

    shell.press(CTRL_Z);
    assert!(STOPPED.contains(&shell.prompt()));
    shell.until_shown("Stopped");
    assert_eq!("T", state(id));
    let (_, jobs) = shell.run("jobs");
    assert!(jobs[0].contains("Stopped"), "{jobs:?}");
    shell.enter("fg");
    eventually("it goes on", || state(id) != "T");
    assert_eq!(0, server.remainder("A"));
    sign.give();

    assert_eq!(7, shell.prompt());
    assert!(sign.is_received());
    assert_eq!(1, server.remainder("A"));
    assert_is_at_prompt(&mut shell);
}

#[test]
fn ctrl_z_while_it_starts_stops_it_like_any_other() {
    let server = Server::with_max(1);
    let (mut shell, mut sign) = (Shell::start(&server), Sign::new());

    for _ in 0..10 {
        shell.run("clear");
        shell.enter(&format!("throttle run A -- {}", sign.script()));
        // What watches over the command may not have been started yet.
        id_shown(&mut shell);
        shell.press(CTRL_Z);
        assert!(STOPPED.contains(&shell.prompt()));
        sign.give();
        assert_eq!(7, shell.run("fg").0);
    }
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn ctrl_z_while_the_terminal_is_lent_is_not_forgotten() {
    let server = Server::with_max(1);
    let mut shell = Shell::start(&server);

    for _ in 0..10 {
        shell.run("clear");
        shell.enter("throttle run A -- sh -c 'echo on; read x; exit 7'");
        shell.until("its word", |lines| lines.last().is_some_and(|line| line == "on"));
        shell.press(CTRL_Z);
        assert!(STOPPED.contains(&shell.prompt()));
        shell.enter("fg");
        shell.press("x\n");
        assert_eq!(7, shell.prompt());
    }
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn ctrl_z_stops_a_command_that_reads_and_fg_lends_it_the_terminal_again() {
    let server = Server::with_max(1);
    let mut shell = Shell::start(&server);
    let script = "echo id:$$; read x; echo got $x; read x; echo and $x; exit 7";
    shell.enter(&format!("throttle run A -- sh -c '{script}'"));
    let id = id_shown(&mut shell);
    shell.press("1\n");
    shell.until("an answer", |lines| lines.iter().any(|line| line == "got 1"));

    shell.press(CTRL_Z);
    assert!(STOPPED.contains(&shell.prompt()));
    assert_eq!("T", state(id));
    assert_is_at_prompt(&mut shell);
    let (_, jobs) = shell.run("jobs");
    assert!(jobs[0].contains("Stopped"), "{jobs:?}");
    shell.enter("fg");
    shell.press("2\n");

    assert_eq!(7, shell.prompt());
    assert_eq!("and 2", shell.shown().last().unwrap());
    assert_eq!(1, server.remainder("A"));
    assert_is_at_prompt(&mut shell);
}

#[test]
fn command_that_was_stopped_for_longer_than_its_lease_does_not_go_on() {
    for has_used_it in [false, true] {
        let server = Server::with_max(1);
        let (mut shell, mut sign) = (Shell::start(&server), Sign::new());
        let script = sign.script_after(if has_used_it { "echo on; read x; " } else { "" });
        shell.enter(&format!("throttle run --expires-in 2s A -- {script}"));
        if has_used_it {
            shell.until("its word", |lines| lines.iter().any(|line| line == "on"));
            shell.press("1\n");
        }
        let id = id_shown(&mut shell);
        shell.press(CTRL_Z);
        assert!(STOPPED.contains(&shell.prompt()));
        eventually("the lease ends", || server.remainder("A") == 1);
        sign.give();

        shell.enter("fg");

        assert_eq!(125, shell.prompt(), "has used it: {has_used_it}");
        let mut said = shell.shown();
        said.retain(|line| line.starts_with("throttle: "));
        assert_eq!(1, said.len(), "{said:?}");
        assert!(said[0].starts_with("throttle: lost `A`, ending the command: "), "{said:?}");
        assert!(is_gone(id), "{}", state(id));
        assert!(!sign.is_received());
        assert_is_at_prompt(&mut shell);
    }
}

#[test]
fn bg_resumes_it_in_the_background() {
    let server = Server::with_max(1);
    let (mut shell, mut sign) = (Shell::start(&server), Sign::new());
    shell.enter(&format!("throttle run A -- {}", sign.script()));
    let id = id_shown(&mut shell);
    shell.press(CTRL_Z);
    assert!(STOPPED.contains(&shell.prompt()));

    assert_eq!(0, shell.run("bg").0);

    eventually("it goes on", || state(id) != "T");
    let (_, jobs) = shell.run("jobs");
    assert!(jobs[0].contains("Running"), "{jobs:?}");
    assert_eq!(0, server.remainder("A"));
    sign.give();
    assert_eq!(7, shell.run("wait %1").0);
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn command_in_the_background_runs_and_is_stopped_once_it_reads() {
    let server = Server::with_max(1);
    let (mut shell, mut sign) = (Shell::start(&server), Sign::new());
    shell.run(&format!("throttle run A -- {} &", sign.script()));
    id_shown(&mut shell);
    sign.give();
    assert_eq!(7, shell.run("wait $!").0);
    shell.run("clear");

    shell.run("throttle run A -- sh -c 'echo id:$$; read x; echo got $x; exit 8' &");

    let id = id_shown(&mut shell);
    eventually("it is stopped", || state(id) == "T");
    eventually("the shell knows it", || {
        shell.run("clear");
        shell.run("jobs").1.iter().any(|line| line.contains("Stopped"))
    });
    assert_eq!(0, server.remainder("A"));
    shell.enter("fg");
    shell.press("1\n");
    assert_eq!(8, shell.prompt());
    assert_eq!("got 1", shell.shown().last().unwrap());
    assert_eq!(1, server.remainder("A"));
    assert_is_at_prompt(&mut shell);
}

#[test]
fn wait_in_the_background_draws_no_line() {
    let server = Server::with_max(1);
    let holder = server.new_peer();
    assert_eq!(200, server.acquire(holder, "A", 1));
    let mut shell = Shell::start(&server);

    shell.run("throttle run --timeout 1500ms A -- echo done & wait $!");

    assert!(!shell.raw().contains("waiting for"), "{:?}", shell.raw());
    assert!(shell.raw().contains("throttle: `A` was not free within"), "{:?}", shell.raw());
}

#[test]
fn pipes_work() {
    let server = Server::with_max(1);
    let mut shell = Shell::start(&server);

    shell.enter(&format!("throttle run A -- {CAT} | cat"));
    say(&mut shell, "one");
    shell.press(CTRL_D);
    assert_eq!(0, shell.prompt());

    let (_, shown) = shell.run("throttle run A -- seq 100000 | head -1");
    assert_eq!(["1"], *shown);
    let (_, shown) = shell.run("echo ${PIPESTATUS[0]}");
    assert_eq!(["141"], *shown);
    let (_, shown) = shell.run("echo 1 2 | throttle run A -- cat");
    assert_eq!(["1 2"], *shown);
    assert_eq!(1, server.remainder("A"));
    assert_is_at_prompt(&mut shell);
}

#[test]
fn ctrl_z_stops_all_of_a_pipe() {
    let server = Server::with_max(1);
    let mut shell = Shell::start(&server);
    shell.enter(&format!("throttle run A -- {CAT} | cat"));
    say(&mut shell, "one");

    shell.press(CTRL_Z);

    assert!(STOPPED.contains(&shell.prompt()));
    assert_is_at_prompt(&mut shell);
    shell.enter("fg");
    shell.until("it is back", |lines| lines.last().is_some_and(|line| line.contains("exec cat")));
    say(&mut shell, "two");
    shell.press(CTRL_D);
    assert_eq!(0, shell.prompt());
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn wait_that_ctrl_z_stops_goes_on_and_gets_the_lock() {
    let server = Server::with_max(1);
    let holder = server.new_peer();
    assert_eq!(200, server.acquire(holder, "A", 1));
    let mut shell = Shell::start(&server);
    shell.enter("throttle run A -- echo done");
    shell.until_shown("s: 1st of 1");

    shell.press(CTRL_Z);
    assert!(STOPPED.contains(&shell.prompt()));
    let lines = shell.lines();
    assert!(!lines.iter().any(|line| line.contains("waiting")), "{lines:?}");
    shell.enter("fg");
    shell.until_shown("s: 1st of 1");
    assert_eq!(200, server.delete(&format!("/peers/{holder}")).status);

    assert_eq!(0, shell.prompt());
    assert_eq!("done", shell.shown().last().unwrap());
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn lock_that_was_granted_to_a_stopped_wait_is_used_after_fg() {
    let server = Server::with_max(1);
    let holder = server.new_peer();
    assert_eq!(200, server.acquire(holder, "A", 1));
    let mut shell = Shell::start(&server);
    shell.enter("throttle run A -- echo done");
    shell.until_shown("waiting for `A`");
    shell.press(CTRL_Z);
    assert!(STOPPED.contains(&shell.prompt()));
    assert_eq!(200, server.delete(&format!("/peers/{holder}")).status);

    assert_eq!(0, shell.run("fg").0);

    assert_eq!("done", shell.shown().last().unwrap());
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn closing_the_terminal_of_a_stopped_command_ends_it() {
    let server = Server::with_max(1);
    let (mut shell, sign) = (Shell::start(&server), Sign::new());
    shell.enter(&format!("throttle run A -- {}", sign.script()));
    let id = id_shown(&mut shell);
    shell.press(CTRL_Z);
    assert!(STOPPED.contains(&shell.prompt()));

    let _program = shell.close();

    eventually("the command ends", || is_gone(id));
    eventually("the lock is given back", || server.remainder("A") == 1);
}

#[test]
fn programs_that_paint_the_screen_work() {
    let server = Server::with_max(1);
    let (mut shell, file) = (Shell::start(&server), NamedTempFile::new().unwrap());
    let numbers: String = (1..500).map(|number| format!("line {number}\n")).collect();
    fs::write(&file, numbers).unwrap();
    if !Path::new("/usr/bin/less").exists() {
        // Small systems have none.
        return;
    }

    shell.enter(&format!("throttle run A -- /usr/bin/less {}", file.path().display()));
    shell.until("the first page", |lines| lines.iter().any(|line| line == "line 1"));
    shell.press("G");
    shell.until("the last page", |lines| lines.iter().any(|line| line == "line 499"));
    shell.press("q");

    assert_eq!(0, shell.prompt());
    assert_is_at_prompt(&mut shell);
}
