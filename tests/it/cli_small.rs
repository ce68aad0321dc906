//! `throttle release`, `throttle check`, `throttle completions` and `throttle man`.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    command::{Ran, at, run, url},
    server::{Server, refusal_to_start, throttle},
};

/// Runs the command in a folder, without any server.
fn run_in(folder: &Path, args: &[&str]) -> Ran {
    Ran::of(throttle().current_dir(folder).args(args).output().unwrap())
}

/// Checks a configuration that is written to `throttle.toml`.
fn check(configuration: &str, args: &[&str]) -> Ran {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("throttle.toml"), configuration).unwrap();
    run_in(folder.path(), &[&["check"], args].concat())
}

/// A peer called `etl@node7` that has asked for this.
fn peer(server: &Server, acquire: &Value) -> u64 {
    let body = json!({"expires_in": "1h", "name": "etl@node7", "acquire": acquire});
    let response = server.post("/new_peer", &body.to_string());
    assert!(matches!(response.status, 200 | 202), "{}", response.body);
    response.body.parse().unwrap()
}

#[test]
fn release_says_whose_locks_went() {
    let server = Server::start("[semaphores]\nA = 5\nB = { max = 1, level = -1 }");
    let holder = peer(&server, &json!({"A": 3, "B": 1}));
    let waiting = peer(&server, &json!({"A": 5}));
    let both = peer(&server, &json!({"A": 1}));
    server.delete(&format!("/peers/{both}"));
    let nothing = server.new_peer();

    let ids = [holder, waiting, nothing].map(|id| id.to_string());
    let [holder_id, waiting_id, nothing_id] = ids.each_ref().map(String::as_str);
    let first = run(&server, &["release", waiting_id, holder_id]).good();
    let last = run(&server, &["release", nothing_id]).good();

    let expected = format!(
        "released {waiting} etl@node7: it waited for 5 of A\n\
         released {holder} etl@node7: 3 of A, 1 of B\n"
    );
    assert_eq!(expected, first);
    assert_eq!(format!("released {nothing}: it held nothing\n"), last);
    assert_eq!((5, json!([])), (server.remainder("A"), server.json("/peers/")));
}

#[test]
fn peer_that_holds_and_waits_is_told_of_as_both() {
    let server = Server::start("[semaphores]\nA = { max = 1, level = 1 }\nB = 1");
    server.acquire(server.new_peer(), "B", 1);
    let both = peer(&server, &json!({"A": 1}));
    assert_eq!(202, server.acquire(both, "B", 1));

    let said = run(&server, &["release", &both.to_string()]).good();

    assert_eq!(format!("released {both} etl@node7: 1 of A, and it waited for 1 of B\n"), said);
}

#[test]
fn unknown_peers_are_an_error_and_the_others_are_released() {
    let server = Server::with_max(5);
    let holder = peer(&server, &json!({"A": 3}));

    let ran = run(&server, &["release", "7", &holder.to_string(), "8"]);

    assert_eq!(Some(1), ran.code);
    assert_eq!(format!("released {holder} etl@node7: 3 of A\n"), ran.stdout);
    let place = url(&server);
    let expected = format!(
        "error: no peers 7, 8 at {place}; `throttle ps SEMAPHORE` shows those that hold it\n"
    );
    assert_eq!(expected, ran.stderr);
    assert_eq!(5, server.remainder("A"));
    let one = run(&server, &["release", "7"]).bad(1);
    assert!(one.starts_with("error: no peer 7 at "), "{one}");
}

#[test]
fn name_is_no_id() {
    let server = Server::with_max(5);

    for (text, expected) in [
        ("etl@node7", "`throttle ps SEMAPHORE` shows them beside the names"),
        ("+5", "ids are whole numbers"),
        ("", "ids are whole numbers"),
        ("1.0", "ids are whole numbers"),
        ("18446744073709551616", "ids end at 18446744073709551615"),
    ] {
        let complaint = run(&server, &["release", "7", text]).bad(2);
        assert!(complaint.contains(expected), "{text}: {complaint}");
    }
    let none = run(&server, &["release"]).bad(2);
    assert!(none.contains("<PEER>"), "{none}");
}

