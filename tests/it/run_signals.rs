//! `throttle run` and signals: while it waits, while the command runs, and what is left then.

use std::{
    os::unix::process::ExitStatusExt,
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    client::{Client, eventually},
    running::{
        Ended, HOLD, Place, Running, assert_nothing_left, await_end_of, group, guards, is_alive,
        script, through_shell, waiting_for,
    },
    server::Server,
};

const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// Short enough for a test, where something has to be killed.
const KILL_AFTER: Duration = Duration::from_millis(500);

/// As traps name it.
fn name(signal: Signal) -> &'static str {
    signal.as_str().strip_prefix("SIG").unwrap()
}

/// A script that runs in this place, once it has said so. Its first line notes who it is.
fn granted(server: &Client, options: &str, text: &str, place: &Place) -> (Running, i32) {
    let text = format!("echo $$ > leader; ulimit -c 0; {text}");
    let running = Running::granted(script(server, options, &text).current_dir(place.path()));
    let leader = place.number("leader");
    (running, leader)
}

/// The only permit is held, and somebody is about to wait for it.
fn taken() -> (Server, u64) {
    let server = Server::with_max(1);
    let holder = server.new_peer();
    assert_eq!(200, server.acquire(holder, "A", 1));
    (server, holder)
}

#[test]
fn command_gets_the_signal_and_its_exit_code_counts() {
    let server = Server::with_max(1);

    for signal in ENDING {
        let place = Place::new();
        let name = name(signal);
        let text = format!(
            "trap 'echo {name} >> got; exit 3' {name}; echo in; while :; do sleep 0.05; done"
        );
        let (running, leader) = granted(&server, "A", &text, &place);

        running.signal(signal);
        let ended = running.end();

        assert_eq!(Some(3), ended.code(), "{name}: {ended:?}");
        assert_eq!(format!("{name}\n"), place.text("got"), "once");
        assert_nothing_left(&server);
        await_end_of(leader);
    }
}

#[test]
fn children_of_the_command_get_the_signal_too() {
    let server = Server::with_max(1);

    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let place = Place::new();
        let text = "sleep 1000 & sleep 1000 & echo in; wait";
        let (running, leader) = granted(&server, "A", text, &place);
        assert_eq!(3, group(leader).len());
        assert_eq!(1, guards(leader).len());
        let start = Instant::now();

        running.signal(signal);
        let ended = running.end();

        assert!(group(leader).is_empty(), "all of it is gone by now: {:?}", group(leader));
        assert_eq!(Some(signal as i32), ended.status.signal(), "{ended:?}");
        assert_eq!(0, server.json("/peers/").as_array().unwrap().len());
        // Not by --kill-after, which is ten seconds; nor by somebody who is slow to bury the dead.
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        await_end_of(leader);
    }
}

/// Shells have what they start with `&` ignore these.
#[test]
fn children_that_ignore_the_signal_do_not_outlive_the_command() {
    let server = Server::with_max(1);

    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        let place = Place::new();
        let text = "sleep 1000 & sleep 1000 & echo in; wait";
        let (running, leader) = granted(&server, "A --kill-after 300ms", text, &place);

        running.signal(signal);
        let ended = running.end();

        assert!(group(leader).is_empty(), "all of it is gone by now: {:?}", group(leader));
        assert_eq!(Some(signal as i32), ended.status.signal(), "{ended:?}");
        assert_nothing_left(&server);
        await_end_of(leader);
    }
}

#[test]
fn other_signals_are_forwarded_and_the_command_goes_on() {
    let server = Server::with_max(1);
    let place = Place::new();
    let signals = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGCONT];
    let traps: String =
        signals.map(name).map(|name| format!("trap 'echo {name} >> got' {name}; ")).concat();
    let text = format!("{traps} echo in; while [ ! -e enough ]; do sleep 0.05; done; exit 5");
    let (running, _) = granted(&server, "A", &text, &place);

    for signal in signals {
        running.signal(signal);
        eventually("it has arrived", || {
            place.text("got").ends_with(&format!("{}\n", name(signal)))
        });
    }

    std::fs::write(place.path().join("enough"), "").unwrap();
    assert_eq!(Some(5), running.end().code());
    assert_eq!("USR1\nUSR2\nWINCH\nCONT\n", place.text("got"));
}

#[test]
fn signal_that_nobody_minds_ends_command_and_run() {
    let server = Server::with_max(1);

    for signal in [Signal::SIGUSR1, Signal::SIGALRM] {
        let place = Place::new();
        let (running, leader) = granted(&server, "A", "echo in; exec sleep 1000", &place);

        running.signal(signal);
        let ended = running.end();

        assert_eq!(Some(signal as i32), ended.status.signal(), "{ended:?}");
        assert_nothing_left(&server);
        await_end_of(leader);
    }
}

