//! `throttle ps`: what is held and who waits, once and again and again.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::{
    client::{Client, eventually},
    command::{Ran, at, run, url},
    server::{Lines, Server, throttle},
};

/// What Ctrl+C sends.
#[cfg(unix)]
const SIGINT: i32 = 2;

/// A peer with a name and labels that has asked for locks.
fn peer(client: &Client, about: Value, acquire: Value) -> u64 {
    let mut body = json!({"expires_in": "1h", "acquire": acquire});
    body.as_object_mut().unwrap().extend(about.as_object().unwrap().clone());
    let response = client.post("/new_peer", &body.to_string());
    assert!(matches!(response.status, 200 | 202), "{}", response.body);
    response.body.parse().unwrap()
}

/// The cells of the row that begins with this; cells are two blanks apart.
fn row(table: &str, begin: &str) -> Vec<String> {
    let is_cell = |cell: &&str| !cell.is_empty();
    let rows = table.lines().map(|line| line.split("  ").map(str::trim).filter(is_cell));
    let mut rows = rows.map(|row| row.map(str::to_owned).collect::<Vec<_>>());
    rows.find(|row| row.first().is_some_and(|cell| cell == begin))
        .unwrap_or_else(|| panic!("no row {begin} in:\n{table}"))
}

#[test]
fn list_says_how_full_each_semaphore_is() {
    let server = Server::start(
        "[semaphores]\nA = 42\nB = { max = 1, level = 3 }\nidle = 2\n\
         [semaphores.templates]\n\"tenant-*\" = 3",
    );
    peer(&server, json!({}), json!({"A": 3}));
    for _ in 0..2 {
        peer(&server, json!({}), json!({"A": 40}));
    }
    peer(&server, json!({}), json!({"B": 1}));
    peer(&server, json!({}), json!({"tenant-1": 1}));
    server.adjust("B", r#"{"max":0,"paused":true}"#);

    let list = run(&server, &["ps"]).good();

    let heading = "NAME HELD MAX HOLDERS WAITING LONGEST WAIT LEVEL NOTE";
    assert_eq!(
        heading,
        list.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    );
    let a = row(&list, "A");
    assert_eq!(["A", "3", "42", "1", "2 for 80"], a[..5]);
    assert!(a[5].ends_with('s') && a[6] == "0" && a.len() == 7, "{a:?}");
    assert_eq!(
        ["B", "1", "0", "1", "0", "-", "3", "over max by 1, paused, max 1 in the file"],
        *row(&list, "B")
    );
    assert_eq!(["idle", "0", "2", "0", "0", "-", "0"], *row(&list, "idle"));
    assert_eq!(["tenant-1", "1", "3", "1", "0", "-", "0", "template"], *row(&list, "tenant-1"));
    assert_eq!(5, list.lines().count());
    assert!(!list.contains('\x1b'), "no colours but on a terminal: {list:?}");
}

#[test]
fn server_without_semaphores_says_how_to_make_them() {
    let server = Server::start("");

    let list = run(&server, &["ps"]).good();

    assert!(list.starts_with(&format!("no semaphores at {}\n", url(&server))), "{list}");
    assert!(list.contains("[semaphores]"), "{list}");
    assert_eq!("[]\n", run(&server, &["ps", "--json"]).good());
}

#[test]
fn one_semaphore_is_shown_with_its_holders_and_its_queue() {
    let server = Server::start("[semaphores]\nA = 5\nB = 1");
    let labels = json!({"name": "etl@node7", "labels": {"host": "node7", "pid": "311"}});
    let holder = peer(&server, labels, json!({"A": 3}));
    peer(&server, json!({}), json!({"B": 1}));
    let first = peer(&server, json!({"name": "first"}), json!({"A": 4}));
    let second = peer(&server, json!({"name": "second"}), json!({"A": 1, "B": 1}));

    let shown = run(&server, &["ps", "A"]).good();

    let heading = "A: 3 of 5 held by 1 peer, 2 peers wait for 5, level 0";
    assert_eq!(heading, shown.lines().next().unwrap());
    let cells = row(&shown, &holder.to_string());
    assert_eq!([&holder.to_string(), "etl@node7", "3"], cells[..3]);
    assert!(cells[4].starts_with("59m "), "{cells:?}");
    assert_eq!(["pid=311"], cells[5..], "{cells:?}");
    let (one, two) = (row(&shown, "1"), row(&shown, "2"));
    assert_eq!(["1", &first.to_string(), "first", "4"], one[..4]);
    assert_eq!(["2", &second.to_string(), "second", "1"], two[..4]);
    assert_eq!("1 of A, 1 of B", two[6], "{two:?}");
    assert_eq!(6, one.len(), "it needs nothing but what its count says: {one:?}");
}

#[test]
fn semaphore_that_nobody_uses_has_no_tables() {
    let server = Server::with_max(5);

    let shown = run(&server, &["ps", "A"]).good();

    assert_eq!("A: 0 of 5 held, nobody waits, level 0\n", shown);
}

#[test]
fn names_of_any_letters_are_found_and_none_reaches_the_terminal_raw() {
    let names = ["a b", "a/b", "%41", "日本", "..", "it's", "\u{1b}[31m\u{202e}\u{9b}x\ny"];
    let quoted = names.map(|name| format!("{} = 1\n", Value::from(name)));
    // TOML has no escapes of four digits for what JSON leaves as it is, nor needs them.
    let server =
        Server::start(&format!("[semaphores]\n{}", quoted.concat().replace('\u{9b}', "\\u009b")));

    for name in names {
        let shown = run(&server, &["ps", name]).good();
        assert!(shown.ends_with(": 0 of 1 held, nobody waits, level 0\n"), "{name:?}: {shown}");
        let json = run(&server, &["ps", name, "--json"]).good();
        assert_eq!(name, serde_json::from_str::<Value>(&json).unwrap()["name"]);
        for text in [shown, json] {
            let is_raw = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
            assert!(!text.contains(is_raw), "{text:?}");
        }
    }
    let list = run(&server, &["ps"]).good();
    assert_eq!(1 + names.len(), list.lines().count(), "{list}");
    assert!(list.contains(r"\u{1b}[31m\u{202e}\u{9b}x\ny"), "{list}");
}

#[test]
fn json_is_what_the_server_says() {
    let server = Server::start("[semaphores]\nA = 5\nB = 1");
    peer(&server, json!({"name": "x"}), json!({"A": 3}));

    let list: Value = serde_json::from_str(&run(&server, &["ps", "--json"]).good()).unwrap();
    let one: Value = serde_json::from_str(&run(&server, &["ps", "B", "--json"]).good()).unwrap();

    assert_eq!(server.json("/semaphores"), list);
    assert_eq!(server.json("/semaphores/B"), one);
}

#[test]
fn all_pages_are_put_together() {
    const HOLDERS: usize = 1_500;
    let server = Server::with_max(HOLDERS as i64);
    for _ in 0..HOLDERS + 2 {
        peer(&server, json!({}), json!({"A": 1}));
    }

    let json = run(&server, &["ps", "A", "--json"]).good();
    let shown = run(&server, &["ps", "A"]).good();

    let json: Value = serde_json::from_str(&json).unwrap();
    let peers = |list: &str| {
        let list = json[list].as_array().unwrap().iter();
        let peers: std::collections::HashSet<_> =
            list.map(|entry| entry["peer"].as_u64().unwrap()).collect();
        peers.len()
    };
    assert_eq!((HOLDERS, 2), (peers("held_by"), peers("queue")));
    assert_eq!(HOLDERS, json["held_by"].as_array().unwrap().len(), "none of them twice");
    assert_eq!(1 + 2 + HOLDERS + 2 + 2, shown.lines().count());
    #[cfg(unix)]
    {
        use crate::command::shell;
        let line = "throttle ps A | head -1; echo ${PIPESTATUS[0]}";
        let heading = "A: 1500 of 1500 held by 1500 peers, 2 peers wait for 2, level 0";
        assert_eq!(format!("{heading}\n0\n"), shell(&server, line).good());
        let line = "throttle ps A --watch | head -1; echo ${PIPESTATUS[0]}";
        assert_eq!(format!("{heading}\n0\n"), shell(&server, line).good(), "a watch ends, too");
    }
}

#[test]
fn trouble_is_told_with_its_remedy() {
    let server = Server::start("[semaphores]\ndeploy = 1");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);

    for args in [&["ps", "Deplyo"][..], &["ps", "Deplyo", "--json"], &["ps", "Deplyo", "--watch"]] {
        let near = run(&server, args).bad(1);
        let expected = format!(
            "error: unknown semaphore `Deplyo` at {}; did you mean `deploy`?\n",
            url(&server)
        );
        assert_eq!(expected, near);
    }
    let far = run(&server, &["ps", "\u{1b}[31mfar away"]).bad(1);
    assert!(far.contains("`throttle ps` lists those that there are"), "{far}");
    assert!(!far.contains('\u{1b}'), "{far:?}");
    for args in [&["ps", "--url", &nobody][..], &["ps", "A", "--watch", "--url", &nobody]] {
        let nobody_there = run(&server, args).bad(1);
        let expected = format!("error: no server at {nobody}: start one with `throttle`");
        assert!(nobody_there.starts_with(&expected), "{nobody_there}");
    }
    let bad_url = run(&server, &["ps", "--url", "localhost"]).bad(2);
    assert!(bad_url.contains("it must look like http://localhost:8000"), "{bad_url}");
    let empty = run(&server, &["ps", ""]).bad(2);
    assert!(empty.contains("SEMAPHORE"), "{empty}");
}