#[test]
fn revoked_peer_cannot_come_back() {
    let server = Server::start("[semaphores]\nA = 5\n[admin]\ntoken = \"secret\"");
    let holder = peer(&server, &json!({"A": 3}));
    let id = holder.to_string();

    let refused = run(&server, &["release", "--revoke", &id]).bad(1);
    assert!(refused.contains("THROTTLE_ADMIN_TOKEN"), "{refused}");
    assert_eq!(2, server.remainder("A"));

    let mut command = at(&server, &["release", "--revoke", &id]);
    let said = Ran::of(command.env("THROTTLE_ADMIN_TOKEN", "secret").output().unwrap()).good();
    let expected = format!("revoked {holder} etl@node7: 3 of A; refused for 59m ");
    assert!(said.starts_with(&expected), "{said}");
    let restore = json!({"expires_in": "1h", "peer_id": holder, "acquired": {"A": 3}});
    assert_eq!(409, server.post("/restore", &restore.to_string()).status);
}

#[test]
fn release_needs_no_token() {
    let server = Server::start("[semaphores]\nA = 5\n[admin]\ntoken = \"secret\"");
    let holder = peer(&server, &json!({"A": 3}));

    run(&server, &["release", &holder.to_string()]).good();

    assert_eq!(5, server.remainder("A"));
}

#[test]
fn release_without_a_server_is_an_error() {
    let mut server = Server::with_max(1);
    server.kill();

    let complaint = run(&server, &["release", "7", "8"]).bad(1);

    assert!(complaint.starts_with(&format!("error: no server at {}", url(&server))), "{complaint}");
    assert_eq!(1, complaint.lines().count(), "not once for each peer: {complaint}");
}