/// The shell dies at once, what it has started does not: the next one must not run beside it.
#[test]
fn straggler_is_killed_before_the_permit_goes_on() {
    let server = Server::with_max(1);
    let place = Place::new();
    let straggler = "(trap '' TERM; while :; do echo >> beats; sleep 0.02; done) & echo in; wait";
    let options = format!("A --kill-after {}ms", KILL_AFTER.as_millis());
    let (running, leader) = granted(&server, &options, straggler, &place);
    let mut next = script(&server, "A", "echo > started");
    let next = Running::pending(next.current_dir(place.path()), &server, 1);
    place.await_file("beats");
    let told_at = SystemTime::now();

    running.signal(Signal::SIGTERM);
    let ended = running.end();
    next.end();

    assert_eq!(Some(Signal::SIGTERM as i32), ended.status.signal(), "{ended:?}");
    let [last_beat, started] = ["beats", "started"].map(|file| place.written_at(file));
    assert!(last_beat < started, "they ran side by side");
    let grace = last_beat.duration_since(told_at).unwrap();
    assert!(grace > KILL_AFTER * 2 / 3, "it has had its time to end: {grace:?}");
    assert!(group(leader).is_empty());
    assert_nothing_left(&server);
    await_end_of(leader);
}

/// Whoever sends a signal may want to wait for long, as service managers do.
#[test]
fn command_that_takes_its_time_to_end_keeps_its_lock() {
    let server = Server::with_max(1);
    let place = Place::new();
    let text = "trap 'sleep 1; echo > done; exit 4' TERM; echo in; while :; do sleep 0.05; done";
    let (running, _) = granted(&server, "A --kill-after 100ms", text, &place);

    running.signal(Signal::SIGTERM);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(0, server.remainder("A"));
    let ended = running.end();

    assert_eq!(Some(4), ended.code(), "{ended:?}");
    assert!(place.has("done"));
}

#[test]
fn what_a_command_leaves_behind_by_itself_is_left_alone() {
    let server = Server::with_max(1);
    let place = Place::new();
    let text = "sleep 1000 > /dev/null 2>&1 & echo $! > straggler; echo in; exit 6";
    let (running, leader) = granted(&server, "A --kill-after 100ms", text, &place);
    let straggler = place.number("straggler");

    let ended = running.end();

    assert_eq!(Some(6), ended.code());
    assert_nothing_left(&server);
    eventually("the guard is gone", || guards(leader).is_empty());
    assert!(is_alive(straggler));
    kill(Pid::from_raw(straggler), Signal::SIGKILL).unwrap();
}

#[test]
fn who_waits_ends_by_the_signal_at_once_and_leaves_the_queue() {
    let (server, _) = taken();

    for signal in ENDING.into_iter().chain([Signal::SIGUSR1]) {
        let mut command = script(&server, "A", "echo started");
        let mut running = Running::pending(&mut command, &server, 1);
        let start = Instant::now();

        running.signal(signal);
        let status = running.status();
        assert!(start.elapsed() < Duration::from_secs(1), "{signal}: {:?}", start.elapsed());
        eventually("it is gone", || waiting_for(&server, "A") == 0);

        assert!(start.elapsed() < Duration::from_secs(2), "{signal}: {:?}", start.elapsed());
        let ended = running.end();
        assert_eq!((Some(signal as i32), ""), (status.signal(), ended.text()), "{ended:?}");
        assert_eq!(1, server.json("/peers/").as_array().unwrap().len());
    }
}

#[test]
fn signals_that_end_nobody_do_not_end_who_waits() {
    let (server, holder) = taken();
    let mut command = script(&server, "A", "echo started");
    let running = Running::pending(&mut command, &server, 1);

    for signal in [Signal::SIGWINCH, Signal::SIGCONT, Signal::SIGCHLD, Signal::SIGURG] {
        running.signal(signal);
    }
    // Time enough to end in, for one that minds them.
    thread::sleep(Duration::from_millis(200));
    assert_eq!(1, waiting_for(&server, "A"));
    server.delete(&format!("/peers/{holder}"));

    let ended = running.end();
    assert_eq!((Some(0), "started"), (ended.code(), ended.text()));
}

#[test]
fn who_waits_for_a_server_that_hangs_ends_soon_and_leaves_nothing() {
    let (server, holder) = taken();
    let mut command = script(&server, "A", "echo started");
    let mut running = Running::pending(&mut command, &server, 1);
    let start = Instant::now();

    server.signal("STOP");
    running.signal(Signal::SIGTERM);
    let status = running.status();
    let took = start.elapsed();
    server.signal("CONT");

    assert_eq!(Some(Signal::SIGTERM as i32), status.signal());
    assert!(took < Duration::from_secs(4), "{took:?}");
    // The withdrawal is what the server reads next.
    eventually("it is gone", || waiting_for(&server, "A") == 0);
    server.delete(&format!("/peers/{holder}"));
    assert_nothing_left(&server);
}