/// Something that answers every request with this.
fn stranger(answer: &'static str) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
            let _ = stream.write_all((head + answer).as_bytes());
        }
    });
    url
}

#[test]
fn stranger_is_taken_for_one() {
    for (answer, args) in [
        ("<html>\u{1b}[31mHello\u{202e}", &["ps"][..]),
        ("{}", &["ps"]),
        ("[]", &["ps", "A"]),
        ("{\"held_by\": []}", &["ps", "A", "--json"]),
    ] {
        let url = stranger(answer);

        let output = throttle().args(args).args(["--url", &url]).output().unwrap();

        let complaint = Ran::of(output).bad(1);
        assert!(complaint.contains("is that a Throttle server?"), "{complaint}");
        assert!(!complaint.contains(['\u{1b}', '\u{202e}']), "{complaint:?}");
    }
}

#[test]
fn newer_server_may_say_more_and_repeat_its_pages() {
    let url = stranger(concat!(
        r#"{"name":"A","max":1,"acquired":1,"pending":0,"holders":1,"novel":{"x":[1]},"#,
        r#""held_by":[{"peer":18446744073709551615,"count":1,"held_for":"1ms","novel":true}],"#,
        r#""queue":[]}"#
    ));
    let run = |args: &[&str]| {
        Ran::of(throttle().args(args).args(["--url", &url]).output().unwrap()).good()
    };

    let json: Value = serde_json::from_str(&run(&["ps", "A", "--json"])).unwrap();

    assert_eq!(json!({"x": [1]}), json["novel"]);
    assert_eq!(json!(true), json["held_by"][0]["novel"]);
    assert_eq!(json!(u64::MAX), json["held_by"][0]["peer"]);
    assert!(run(&["ps", "A"]).contains("18446744073709551615"));
}