#[test]
fn check_prints_semaphores_by_level_and_what_all_else_is_set_to() {
    let configuration = "recovery_window = \"auto\"\n\
        [semaphores]\nA = 42\nz = { max = 1, level = 7 }\nlow = { max = 0, level = -1 }\n\
        [semaphores.templates]\n\"tenant-*\" = 3\n\
        [limits]\nmax_expires_in = \"12h\"\nmax_waiters = 5\n\
        [admin]\ntoken = \"s3cret\"\n\
        [logging.gelf]\nhost = \"graylog.example.com\"";

    let text = check(configuration, &[]).good();

    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = text.lines().map(words).collect();
    let expected =
        ["throttle.toml is fine", "", "SEMAPHORE MAX LEVEL", "z 1 7", "A 42 0", "low 0 -1"];
    assert_eq!(expected, lines[..6]);
    for expected in [
        "tenant-* 3 0",
        "recovery_window 12h",
        "limits.max_peers 1000000",
        "limits.max_waiters 5",
        "limits.max_expires_in 12h",
        "limits.header_timeout 10s",
        "admin.token set: administrators are those who send it",
        "logging.stderr.level WARN",
        "logging.gelf WARN to graylog.example.com, port 12201, as `throttle`",
        "warning: `low` has max 0: it grants nothing",
        "warning: after each start, nothing is granted for 12h",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} in\n{text}");
    }
    assert!(text.contains("Hold those of a higher level first"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    assert_eq!(2, text.matches("warning:").count(), "{text}");
}

#[test]
fn check_as_json_says_the_same() {
    let configuration = "[semaphores]\nA = 42\nz = { max = 1, level = 7 }\n\
        [semaphores.templates]\n\"t-*\" = 3\n[admin]\ntoken = \"s3cret\"";

    let text = check(configuration, &["--json"]).good();

    assert!(!text.contains("s3cret"), "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!("throttle.toml", json["file"]);
    let semaphores =
        json!([{"name": "z", "max": 1, "level": 7}, {"name": "A", "max": 42, "level": 0}]);
    assert_eq!(semaphores, json["semaphores"]);
    assert_eq!(json!([{"pattern": "t-*", "max": 3, "level": 0}]), json["templates"]);
    assert_eq!(json!(true), json["settings"]["admin.token"]);
    assert_eq!(json!("1h"), json["settings"]["limits.max_block_for"]);
    assert_eq!(json!(null), json["settings"]["limits.max_expires_in"]);
    assert_eq!(json!([]), json["warnings"]);
}

#[test]
fn what_hardly_anybody_means_is_warned_of() {
    for (configuration, expected) in [
        ("", "no semaphores: whoever asks for one is refused"),
        ("[semaphores]\nA = 1\nB = 1", "all semaphores are at level 0"),
        ("[semaphores.templates]\n\"t-*\" = 1", "all semaphores are at level 0"),
        ("[semaphores]\nA = 0", "`A` has max 0: it grants nothing"),
        ("[semaphores]\nA = 1\n[logging.stderr]\nlevel = \"OFF\"", "nothing is logged"),
        ("[semaphores]\nA = 1\n[limits]\nmax_waiters = 1000000000", "limits.max_waiters is 10000"),
    ] {
        let text = check(configuration, &[]).good();

        let warnings: Vec<_> = text.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(1, warnings.len(), "{text}");
        assert!(warnings[0].contains(expected), "{text}");
    }
    let fine = check("[semaphores]\nA = 1", &[]).good();
    assert!(!fine.contains("warning"), "{fine}");
}

#[test]
fn shipped_configuration_is_fine() {
    let text = check(include_str!("../../throttle.toml"), &[]).good();

    assert!(!text.contains("warning"), "{text}");
}

#[test]
fn check_complains_as_the_server_would() {
    for configuration in ["[semaphores", "[semaphores]\nA = { mx = 1 }", "recovery_window = \"5m\""]
    {
        let complaint = check(configuration, &[]).bad(1);

        assert!(complaint.starts_with("error: throttle.toml, line "), "{complaint}");
        assert_eq!(refusal_to_start(configuration), complaint);
        assert_eq!(complaint, check(configuration, &["--json"]).bad(1));
    }
}

#[test]
fn file_to_check_must_be_there() {
    let folder = TempDir::new().unwrap();

    let default = run_in(folder.path(), &["check"]).bad(1);
    let named = run_in(folder.path(), &["check", "no/where.toml"]).bad(1);
    let directory = run_in(folder.path(), &["check", "."]).bad(1);

    let expected = "error: no `throttle.toml` in the working directory; name a file, as in \
                    `throttle check FILE`\n";
    assert_eq!(expected, default);
    let expected = "error: cannot read the configuration `no/where.toml`: ";
    assert!(named.starts_with(expected), "{named}");
    assert!(directory.starts_with("error: cannot read the configuration `.`: "), "{directory}");
}

#[test]
fn file_of_another_name_is_checked_and_its_name_is_harmless() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("o.toml"), "[semaphores]\n\"\\u001b[31m\" = 1").unwrap();

    let text = run_in(folder.path(), &["check", "o.toml"]).good();

    assert!(text.starts_with("o.toml is fine\n"), "{text}");
    assert!(text.contains(r"\u{1b}[31m"), "{text}");
}

