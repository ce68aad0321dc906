//! `throttle run` and its lease: kept, lost, restored, and what happens to the command then.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    client::{Client, eventually},
    running::{
        HOLD, Place, Running, assert_nothing_left, await_end_of, group, run, script, waiting_for,
    },
    server::Server,
};

/// Writes down now and again that it runs. It cannot be asked to end.
const STUBBORN: &str = "trap '' TERM; echo $$ > leader; echo in
                        while :; do echo >> beats; sleep 0.01; done";

/// Does so in two processes, and ends when it is asked to.
const POLITE: &str = "trap 'echo TERM > told; exit 9' TERM; echo $$ > leader
                      while :; do echo >> beats; sleep 0.01; done & echo in; wait";

/// Only one may be in at a time. It stays until it is asked to end, with a child that does so, too.
const EXCLUSIVE: &str = "mkdir inside || echo overlap >> overlaps
                         trap 'rmdir inside; exit' TERM
                         echo $$ > leader; echo in; sleep 1000 & wait";

/// The one that comes after it.
const NEXT: &str = "mkdir inside || echo overlap >> overlaps; echo > started; rmdir inside";

/// Leases are two seconds long here at most, and so long nothing is granted after a start.
const RECOVERING: &str = "recovery_window = \"auto\"\n[limits]\nmax_expires_in = \"2s\"\n\
                          [semaphores]\nA = 1\n";

fn granted(server: &Client, options: &str, text: &str, place: &Place) -> Running {
    Running::granted(script(server, options, text).current_dir(place.path()))
}

fn pending(server: &Client, options: &str, text: &str, place: &Place) -> Running {
    let waiting = waiting_for(server, "A") + 1;
    Running::pending(script(server, options, text).current_dir(place.path()), server, waiting)
}

/// Who holds the only permit.
fn holder(server: &Client) -> u64 {
    server.json("/semaphores/A")["held_by"][0]["peer"].as_u64().unwrap()
}

/// Returns right after a heartbeat, with the first moment at which the lease may end.
fn just_renewed(server: &Client, peer: u64, length: Duration) -> SystemTime {
    let mut end = SystemTime::now();
    eventually("a heartbeat", || {
        let now = SystemTime::now();
        let left = server.json(&format!("/peers/{peer}"))["expires_in"].clone();
        let left = humantime::parse_duration(left.as_str().unwrap()).unwrap();
        end = now + left;
        left > length * 9 / 10
    });
    end
}

#[test]
fn heartbeats_keep_the_lock_beyond_its_lease() {
    let server = Server::with_max(1);
    let place = Place::new();
    let running = granted(&server, "A --expires-in 2s", "echo in; sleep 5; echo out", &place);
    let peer = holder(&server);
    let next = pending(&server, "A --expires-in 1s", "echo next", &place);
    let start = Instant::now();

    while !running.stdout().contains("out") {
        let view = server.json("/semaphores/A");
        if !running.stdout().contains("out") && view["held_by"][0]["peer"] != peer {
            eventually("it has just given it back", || running.stdout().contains("out"));
            assert!(start.elapsed() > Duration::from_secs(4), "{view}");
        }
        assert!(start.elapsed() < Duration::from_secs(15));
        thread::sleep(Duration::from_millis(20));
    }

    let (ended, next) = (running.end(), next.end());
    assert_eq!((Some(0), ""), (ended.code(), ended.stderr.as_str()));
    assert_eq!((Some(0), "next", ""), (next.code(), next.text(), next.stderr.as_str()));
    assert_nothing_left(&server);
}