#[test]
fn second_signal_does_not_wait_for_a_server_that_hangs() {
    let (server, _) = taken();
    let mut command = script(&server, "A", "echo started");
    let mut running = Running::pending(&mut command, &server, 1);

    server.signal("STOP");
    running.signal(Signal::SIGTERM);
    thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    running.signal(Signal::SIGINT);
    let status = running.status();
    let took = start.elapsed();
    server.signal("CONT");

    assert!(status.signal().is_some(), "{status:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// `timeout` makes a group of its own for what it runs, and so do shells with job control.
#[cfg(target_os = "linux")]
#[test]
fn what_has_left_the_group_gets_the_signal_too() {
    let server = Server::with_max(1);
    let strays = [
        "timeout 1000 sh -c 'echo $$ > stray; echo in; sleep 1000; :'; :",
        "bash -c 'set -m; sh -c \"echo \\$\\$ > stray; echo in; sleep 1000; :\" & wait'; :",
    ];

    for (text, killed) in strays.into_iter().flat_map(|text| [(text, false), (text, true)]) {
        let place = Place::new();
        let (mut running, leader) = granted(&server, "A --expires-in 3s", text, &place);
        let stray = place.number("stray");

        running.signal(if killed { Signal::SIGKILL } else { Signal::SIGTERM });
        running.status();

        if killed {
            eventually("the guard ends it", || !is_alive(stray));
        }
        assert!(!is_alive(stray), "{text}");
        await_end_of(leader);
        eventually("the lock is free", || server.remainder("A") == 1);
    }
}

/// As where a terminal is closed, which tells both the shell and us.
#[test]
fn second_signal_right_behind_the_first_leaves_nothing_in_the_queue() {
    let (server, _) = taken();

    for _ in 0..5 {
        let mut command = script(&server, "A", "echo started");
        let running = Running::pending(&mut command, &server, 1);
        running.signal(Signal::SIGTERM);
        running.signal(Signal::SIGHUP);
        let ended = running.end();

        assert!(ended.status.signal().is_some(), "{ended:?}");
        assert_eq!(0, waiting_for(&server, "A"));
    }
}

/// As `nohup` has it.
#[test]
fn signal_that_is_ignored_from_the_start_stays_so() {
    let (server, holder) = taken();
    let place = Place::new();
    let inner = script(&server, "A", "echo $$ > leader; echo in; read line; echo out");
    let mut outer = through_shell("trap '' HUP; exec \"$@\"", &inner);
    let mut running = Running::pending(outer.current_dir(place.path()), &server, 1);

    running.signal(Signal::SIGHUP);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(1, waiting_for(&server, "A"), "it still waits");
    server.delete(&format!("/peers/{holder}"));
    running.await_output();
    running.signal(Signal::SIGHUP);
    kill(Pid::from_raw(place.number("leader")), Signal::SIGHUP).unwrap();
    thread::sleep(Duration::from_millis(200));
    running.go_on();

    let ended = running.end();
    assert_eq!((Some(0), "in\nout"), (ended.code(), ended.text()), "{ended:?}");
    assert_nothing_left(&server);
}

/// Some who start programs ignore it, so that they need not wait for them.
#[test]
fn end_of_the_command_is_seen_even_where_the_caller_ignores_sigchld() {
    let server = Server::with_max(1);
    let inner = script(&server, "A", "exit 7");

    let ended = Ended::of(&mut through_shell("trap '' CHLD; exec \"$@\"", &inner));

    assert_eq!(Some(7), ended.code(), "{ended:?}");
    assert_nothing_left(&server);
}

#[test]
fn signal_at_any_moment_leaves_nothing_behind() {
    let server = Server::with_max(1);
    let place = Place::new();

    for delay in (0..120).step_by(5) {
        let text = "echo $$ > leader; exec sleep 1000";
        let mut command = script(&server, "A", text);
        let mut running = Running::start(command.current_dir(place.path()));
        thread::sleep(Duration::from_millis(delay));

        running.signal(Signal::SIGTERM);
        let status = running.status();

        assert_eq!(Some(Signal::SIGTERM as i32), status.signal(), "after {delay} ms");
        assert_nothing_left(&server);
        if let Ok(leader) = place.text("leader").trim().parse() {
            assert!(group(leader).is_empty(), "after {delay} ms");
        }
    }
}

#[test]
fn guard_does_not_outlive_its_command() {
    let server = Server::with_max(1);
    let place = Place::new();
    let (mut running, leader) = granted(&server, "A", HOLD, &place);
    assert_eq!(1, guards(leader).len());

    running.go_on();
    running.end();

    await_end_of(leader);
}