/// A watch that is read through a pipe; returns what it printed once `enough` has been.
#[cfg(unix)]
fn watched(server: &Server, args: &[&str], enough: impl Fn(&str) -> bool) -> (Option<i32>, String) {
    use std::{io::Read, os::unix::process::ExitStatusExt, process::Command};
    let mut process = at(server, args).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = process.stdout.take().unwrap();
    let mut text = String::new();
    while !enough(&text) {
        let mut buffer = [0; 4096];
        let count = stdout.read(&mut buffer).unwrap();
        assert!(count > 0, "it ended: {text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    let kill = Command::new("kill").args(["-s", "INT", &process.id().to_string()]).status();
    assert!(kill.unwrap().success());
    (process.wait().unwrap().signal(), text)
}

#[cfg(unix)]
#[test]
fn watch_through_a_pipe_prints_round_after_round() {
    let server = Server::with_max(5);

    let (signal, text) =
        watched(&server, &["ps", "A", "--watch"], |text| text.matches("A: ").count() == 2);

    assert_eq!(Some(SIGINT), signal);
    let round = "A: 0 of 5 held, nobody waits, level 0\n";
    assert_eq!(format!("{round}\n{round}"), text);
}

#[cfg(unix)]
#[test]
fn watch_with_json_prints_a_line_a_round() {
    let server = Server::with_max(5);

    let (signal, text) =
        watched(&server, &["ps", "--watch", "--json"], |text| text.lines().count() == 2);

    assert_eq!(Some(SIGINT), signal);
    for line in text.lines() {
        assert_eq!(server.json("/semaphores"), serde_json::from_str::<Value>(line).unwrap());
    }
}

#[test]
fn watch_through_a_pipe_tells_of_an_outage_once_and_goes_on() {
    let mut server = Server::with_max(5);
    let mut process = at(&server, &["ps", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let stderr = Lines::of(&mut process);
    let mut stdout = process.stdout.take().unwrap();
    let stdout_text = std::sync::Arc::<std::sync::Mutex<String>>::default();
    let sink = stdout_text.clone();
    std::thread::spawn(move || {
        use std::io::Read;
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut buffer) {
            sink.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    let rounds = || stdout_text.lock().unwrap().matches("NAME").count();
    eventually("it is watched", || rounds() > 0);

    server.kill();
    eventually("it is told of", || stderr.text().contains("warning: no "));
    server.start_again();
    let before = rounds();
    eventually("it goes on", || rounds() > before);
    process.kill().unwrap();
    process.wait().unwrap();

    assert_eq!(1, stderr.text().matches("warning: ").count(), "{}", stderr.text());
}

#[cfg(unix)]
mod terminal {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::{
        command::terminal,
        terminal::{CTRL_C, Terminal},
    };

    const USUAL: (u16, u16) = (24, 80);

    fn interrupted(mut terminal: Terminal) -> String {
        terminal.press(CTRL_C);
        assert_eq!(Some(SIGINT), terminal.wait().signal());
        terminal.raw()
    }

    #[test]
    fn watch_draws_in_place_and_leaves_the_terminal_as_it_was() {
        let server = Server::with_max(5);
        let mut terminal = terminal(&server, USUAL, &["ps", "--watch"]);
        terminal.until_shown("HELD");

        server.adjust("A", r#"{"paused":true}"#);
        let lines = terminal.until("it is paused", |lines| lines.join("").contains("paused"));
        server.delete("/semaphores/A");
        terminal.until("no note is left", |lines| !lines.join("").contains("paused"));
        let raw = interrupted(terminal);

        assert!(lines[0].starts_with(&format!("{} every second", url(&server))), "{lines:?}");
        assert!(lines[1].is_empty() && lines.len() == 4, "{lines:?}");
        let [enter, leave] = ["\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"];
        assert_eq!((1, 1), (raw.matches(enter).count(), raw.matches(leave).count()), "{raw:?}");
        assert!(raw.starts_with(enter) && raw.ends_with(leave), "{raw:?}");
        assert!(raw.contains("\x1b[33mpaused"), "{raw:?}");
        assert!(!raw.contains("\x1b[2J"), "it would flicker: {raw:?}");
    }

    #[test]
    fn watch_fits_the_terminal_and_hides_nothing_important() {
        let names: String =
            (0..50).map(|n| format!("\"a rather long name {n:02}\" = 1\n")).collect();
        let server = Server::start(&format!("[semaphores]\n{names}zz = 1"));
        server.adjust("zz", r#"{"paused":true}"#);

        let mut terminal = terminal(&server, (10, 50), &["ps", "-w"]);
        let small = terminal.until("it fits", |lines| lines.join("").contains("45 more"));
        terminal.resize(6, 30);
        let smaller = terminal.until("it fits", |lines| lines.join("").contains("48 more"));
        interrupted(terminal);

        assert_eq!(10, small.len(), "{small:?}");
        assert!(small[8].starts_with("zz") && small[8].ends_with("paused"), "{small:?}");
        assert_eq!("… and 45 more", small[9]);
        assert_eq!(6, smaller.len(), "{smaller:?}");
        assert!(smaller[4].starts_with("zz") && smaller[4].contains("paus"), "{smaller:?}");
    }

    #[test]
    fn watch_of_a_long_queue_shows_its_beginning() {
        let server = Server::with_max(1);
        let peers: Vec<_> = (0..30).map(|_| peer(&server, json!({}), json!({"A": 1}))).collect();

        let mut terminal = terminal(&server, (14, 80), &["ps", "A", "-w"]);
        let lines = terminal.until("all is there", |lines| lines.join("").contains("25 more"));
        interrupted(terminal);

        assert_eq!(14, lines.len() + 1, "as nobody is left out of those who hold: {lines:?}");
        assert!(lines.iter().any(|line| line.starts_with(&peers[0].to_string())), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains(&peers[1].to_string())), "{lines:?}");
        assert_eq!("… and 25 more", lines[lines.len() - 1]);
    }

    #[test]
    fn watch_keeps_the_last_state_while_the_server_does_not_answer() {
        let mut server = Server::with_max(5);
        let mut terminal = terminal(&server, USUAL, &["ps", "A", "--watch"]);
        terminal.until_shown("A: 0 of 5 held");

        server.kill();
        let silence = format!("no answer from {} for 2s", url(&server));
        terminal.until("both are shown", |lines| {
            lines.len() == 3 && lines[0] == silence && lines[2].starts_with("A: 0 of 5 held")
        });
        server.start_again();
        terminal.until_shown("every second");
        interrupted(terminal);
    }

    #[test]
    fn watch_says_that_the_semaphore_has_gone() {
        let server = Server::start("[semaphores]\nA = 3\nB = 1");
        let mut terminal = terminal(&server, USUAL, &["ps", "A", "--watch"]);
        terminal.until_shown("A: 0 of 3 held");

        server.configure("[semaphores]\nB = 1");
        assert_eq!(200, server.post("/reload", "").status);

        terminal.until("it alone is told", |lines| {
            lines.len() == 1 && lines[0].starts_with("Unknown semaphore")
        });
        interrupted(terminal);
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let server = Server::with_max(1);
        peer(&server, json!({}), json!({"A": 1}));
        server.adjust("A", r#"{"max":0}"#);

        let mut coloured = terminal(&server, USUAL, &["ps"]);
        assert_eq!(Some(0), coloured.wait().code());
        let mut plain = at(&server, &["ps", "--watch"]);
        plain.env("TERM", "xterm").env("NO_COLOR", "1");
        let mut plain = Terminal::start(plain, USUAL);
        plain.until_shown("over max by 1");
        let (coloured, plain) = (coloured.raw(), interrupted(plain));

        assert!(coloured.contains("\x1b[31mover max by 1"), "{coloured:?}");
        assert!(coloured.contains("\x1b[1mNAME"), "{coloured:?}");
        assert!(!plain.contains("\x1b[31m") && !plain.contains("\x1b[1m"), "{plain:?}");
    }

    #[test]
    fn table_is_cut_to_the_terminal_and_not_wrapped() {
        let name = "x".repeat(100);
        let server = Server::start(&format!("[semaphores]\n{name} = 1"));

        let mut terminal = terminal(&server, (24, 40), &["ps"]);
        assert_eq!(Some(0), terminal.wait().code());

        let lines = terminal.lines();
        assert_eq!(2, lines.len(), "{lines:?}");
        assert!(lines[1].contains("xxx…"), "{lines:?}");
        assert!(run(&server, &["ps"]).good().contains(&name), "elsewhere nothing is cut");
    }
}