#[test]
fn lock_is_restored_with_its_token_after_a_restart_of_the_server() {
    let mut server = Server::start(RECOVERING);
    let place = Place::new();
    let tell = "echo $THROTTLE_PEER $THROTTLE_TOKEN; read line; echo $THROTTLE_TOKEN > token";
    let mut running = granted(&server, "A --expires-in 2s", tell, &place);
    let next = "echo $THROTTLE_TOKEN > next";
    let next = pending(&server, "A --expires-in 2s", next, &place);
    eventually("a whole line", || running.stdout().ends_with('\n'));
    let line = running.stdout();
    let (peer, token) = line.trim().split_once(' ').unwrap();

    server.kill();
    server.start_again();

    eventually("it is restored", || server.get(&format!("/peers/{peer}")).status == 200);
    eventually("it grants again", || server.get("/health/granting").status == 200);
    let shown = server.json(&format!("/peers/{peer}"));
    assert_eq!(json!({"A": 1}), shown["acquired"]);
    assert_eq!(token, shown["tokens"]["A"].to_string());
    assert_eq!((0, 1), (server.remainder("A"), waiting_for(&server, "A")));
    assert_eq!("sh", shown["name"].as_str().unwrap().split('@').next().unwrap());
    assert!(!place.has("next"));
    running.go_on();
    let (ended, next) = (running.end(), next.end());
    assert_eq!(Some(0), ended.code(), "{ended:?}");
    assert!(ended.stderr.contains("restored `A` after a restart of"), "{ended:?}");
    assert_eq!(Some(0), next.code(), "{next:?}");
    assert_eq!(token, place.text("token").trim());
    let [token, next] = ["token", "next"].map(|file| place.text(file).trim().parse::<u64>());
    assert!(next.unwrap() > token.unwrap());
    assert_nothing_left(&server);
}

