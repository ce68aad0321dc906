//! `throttle run`: what the command gets, which exit code comes back, and what is refused.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::{
        ffi::OsStringExt,
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::unistd::gethostname;
use serde_json::json;

use crate::{
    client::eventually,
    listener::Listener,
    running::{
        Ended, HOLD, Place, Running, assert_nothing_left, run, script, through_shell, url,
        waiting_for,
    },
    server::Server,
};

/// The only permit of `A` is held by the returned peer.
fn taken() -> (Server, u64) {
    let server = Server::with_max(1);
    let holder = server.new_peer();
    assert_eq!(200, server.acquire(holder, "A", 1));
    (server, holder)
}

/// Writes a file.
fn write(path: &Path, mode: u32, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Where nobody listens.
fn dead_url() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{address}")
}

/// Where something listens that answers this to everybody, and reads what they say.
fn url_of_stranger(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            // Whether anything comes, and what, does not matter.
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn exit_code_is_that_of_the_command() {
    let server = Server::with_max(1);

    for code in [0, 1, 7, 124, 255] {
        let ended = Ended::of(&mut script(&server, "A", &format!("exit {code}")));

        assert_eq!((Some(code), ""), (ended.code(), ended.stderr.as_str()));
        assert_nothing_left(&server);
    }
}

#[test]
fn signal_that_ends_the_command_ends_run_too() {
    let server = Server::with_max(1);

    for (name, number) in [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("SEGV", 11),
        ("PIPE", 13),
        ("TERM", 15),
    ] {
        let suicide = format!("ulimit -c 0; kill -s {name} $$");
        let ended = Ended::of(&mut script(&server, "A", &suicide));

        assert_eq!(Some(number), ended.status.signal(), "{name}: {ended:?}");
        assert_nothing_left(&server);
    }
}

/// Those have no names, and their numbers lie beyond what is usual.
#[cfg(target_os = "linux")]
#[test]
fn real_time_signal_that_ends_the_command_ends_run_too() {
    let server = Server::with_max(1);

    let ended = Ended::of(&mut script(&server, "A", "kill -40 $$"));

    let status = ended.status;
    assert!(status.signal() == Some(40) || status.code() == Some(128 + 40), "{ended:?}");
    assert_nothing_left(&server);
}

#[test]
fn shells_see_128_and_the_number_of_the_signal() {
    let server = Server::with_max(1);
    let inner = script(&server, "A", "kill -s TERM $$");

    let ended = Ended::of(&mut through_shell("\"$@\"; echo $?", &inner));

    assert_eq!("143", ended.text());
}

#[test]
fn lock_is_given_back_as_soon_as_the_command_has_ended() {
    let server = Server::with_max(1);
    let mut running = Running::granted(&mut script(&server, "A", HOLD));
    assert_eq!(0, server.remainder("A"));

    running.go_on();
    let ended = running.end();

    assert_eq!(1, server.remainder("A"), "not only when the lease ends");
    assert_eq!(Some(0), ended.code());
    assert_nothing_left(&server);
}

#[test]
fn command_does_not_start_before_it_is_its_turn() {
    let (server, holder) = taken();
    let place = Place::new();
    let mut command = script(&server, "A", "touch started");
    let running = Running::pending(command.current_dir(place.path()), &server, 1);

    // Time enough for a command that did not wait.
    thread::sleep(Duration::from_millis(200));
    assert!(!place.has("started"));
    server.delete(&format!("/peers/{holder}"));
    let ended = running.end();

    assert!(place.has("started"));
    assert_eq!((Some(0), ""), (ended.code(), ended.stderr.as_str()), "it says nothing in a file");
}

#[test]
fn if_free_does_not_wait_and_leaves_nothing_in_the_queue() {
    let (server, holder) = taken();
    let mut listener = Listener::at(&server, "/events");
    let start = Instant::now();

    let ended = Ended::of(&mut script(&server, "A --if-free", "echo started"));

    assert_eq!((Some(124), ""), (ended.code(), ended.text()));
    assert!(ended.stderr.contains("`A` is not free"), "{}", ended.stderr);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(0, waiting_for(&server, "A"));
    assert_eq!(json!(holder), server.json("/peers/")[0]["id"]);
    assert_eq!(1, server.json("/peers/").as_array().unwrap().len());
    server.adjust("A", r#"{"max": 2}"#);
    assert_eq!("resized", listener.event().kind, "it was never in the queue");
}

#[test]
fn who_comes_too_late_is_told_who_was_earlier() {
    let server = Server::with_max(1);
    let mut holder = Running::granted(&mut script(&server, "A --name deploy@ci7", HOLD));

    for options in ["A --if-free", "A --timeout 50ms"] {
        let ended = Ended::of(&mut script(&server, options, "echo started"));
        assert!(ended.stderr.contains(": held by `deploy@ci7` for "), "{}", ended.stderr);
        let ended = Ended::of(&mut script(&server, &format!("{options} --quiet"), "true"));
        assert_eq!("", ended.stderr);
    }

    holder.go_on();
    holder.end();
}

#[test]
fn if_free_runs_the_command_if_all_of_it_is_free() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1\n");
    let holder = server.new_peer();
    server.acquire(holder, "B", 1);

    let free = Ended::of(&mut script(&server, "A --if-free", "echo started"));
    let half_free = Ended::of(&mut script(&server, "A B --if-free", "echo started"));

    assert_eq!((Some(0), "started"), (free.code(), free.text()));
    assert_eq!((Some(124), ""), (half_free.code(), half_free.text()));
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn after_the_timeout_nothing_is_pending_and_the_next_is_served() {
    let server = Server::with_max(2);
    let [holder, next] = [(); 2].map(|()| server.new_peer());
    server.acquire(holder, "A", 1);
    let start = Instant::now();
    let mut command = script(&server, "A=2 --timeout 1s", "echo started");
    let running = Running::pending(&mut command, &server, 1);
    assert_eq!(202, server.acquire(next, "A", 1), "it comes after the one that waits for two");

    let ended = running.end();

    assert_eq!((Some(124), ""), (ended.code(), ended.text()));
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(ended.stderr.contains("2 of `A` was not free within 1s"), "{}", ended.stderr);
    assert!(server.is_acquired(next));
    assert_eq!((0, 0), (waiting_for(&server, "A"), server.remainder("A")));
    assert_eq!(2, server.json("/peers/").as_array().unwrap().len());
}

#[test]
fn who_is_quiet_says_nothing_of_the_time_that_is_over() {
    let (server, _) = taken();

    for options in ["A --if-free --quiet", "A --timeout 100ms -q"] {
        let ended = Ended::of(&mut script(&server, options, "true"));

        assert_eq!((Some(124), ""), (ended.code(), ended.stderr.as_str()), "{options}");
    }
}

#[test]
fn unknown_semaphore_is_refused_with_the_nearest_that_there_is() {
    let server = Server::start("[semaphores]\ndeploy = 1\nnightly = 1\n");

    let near = Ended::of(&mut script(&server, "nightly deplyo", "echo started"));
    let far = Ended::of(&mut script(&server, "zzzzzzzzzzzz", "echo started"));

    assert_eq!((Some(125), ""), (near.code(), near.text()));
    assert!(near.stderr.contains("unknown semaphore `deplyo`"), "{}", near.stderr);
    assert!(near.stderr.contains("did you mean `deploy`?"), "{}", near.stderr);
    assert_eq!(Some(125), far.code());
    assert!(far.stderr.contains("`throttle ps`"), "{}", far.stderr);
    assert_nothing_left(&server);
}

#[test]
fn count_above_max_is_refused() {
    let server = Server::with_max(3);

    let ended = Ended::of(&mut script(&server, "A=4", "echo started"));

    assert_eq!((Some(125), ""), (ended.code(), ended.text()));
    for part in ["count 4", "only 3"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert_nothing_left(&server);
}

#[test]
fn without_a_server_the_message_says_what_to_do() {
    let url = dead_url();

    for options in [&["--timeout", "300ms"][..], &["--if-free"]] {
        let start = Instant::now();
        let arguments = [&["A", "--url", &url], options, &["--", "echo", "started"]].concat();
        let ended = Ended::of(&mut run(arguments));

        assert_eq!((Some(125), ""), (ended.code(), ended.text()));
        let remedy =
            format!("no server at {url}: start one with `throttle`, or name it with --url");
        assert!(ended.stderr.contains(&remedy), "{}", ended.stderr);
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    }
}

#[test]
fn whoever_is_no_server_of_ours_is_found_out() {
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let lost = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let door = "SSH-2.0-OpenSSH_9.6\r\n";

    for (answer, complaint) in [
        (page, "is that a Throttle server? hello"),
        (lost, "is that a Throttle server? 404"),
        (door, "no answer from"),
    ] {
        let url = url_of_stranger(answer);
        let arguments = ["A", "--timeout", "500ms", "--url", &url, "--", "echo", "started"];
        let ended = Ended::of(&mut run(arguments));

        assert_eq!((Some(125), ""), (ended.code(), ended.text()), "{answer}");
        assert!(ended.stderr.contains(complaint), "{answer}: {}", ended.stderr);
        assert!(ended.stderr.contains(&url), "{answer}: {}", ended.stderr);
    }
}

/// Whatever a server says again and again, the time is over at some point.
#[test]
fn timeout_counts_whatever_is_answered() {
    let refused = |code: &str| {
        let problem = json!({"detail": "no", "code": code, "status": 400}).to_string();
        let length = problem.len();
        let head = "HTTP/1.1 400 Bad Request\r\nThrottle-Instance: 1\r\nConnection: close";
        let kind = "Content-Type: application/problem+json";
        format!("{head}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{problem}")
    };

    for code in ["unknown_peer", "peer_exists"] {
        let url = url_of_stranger(refused(code).leak());
        let start = Instant::now();
        let arguments = ["A", "--timeout", "500ms", "--url", &url, "--", "echo", "started"];
        let ended = Ended::of(&mut run(arguments));

        assert_eq!((Some(124), ""), (ended.code(), ended.text()), "{code}: {}", ended.stderr);
        assert!(start.elapsed() < Duration::from_secs(6), "{code}: {:?}", start.elapsed());
    }
}

#[test]
fn what_run_does_not_understand_ends_with_125() {
    let dead = dead_url();
    for (arguments, complaint) in [
        (&[][..], "SEMAPHORE"),
        (&["A"], "COMMAND"),
        (&["A", "--"], "COMMAND"),
        (&["--", "true"], "SEMAPHORE"),
        (&["A", "--colour", "--", "true"], "--colour"),
        (&["A=0", "--", "true"], "not positive"),
        (&["A=many", "--", "true"], "no count"),
        (&["A", "A", "--", "true"], "named twice"),
        (&["A", "--expires-in", "10ms", "--", "true"], "at least"),
        (&["A", "--timeout", "soon", "--", "true"], "soon"),
        (&["A", "--timeout", "1s", "--if-free", "--", "true"], "--if-free"),
        (&["A", "--label", "nightly", "--", "true"], "job=nightly"),
        (&["A", "--url", "localhost:8000", "--", "true"], "http://localhost:8000"),
        (&["A", "--url", "ftp://localhost", "--", "true"], "no URL of a server"),
    ] {
        let ended = Ended::of(run(arguments).env("THROTTLE_URL", &dead));

        assert_eq!((Some(125), ""), (ended.code(), ended.text()), "{arguments:?}");
        assert!(ended.stderr.contains(complaint), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn bad_url_of_the_environment_is_refused_too() {
    let ended = Ended::of(run(["A", "--", "true"]).env("THROTTLE_URL", "localhost"));

    assert_eq!(Some(125), ended.code());
    assert!(ended.stderr.contains("no URL of a server"), "{}", ended.stderr);
}

#[test]
fn help_is_no_trouble() {
    let ended = Ended::of(&mut run(["--help"]));

    assert_eq!((Some(0), ""), (ended.code(), ended.stderr.as_str()));
    for part in ["124", "125", "126", "127", "THROTTLE_TOKEN", "--if-free"] {
        assert!(ended.text().contains(part), "{}", ended.text());
    }
}

#[test]
fn what_is_not_there_is_not_waited_for() {
    let (server, _) = taken();

    for program in ["/no/such/program", "no-such-program-anywhere", "./here"] {
        let ended = Ended::of(&mut run(["A", "--url", &url(&server), "--", program]));

        assert_eq!(Some(127), ended.code(), "{program}: {}", ended.stderr);
        assert!(ended.stderr.contains(program), "{}", ended.stderr);
        // Nor is the server asked.
        let without = Ended::of(&mut run(["A", "--url", &dead_url(), "--", program]));
        assert_eq!(Some(127), without.code(), "{program}: {}", without.stderr);
    }
    assert_eq!(1, server.json("/peers/").as_array().unwrap().len());
    assert_eq!(0, waiting_for(&server, "A"));
}

#[test]
fn what_cannot_be_run_ends_with_126_and_leaves_nothing_behind() {
    let server = Server::with_max(1);
    let place = Place::new();
    write(&place.path().join("plain"), 0o644, "#!/bin/sh\n");

    for program in ["./plain", "/"] {
        let mut command = run(["A", "--url", &url(&server), "--", program]);
        let ended = Ended::of(command.current_dir(place.path()));

        assert_eq!((Some(126), ""), (ended.code(), ended.text()), "{program}: {}", ended.stderr);
        assert!(ended.stderr.contains(program), "{}", ended.stderr);
        assert_nothing_left(&server);
    }
}

#[test]
fn script_whose_interpreter_is_missing_leaves_nothing_behind() {
    let server = Server::with_max(1);
    let place = Place::new();
    let path = place.path().join("script");
    write(&path, 0o755, "#!/no/such/interpreter\n");

    let arguments = ["A", "--url", &url(&server), "--", path.to_str().unwrap()];
    let ended = Ended::of(&mut run(arguments));

    assert_eq!(Some(127), ended.code(), "as with a shell: {}", ended.stderr);
    assert!(ended.stderr.contains("interpreter"), "{}", ended.stderr);
    assert_nothing_left(&server);
}

/// As shells, `xargs` and `nohup` do.
#[test]
fn script_that_names_no_interpreter_is_run_by_the_shell() {
    let server = Server::with_max(1);
    let place = Place::new();
    write(&place.path().join("script"), 0o755, "echo \"$0\" \"$1\"\nexit 3\n");

    for program in ["./script", "script"] {
        let mut command = run(["A", "--url", &url(&server), "--", program, "a b"]);
        let path = format!("{}:{}", place.path().display(), env::var("PATH").unwrap());
        let ended = Ended::of(command.current_dir(place.path()).env("PATH", path));

        assert_eq!(Some(3), ended.code(), "{program}: {}", ended.stderr);
        assert!(ended.text().ends_with("script a b"), "{program}: {}", ended.text());
    }
}

#[test]
fn forgotten_dashes_are_what_the_message_tells_of() {
    let ended = Ended::of(&mut run(["A", "./load.sh"]));

    assert_eq!(Some(125), ended.code());
    assert!(ended.stderr.contains("put `--` before the command"), "{}", ended.stderr);
}

#[test]
fn variable_that_is_set_to_nothing_is_not_set() {
    let server = Server::with_max(1);
    let arguments = ["A", "--url", &url(&server), "--", "true"];
    assert_eq!(Some(0), Ended::of(run(arguments).env("THROTTLE_URL", "")).code());

    let nowhere = ["--timeout", "1ms", "A", "--", "true"];
    let ended = Ended::of(run(nowhere).env("THROTTLE_URL", ""));

    assert!(!ended.stderr.contains("bad THROTTLE_URL"), "{}", ended.stderr);
}

#[test]
fn command_gets_token_peer_and_url() {
    let server = Server::with_max(1);
    let hello = "echo $THROTTLE_TOKEN $THROTTLE_PEER $THROTTLE_URL; read line";
    let mut running = Running::granted(&mut script(&server, "A", hello));

    eventually("a whole line", || running.stdout().ends_with('\n'));
    let line = running.stdout();
    let [token, peer, given] = *line.split_whitespace().collect::<Vec<_>>() else {
        panic!("three words: {line}")
    };

    assert_eq!(url(&server), given);
    let shown = server.json(&format!("/peers/{peer}"));
    assert_eq!(json!({"A": 1}), shown["acquired"]);
    assert_eq!(token, shown["tokens"]["A"].to_string());
    running.go_on();
    assert_eq!(Some(0), running.end().code());
}

#[test]
fn tokens_grow_from_one_run_to_the_next() {
    let server = Server::with_max(1);

    let tokens: Vec<u64> = (0..3)
        .map(|_| {
            let ended = Ended::of(&mut script(&server, "A", "echo $THROTTLE_TOKEN"));
            ended.text().parse().unwrap()
        })
        .collect();

    assert!(tokens.is_sorted_by(|earlier, later| earlier < later), "{tokens:?}");
}

#[test]
fn run_within_a_run_finds_the_same_server() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1\n");
    let nested = "outer=$THROTTLE_TOKEN
                  \"$0\" run B -- sh -c 'echo $THROTTLE_TOKEN'
                  echo $outer";
    let program = env!("CARGO_BIN_EXE_throttle");

    let arguments = ["A", "--url", &url(&server), "--", "sh", "-c", nested, program];
    let ended = Ended::of(&mut run(arguments));

    assert_eq!((Some(0), ""), (ended.code(), ended.stderr.as_str()));
    let tokens: Vec<u64> = ended.text().lines().map(|line| line.parse().unwrap()).collect();
    assert!(matches!(*tokens, [inner, outer] if inner > outer), "{tokens:?}");
    assert_nothing_left(&server);
}

#[test]
fn url_comes_from_the_environment_unless_it_is_given() {
    let (server, other) = (Server::with_max(1), Server::start("[semaphores]\nB = 1\n"));
    let tell = ["A", "--", "sh", "-c", "echo $THROTTLE_URL"];

    let ended = Ended::of(run(tell).env("THROTTLE_URL", url(&server)));
    let here = url(&server);
    let given = [&["--url", &here], &tell[..]].concat();
    let given = Ended::of(run(given).env("THROTTLE_URL", url(&other)));

    assert_eq!((Some(0), url(&server).as_str()), (ended.code(), ended.text()));
    assert_eq!((Some(0), url(&server).as_str()), (given.code(), given.text()));
}

#[test]
fn command_has_the_streams_the_files_and_the_place_of_the_caller() {
    let server = Server::with_max(1);
    let place = Place::new();
    let talk = "cat; echo to stderr >&2; echo to a file >&3; pwd -P > place";
    let inner = script(&server, "A", talk);
    // The shell opens a file for it, as a script would that keeps a log.
    let mut outer = through_shell("exec 3>log; exec \"$@\"", &inner);

    let mut running = Running::start(outer.current_dir(place.path()));
    running.go_on();
    let ended = running.end();

    assert_eq!(Some(0), ended.code());
    assert_eq!(("\n".as_bytes(), "to stderr\n"), (&*ended.stdout, ended.stderr.as_str()));
    assert_eq!("to a file\n", place.text("log"));
    let here = place.path().canonicalize().unwrap();
    assert_eq!(here.to_str(), Some(place.text("place").trim()));
}

#[test]
fn arguments_and_environment_arrive_unchanged() {
    let server = Server::with_max(1);
    let odd: [&[u8]; 10] = [
        b"a b  c",
        b"",
        b"'quoted' \"twice\"",
        b"$HOME `date` * \\",
        b"--help",
        b"--",
        b"A=2",
        b"two\nlines\t",
        b"\xff\xfe not UTF-8",
        "ä€😀".as_bytes(),
    ];
    let tell = ["sh", "-c", r#"printf '%s|' "$@" "$ODD""#, "sh"].map(OsString::from);
    let arguments = ["A", "--url", &url(&server), "--"].map(OsString::from).into_iter();
    let odd_ones = odd.iter().map(|bytes| OsString::from_vec(bytes.to_vec()));

    let mut command = run(arguments.chain(tell).chain(odd_ones));
    let ended = Ended::of(command.env("ODD", OsString::from_vec(b"\xff of the caller".to_vec())));

    let expected = [odd.join(&b'|'), b"|\xff of the caller|".to_vec()].concat();
    assert_eq!(Some(0), ended.code(), "{}", ended.stderr);
    assert_eq!(expected, ended.stdout, "{}", String::from_utf8_lossy(&ended.stdout));
}

#[test]
fn name_of_the_program_is_looked_for_as_usual() {
    let server = Server::with_max(1);
    let place = Place::new();
    let path = place.path().join("tool");
    fs::write(&path, "#!/bin/sh\necho found\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let search = format!("/nowhere:{}:/usr/bin:/bin", place.path().display());

    for program in ["tool", "./tool"] {
        let mut command = run(["A", "--url", &url(&server), "--", program]);
        let ended = Ended::of(command.env("PATH", &search).current_dir(place.path()));

        assert_eq!((Some(0), "found"), (ended.code(), ended.text()), "{}", ended.stderr);
    }
}

#[test]
fn several_are_granted_together_or_not_at_all() {
    let server = Server::start("[semaphores]\nA = 5\nB = 1\nlow = 1\nhigh = {max = 1, level = 3}");
    let holder = server.new_peer();
    server.acquire(holder, "B", 1);
    let tell = "echo $THROTTLE_TOKEN $THROTTLE_PEER; read line";
    let mut command = script(&server, "low A=3 high B", tell);
    let mut running = Running::pending(&mut command, &server, 1);
    let all = json!({"A": 3, "B": 1, "low": 1, "high": 1});

    let list = server.json("/peers/");
    let waiting = list.as_array().unwrap().iter().find(|peer| peer["id"] != holder).unwrap();
    assert_eq!((&json!({}), &all), (&waiting["acquired"], &waiting["pending"]));
    server.delete(&format!("/peers/{holder}"));
    running.await_output();
    eventually("a whole line", || running.stdout().ends_with('\n'));

    let line = running.stdout();
    let (token, peer) = line.trim().split_once(' ').unwrap();
    let token: u64 = token.parse().unwrap();
    let shown = server.json(&format!("/peers/{peer}"));
    assert_eq!((&all, &json!({})), (&shown["acquired"], &shown["pending"]));
    let tokens = json!({"A": token, "B": token, "low": token, "high": token});
    assert_eq!(tokens, shown["tokens"]);
    running.go_on();
    assert_eq!(Some(0), running.end().code());
    assert_nothing_left(&server);
}

#[test]
fn order_of_several_does_not_matter() {
    let server = Server::start("[semaphores]\nA = 1\nB = 1\nC = 1\n");
    let place = Place::new();
    let exclusive = "mkdir A B || echo overlap >> overlaps; echo in >> log; rmdir A B";

    let crowd: Vec<_> = ["A B C", "C B A", "B A", "A B", "B C A"]
        .iter()
        .cycle()
        .take(25)
        .map(|order| {
            let mut command = script(&server, order, exclusive);
            Running::start(command.current_dir(place.path()))
        })
        .collect();

    for running in crowd {
        let ended = running.end();
        assert_eq!((Some(0), ""), (ended.code(), ended.stderr.as_str()));
    }
    assert_eq!(("", 25), (&*place.text("overlaps"), place.text("log").lines().count()));
    assert_nothing_left(&server);
}

#[test]
fn server_shows_who_holds() {
    let server = Server::with_max(2);
    let mut plain = script(&server, "A", HOLD);
    let plain = Running::granted(plain.env("USER", "me"));
    let named = "A --name nightly --label job=load=3 --label user= --label host=here";
    let mut named = script(&server, named, HOLD);
    let named = Running::granted(named.env("USER", "me"));
    let host = gethostname().unwrap().into_string().unwrap();

    let held_by = server.json("/semaphores/A")["held_by"].clone();

    assert_eq!(format!("sh@{host}"), held_by[0]["name"]);
    let labels = json!({"host": host, "pid": plain.id().to_string(), "user": "me"});
    assert_eq!(labels, held_by[0]["labels"]);
    assert_eq!("nightly", held_by[1]["name"]);
    let labels = json!({"host": "here", "pid": named.id().to_string(), "job": "load=3"});
    assert_eq!(labels, held_by[1]["labels"]);
}

#[test]
fn name_that_the_server_refuses_is_trouble() {
    let server = Server::with_max(1);
    let long = "x".repeat(200);

    for options in [["--name", long.as_str()], ["--label", "key=two\nlines"]] {
        let url = url(&server);
        let arguments = [&["A", "--url", &url], &options[..], &["--", "echo", "started"]].concat();
        let ended = Ended::of(&mut run(arguments));

        assert_eq!((Some(125), ""), (ended.code(), ended.text()), "{options:?}");
        assert!(!ended.stderr.is_empty());
    }
    assert_nothing_left(&server);
}

/// The name of a program is nothing that the user has typed for the server.
#[test]
fn odd_name_of_a_program_does_not_matter() {
    let server = Server::with_max(1);
    let place = Place::new();
    let path = place.path().join(format!("tool\n{}", "x".repeat(150)));
    fs::write(&path, "#!/bin/sh\necho found\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();

    let arguments = ["A", "--url", &url(&server), "--", path.to_str().unwrap()];
    let ended = Ended::of(run(arguments).arg0("throttle"));

    assert_eq!((Some(0), "found"), (ended.code(), ended.text()), "{}", ended.stderr);
}