#[test]
fn each_shell_gets_its_completions() {
    let folder = TempDir::new().unwrap();

    for (shell, expected) in [
        ("bash", "complete -F _throttle"),
        ("zsh", "#compdef throttle"),
        ("fish", "complete -c throttle"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[throttle]"),
    ] {
        let script = run_in(folder.path(), &["completions", shell]).good();

        assert!(script.contains(expected), "{shell}");
        for subcommand in ["run", "ps", "set", "release", "check", "completions", "man"] {
            assert!(script.contains(subcommand), "{subcommand} in {shell}");
        }
        let help = run_in(folder.path(), &["completions", "--help"]).good();
        assert!(help.contains(&format!("throttle completions {shell}")), "{help}");
    }
    let unknown = run_in(folder.path(), &["completions", "tcsh"]).bad(2);
    assert!(unknown.contains("possible values: bash"), "{unknown}");
}

#[cfg(unix)]
#[test]
fn completions_of_bash_are_understood_by_bash() {
    let folder = TempDir::new().unwrap();
    let script = run_in(folder.path(), &["completions", "bash"]).good();
    fs::write(folder.path().join("throttle"), script).unwrap();

    // What `throttle rel` and `throttle ps --wa` and Tab have to offer.
    let line = "set -e; bash -n throttle; source ./throttle; \
        COMP_WORDS=(throttle rel); COMP_CWORD=1; _throttle throttle rel throttle; \
        echo ${COMPREPLY[@]}; \
        COMP_WORDS=(throttle ps --wa); COMP_CWORD=2; _throttle throttle --wa ps; \
        echo ${COMPREPLY[@]}";
    let bash = std::process::Command::new("bash")
        .args(["-c", line])
        .current_dir(&folder)
        .output()
        .unwrap();

    assert_eq!("release\n--watch\n", Ran::of(bash).good());
}

#[test]
fn manual_pages_are_written_for_all_but_the_hidden() {
    let folder = TempDir::new().unwrap();

    let one = run_in(folder.path(), &["man"]).good();
    let none = run_in(folder.path(), &["man", "--out", "new/folder"]).good();

    assert_eq!("", none);
    let folder = folder.path().join("new/folder");
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    let parts = ["check", "completions", "man", "ps", "release", "run", "set"];
    let mut expected: Vec<_> = parts.iter().map(|part| format!("throttle-{part}.1")).collect();
    expected.push("throttle.1".to_owned());
    assert_eq!(expected, names);
    assert_eq!(one, fs::read_to_string(folder.join("throttle.1")).unwrap());
    let sections = |text: &str| {
        let headings = text.lines().filter_map(|line| line.strip_prefix(".SH "));
        headings.map(|heading| heading.trim_matches('"').to_owned()).collect::<Vec<_>>()
    };
    for section in [
        "NAME",
        "SYNOPSIS",
        "OPTIONS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
        "EXAMPLES",
        "SEE ALSO",
    ] {
        assert!(sections(&one).iter().any(|found| found == section), "{section}");
    }
    for name in names {
        let text = fs::read_to_string(folder.join(&name)).unwrap();
        assert_eq!(1, sections(&text).iter().filter(|found| *found == "EXIT STATUS").count());
        assert!(!text.contains("See [") && !text.contains("guard"), "{name}");
        assert_no_complaint(&folder.join(&name));
    }
}

/// Asks groff, where it is installed.
fn assert_no_complaint(page: &Path) {
    let mut groff = std::process::Command::new("groff");
    let Ok(output) = groff.args(["-man", "-Tascii", "-ww", "-z"]).arg(page).output() else {
        return;
    };
    Ran::of(output).good();
}

#[test]
fn folder_that_cannot_be_made_is_an_error() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();

    let complaint = run_in(folder.path(), &["man", "--out", "file"]).bad(1);

    assert!(complaint.starts_with("error: cannot write `file`: "), "{complaint}");
}

#[test]
fn help_names_each_subcommand_and_what_it_does() {
    let folder = TempDir::new().unwrap();

    let help = run_in(folder.path(), &["--help"]).good();

    for (name, what) in [
        ("run", "Hold locks while a command runs"),
        ("ps", "Show what is held, and who waits"),
        ("set", "Resize, pause or resume a semaphore"),
        ("release", "Release peers, and all that they hold and wait for"),
        ("check", "Check a configuration, and print what it means"),
        ("man", "Print the manual page, or write all of them"),
    ] {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")));
        assert!(line.is_some_and(|line| line.ends_with(what)), "{name} in {help}");
    }
    assert!(!help.contains("guard"), "{help}");
}
