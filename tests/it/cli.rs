//! The command line, the configuration file, and what happens when they are wrong.

use std::{net::TcpListener, process::Output};

use tempfile::TempDir;

use crate::{
    client::eventually,
    server::{Lines, Server, throttle},
};

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let directory = TempDir::new().unwrap();
    let Output { status, stdout, stderr } =
        throttle().current_dir(&directory).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn help_and_version_are_printed() {
    let (code, help, _) = run(&["--help"]);

    assert_eq!(Some(0), code);
    for part in ["--address", "127.0.0.1", "--port", "8000", "-c, --configuration"] {
        assert!(help.contains(part), "{part} in {help}");
    }
    let (code, version, _) = run(&["--version"]);
    assert_eq!(Some(0), code);
    assert_eq!(format!("throttle {}\n", env!("CARGO_PKG_VERSION")), version);
}

#[test]
fn missing_default_file_is_noted_and_the_server_starts() {
    let directory = TempDir::new().unwrap();
    let mut process = throttle().current_dir(&directory).args(["--port", "0"]).spawn().unwrap();
    let stderr = Lines::of(&mut process);

    eventually("it listens", || stderr.text().contains("listening on http://127.0.0.1:"));
    process.kill().unwrap();
    process.wait().unwrap();

    let note = "throttle.toml not found => Using empty default configuration.\n";
    assert!(stderr.text().starts_with(note), "{}", stderr.text());
}

#[test]
fn missing_file_that_was_named_is_an_error() {
    let (code, _, stderr) = run(&["-c", "nowhere.toml"]);

    assert_eq!(Some(1), code);
    assert!(
        stderr.starts_with("error: cannot read the configuration `nowhere.toml`: "),
        "{stderr}"
    );
}

#[test]
fn bad_file_ends_the_start_with_file_line_column_key_and_what_is_expected() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("throttle.toml"), "[semaphores]\nA = { mx = 1 }").unwrap();

    let output = throttle().current_dir(&directory).output().unwrap();

    assert_eq!(Some(1), output.status.code());
    let expected = "error: throttle.toml, line 2, column 7, key `semaphores.A.mx`: unknown field \
                    `mx`, expected `max` or `level`; did you mean `max`?\n";
    assert_eq!(expected, String::from_utf8(output.stderr).unwrap());
}

#[test]
fn named_file_is_used() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("other.toml");
    std::fs::write(&file, "[semaphores]\nother = 3").unwrap();

    let server = Server::start_with("[semaphores]\nA = 1", |command| {
        command.arg("--configuration").arg(&file)
    });

    assert_eq!(3, server.remainder("other"));
}

#[test]
fn shipped_file_has_active_semaphores_for_the_first_try() {
    let server = Server::start(include_str!("../../throttle.toml"));

    server.assert_serves("A");
}

#[test]
fn taken_port_and_unknown_address_are_errors_with_a_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();

    for args in [["--port", &port], ["--address", "not an address"]] {
        let (code, _, stderr) = run(&args);

        assert_eq!(Some(1), code, "{stderr}");
        assert!(stderr.contains("error: cannot listen on "), "{stderr}");
        assert!(stderr.contains(args[1]), "{stderr}");
        assert!(stderr.contains("--address or --port"), "{stderr}");
    }
}

#[test]
fn localhost_resolves() {
    let server = Server::start_with("[semaphores]\nA = 1", |command| {
        command.args(["--address", "localhost"])
    });

    server.assert_serves("A");
}

#[test]
fn unknown_option_is_a_usage_error() {
    let (code, _, stderr) = run(&["--prot", "1"]);

    assert_eq!(Some(2), code);
    assert!(stderr.contains("--port"), "{stderr}");
}

#[test]
fn port_that_is_taken_at_one_address_of_a_name_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();

    let (code, _, stderr) = run(&["--address", "localhost", "--port", &port]);

    assert_eq!(Some(1), code, "{stderr}");
}

#[cfg(unix)]
#[test]
fn link_that_leads_nowhere_is_not_taken_for_no_file() {
    let directory = TempDir::new().unwrap();
    std::os::unix::fs::symlink("nowhere", directory.path().join("throttle.toml")).unwrap();

    let output = throttle().current_dir(&directory).args(["--port", "0"]).output().unwrap();

    assert_eq!(Some(1), output.status.code());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot read the configuration `throttle.toml`"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn too_few_open_files_end_the_start() {
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 20 && exec \"$0\" --port 0", env!("CARGO_BIN_EXE_throttle")])
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();

    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(Some(1), output.status.code(), "{text}");
    assert!(text.contains("no more than 20 files may be open; raise that limit"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}