/// A request of before a restart may arrive after it, and make a peer of the same id. Heartbeats of
/// that peer keep nothing that was held before.
#[test]
fn command_is_ended_where_the_server_that_was_restarted_has_another_peer_of_its_id() {
    let mut server = Server::with_max(1);
    let place = Place::new();
    let running = granted(&server, "A --expires-in 5s", POLITE, &place);
    let peer = holder(&server);

    server.kill();
    server.start_again();
    let made = server.post("/new_peer", &format!(r#"{{"expires_in":"1h","peer_id":{peer}}}"#));
    let ended = running.end();

    assert_eq!(200, made.status, "no heartbeat was quicker: {made:?}");
    assert_eq!((Some(125), "in"), (ended.code(), ended.text()), "{ended:?}");
    assert!(ended.stderr.contains("lost `A`, ending the command"), "{ended:?}");
    assert_eq!("TERM\n", place.text("told"));
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn who_waits_gets_its_lock_although_the_server_was_restarted() {
    let mut server = Server::with_max(1);
    let place = Place::new();
    server.acquire(server.new_peer(), "A", 1);
    let first = pending(&server, "A", "echo first >> log", &place);
    let second = pending(&server, "A --timeout 30s", "echo second >> log", &place);

    server.kill();
    // Long enough for them to find nobody there.
    thread::sleep(Duration::from_millis(500));
    server.start_again();

    for running in [first, second] {
        let ended = running.end();
        assert_eq!(Some(0), ended.code(), "{ended:?}");
    }
    assert_eq!(2, place.text("log").lines().count());
    assert_nothing_left(&server);
}

#[test]
fn who_begins_before_the_server_does_gets_its_lock() {
    let mut server = Server::with_max(1);
    server.kill();
    let running = Running::start(&mut script(&server, "A", "echo started"));
    eventually("it says what it waits for", || running.stderr().contains("still trying"));

    server.start_again();

    let ended = running.end();
    assert_eq!((Some(0), "started"), (ended.code(), ended.text()), "{ended:?}");
    assert!(ended.stderr.contains("start one with `throttle`"), "{ended:?}");
    assert_nothing_left(&server);
}

#[test]
fn command_is_ended_before_its_lease_where_the_server_stays_away() {
    let mut server = Server::with_max(2);
    let places = [Place::new(), Place::new()];
    let length = Duration::from_secs(3);
    let stubborn = granted(&server, "A --expires-in 3s", STUBBORN, &places[0]);
    let peer = holder(&server);
    let polite = granted(&server, "A --expires-in 3s", POLITE, &places[1]);
    let leaders = [0, 1].map(|at| places[at].number("leader"));

    let end = just_renewed(&server, peer, length);
    server.kill();
    let killed_at = SystemTime::now();
    let (stubborn, polite) = (stubborn.end(), polite.end());

    let last_beat = places[0].written_at("beats");
    assert!(last_beat < end, "{:?} too long", last_beat.duration_since(end));
    let ran_for = last_beat.duration_since(killed_at).unwrap();
    assert!(ran_for > length / 2, "it had most of its lease: {ran_for:?}");
    assert_eq!("TERM\n", places[1].text("told"));
    assert!(places[1].written_at("beats") < last_beat, "whoever is polite ends earlier");
    for ended in [&stubborn, &polite] {
        assert_eq!((Some(125), "in"), (ended.code(), ended.text()), "{ended:?}");
        for part in ["about to lose `A`", "lost `A`, ending the command", "no server at"] {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        }
    }
    leaders.into_iter().for_each(await_end_of);
}

/// A server that hangs is worse than one that is away: it goes on with what it has in its books.
#[test]
fn command_is_ended_before_the_next_one_starts_where_the_server_hangs() {
    let server = Server::with_max(1);
    let place = Place::new();
    let running = granted(&server, "A --expires-in 2s", STUBBORN, &place);
    let next = pending(&server, "A", "echo > started", &place);
    let leader = place.number("leader");

    server.signal("STOP");
    // The server expires the peer as soon as it goes on, and that is after the end of the lease.
    thread::sleep(Duration::from_millis(2_100));
    server.signal("CONT");
    let (ended, next) = (running.end(), next.end());

    assert_eq!((Some(125), Some(0)), (ended.code(), next.code()), "{ended:?} {next:?}");
    let [last_beat, started] = ["beats", "started"].map(|file| place.written_at(file));
    assert!(last_beat < started, "side by side: {:?}", last_beat.duration_since(started));
    assert!(ended.stderr.contains("about to lose `A`"), "{ended:?}");
    assert_nothing_left(&server);
    await_end_of(leader);
}

#[test]
fn who_is_released_or_revoked_by_somebody_else_ends_its_command() {
    let server = Server::with_max(1);

    for query in ["", "?revoke=true"] {
        let place = Place::new();
        let running = granted(&server, "A --expires-in 2s", POLITE, &place);
        let leader = place.number("leader");

        server.delete(&format!("/peers/{}{query}", holder(&server)));
        let ended = running.end();

        assert_eq!((Some(125), "in"), (ended.code(), ended.text()), "{ended:?}");
        assert!(ended.stderr.contains("lost `A`, ending the command"), "{ended:?}");
        assert!(ended.stderr.contains("somebody released it"), "{ended:?}");
        assert_eq!("TERM\n", place.text("told"));
        assert_nothing_left(&server);
        await_end_of(leader);
    }
}

#[test]
fn who_is_released_while_it_waits_comes_last_and_is_served_all_the_same() {
    let server = Server::with_max(1);
    let place = Place::new();
    let blocker = server.new_peer();
    server.acquire(blocker, "A", 1);
    let first = pending(&server, "A", "echo first >> log", &place);
    let peer = server.json("/semaphores/A")["queue"][0]["peer"].as_u64().unwrap();
    let second = pending(&server, "A", "echo second >> log", &place);

    server.delete(&format!("/peers/{peer}"));
    eventually("both wait", || {
        let queue = server.json("/semaphores/A")["queue"].clone();
        queue.as_array().unwrap().len() == 2 && queue[0]["peer"] != peer
    });
    server.delete(&format!("/peers/{blocker}"));

    for running in [first, second] {
        let ended = running.end();
        assert_eq!((Some(0), ""), (ended.code(), ended.stderr.as_str()));
    }
    assert_eq!("second\nfirst\n", place.text("log"));
    assert_nothing_left(&server);
}

#[test]
fn command_ends_with_run_even_if_that_is_killed_and_the_next_one_gets_the_lock() {
    let server = Server::with_max(1);
    let place = Place::new();
    let mut running = granted(&server, "A --expires-in 2s", EXCLUSIVE, &place);
    let leader = place.number("leader");
    let next = pending(&server, "A", NEXT, &place);
    let killed_at = Instant::now();

    running.signal(Signal::SIGKILL);
    let status = running.status();
    eventually("the command is gone, and its child", || group(leader).is_empty());
    let ended = next.end();

    assert_eq!(Some(Signal::SIGKILL as i32), status.signal());
    assert_eq!(Some(0), ended.code(), "{ended:?}");
    assert_eq!("", place.text("overlaps"));
    let took = killed_at.elapsed();
    assert!(took < Duration::from_secs(5), "it waits no longer than the lease: {took:?}");
    await_end_of(leader);
    assert_nothing_left(&server);
}

#[test]
fn command_that_ignores_sigterm_does_not_outlive_the_lease_of_a_run_that_was_killed() {
    let server = Server::with_max(1);
    let place = Place::new();
    let mut running = granted(&server, "A --expires-in 2s", STUBBORN, &place);
    let leader = place.number("leader");
    let next = pending(&server, "A", "echo > started", &place);

    running.signal(Signal::SIGKILL);
    running.status();
    let ended = next.end();
    await_end_of(leader);

    assert_eq!(Some(0), ended.code(), "{ended:?}");
    let [last_beat, started] = ["beats", "started"].map(|file| place.written_at(file));
    assert!(last_beat < started, "side by side: {:?}", last_beat.duration_since(started));
}

/// As a debugger, or a disk that hangs.
#[test]
fn command_does_not_outlive_the_lease_of_a_run_that_is_stopped() {
    let server = Server::with_max(1);
    let place = Place::new();
    let running = granted(&server, "A --expires-in 2s", STUBBORN, &place);
    let leader = place.number("leader");
    let next = pending(&server, "A", "echo > started", &place);

    running.signal(Signal::SIGSTOP);
    let ended = next.end();
    running.signal(Signal::SIGCONT);

    assert_eq!(Some(0), ended.code(), "{ended:?}");
    let [last_beat, started] = ["beats", "started"].map(|file| place.written_at(file));
    assert!(last_beat < started, "side by side: {:?}", last_beat.duration_since(started));
    assert_eq!(Some(125), running.end().code());
    await_end_of(leader);
}

/// A pipe that nobody reads, as of a logger that hangs.
#[test]
fn standard_error_that_nobody_reads_holds_up_nothing() {
    let server = Server::with_max(1);
    let place = Place::new();
    let full = "(while :; do echo x; done) >&2 & sleep 0.5; kill $!; echo $$ > leader; echo in; sleep 1000";
    let mut command = script(&server, "A --expires-in 2s", full);
    command.current_dir(place.path()).stderr(Stdio::piped());
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    place.await_file("leader");
    let peer = holder(&server);

    server.delete(&format!("/peers/{peer}"));
    eventually("it ends", || process.try_wait().unwrap().is_some());

    assert_eq!(Some(125), process.wait().unwrap().code());
    await_end_of(place.number("leader"));
}

/// Whoever waits for hours may find that its program was replaced meanwhile.
#[cfg(target_os = "linux")]
#[test]
fn command_ends_with_run_even_if_the_program_was_removed_meanwhile() {
    let server = Server::with_max(1);
    let place = Place::new();
    let blocker = server.new_peer();
    server.acquire(blocker, "A", 1);
    let program = place.path().join("throttle");
    fs::copy(env!("CARGO_BIN_EXE_throttle"), &program).unwrap();
    let inner = script(&server, "A", POLITE);
    let mut command = Command::new(&program);
    command.args(inner.get_args()).current_dir(place.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::pending(&mut command, &server, 1);

    fs::remove_file(&program).unwrap();
    server.delete(&format!("/peers/{blocker}"));
    running.await_output();
    let leader = place.number("leader");
    running.signal(Signal::SIGKILL);
    running.status();

    await_end_of(leader);
}

#[test]
fn who_is_killed_while_it_waits_keeps_its_place_no_longer_than_its_lease() {
    let server = Server::with_max(1);
    let place = Place::new();
    let blocker = server.new_peer();
    server.acquire(blocker, "A", 1);
    let mut first = pending(&server, "A --expires-in 1s", "echo > first", &place);
    let second = pending(&server, "A", "echo > second", &place);

    first.signal(Signal::SIGKILL);
    first.status();
    eventually("it is gone", || waiting_for(&server, "A") == 1);
    server.delete(&format!("/peers/{blocker}"));

    assert_eq!(Some(0), second.end().code());
    assert!(place.has("second") && !place.has("first"));
    assert_nothing_left(&server);
}

/// As a machine that sleeps, or a debugger that holds it.
#[test]
fn run_that_was_stopped_for_longer_than_its_lease_ends_its_command() {
    let server = Server::with_max(1);
    let place = Place::new();
    let running = granted(&server, "A --expires-in 1s", POLITE, &place);
    let (leader, peer) = (place.number("leader"), holder(&server));

    running.signal(Signal::SIGSTOP);
    eventually("it expires", || server.get(&format!("/peers/{peer}")).status != 200);
    running.signal(Signal::SIGCONT);
    let ended = running.end();

    assert_eq!(Some(125), ended.code(), "{ended:?}");
    assert!(ended.stderr.contains("lost `A`"), "{ended:?}");
    await_end_of(leader);
    assert_nothing_left(&server);
}

#[test]
fn exit_code_is_that_of_the_command_although_the_lock_cannot_be_given_back() {
    let mut server = Server::with_max(1);
    let place = Place::new();
    let running = granted(&server, "A", "echo in; read line; exit 7", &place);
    let start = Instant::now();

    server.kill();
    let ended = running.end();

    assert_eq!(Some(7), ended.code(), "{ended:?}");
    assert!(ended.stderr.contains("could not give back `A`"), "{ended:?}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn lock_that_was_lost_unseen_is_told_of_at_the_end() {
    let server = Server::with_max(1);
    let place = Place::new();
    let mut running = granted(&server, "A", HOLD, &place);

    server.delete(&format!("/peers/{}", holder(&server)));
    running.go_on();
    let ended = running.end();

    assert_eq!(Some(0), ended.code(), "{ended:?}");
    assert!(ended.stderr.contains("`A` was lost before the command ended"), "{ended:?}");
}

/// The server says what is left of the lease when it answers, which it may have put off for long:
/// that time must not be taken off twice.
#[test]
fn lease_of_who_has_waited_is_not_shortened_twice() {
    let parked = Duration::from_millis(950);
    let left = Duration::from_secs(3) - parked;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // A server that grants, and is never seen again.
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        let after_key = |request: &str| request.split("\"peer_id\":").nth(1).map(str::to_owned);
        while after_key(&request).is_none_or(|id| !id.contains([',', '}'])) {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            request.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        let id = after_key(&request).unwrap();
        let id = id.split([',', '}']).next().unwrap();
        thread::sleep(parked);
        let (length, left) = (id.len(), left.as_millis());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
        let lease = format!("Throttle-Expires-In: {left}ms\r\nThrottle-Instance: 5");
        let rest = format!("Throttle-Token: 7\r\nContent-Length: {length}\r\n\r\n{id}");
        write!(stream, "{head}\r\n{lease}\r\n{rest}").unwrap();
    });
    let place = Place::new();
    let arguments = ["A", "--expires-in", "3s", "--url", &url, "--", "sh", "-c", POLITE];
    let running = Running::granted(run(arguments).current_dir(place.path()));
    let granted_at = SystemTime::now();
    server.join().unwrap();

    let ended = running.end();

    assert_eq!(Some(125), ended.code(), "{ended:?}");
    let ran_for = place.written_at("told").duration_since(granted_at).unwrap();
    // It is told to end half a second, which is the longest --kill-after here, and some more before
    // the end.
    assert!(ran_for > left * 6 / 10, "{ran_for:?} of {left:?}");
    assert!(ran_for < left, "{ran_for:?} of {left:?}");
}

#[test]
fn never_more_than_max_are_in_and_all_come_in_the_order_of_their_arrival() {
    const CROWD: usize = 100;
    const MAX: usize = 3;
    let server = Server::with_max(MAX.try_into().unwrap());
    let place = Place::new();
    fs::create_dir(place.path().join("in")).unwrap();
    let blocker = server.new_peer();
    server.acquire(blocker, "A", MAX.try_into().unwrap());
    // Each notes how many are in, itself included. The first ones wait for each other.
    let text = format!(
        "mkdir in/$0; n=$(ls in | wc -l)
         while [ $0 -lt {MAX} ] && [ $(ls in | wc -l) -lt {MAX} ] && [ ! -e full ]; do :; done
         [ $0 -lt {MAX} ] && n=$(ls in | wc -l) && : > full
         echo $0 $THROTTLE_TOKEN $n >> log; rmdir in/$0"
    );

    let crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            // The lease is so short that each asks again and again, and is to keep its place.
            let mut command = script(&server, "A --expires-in 3s", &text);
            command.arg(number.to_string()).current_dir(place.path());
            Running::pending(&mut command, &server, number + 1)
        })
        .collect();
    server.delete(&format!("/peers/{blocker}"));

    for running in crowd {
        let ended = running.end();
        assert_eq!((Some(0), ""), (ended.code(), ended.stderr.as_str()));
    }
    let log = place.text("log");
    let mut entries: Vec<[u64; 3]> = log
        .lines()
        .map(|line| {
            let numbers: Vec<_> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            numbers.try_into().unwrap()
        })
        .collect();
    entries.sort_by_key(|[_, token, _]| *token);
    let order: Vec<_> = entries.iter().map(|[number, _, _]| *number).collect();
    assert_eq!((0..CROWD as u64).collect::<Vec<_>>(), order, "in the order of their tokens");
    let most = entries.iter().map(|[_, _, inside]| *inside).max();
    assert_eq!(Some(MAX as u64), most, "{log}");
    assert_nothing_left(&server);
}
