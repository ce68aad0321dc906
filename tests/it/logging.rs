//! Lines on standard error, and `THROTTLE_LOG`.

use crate::{
    client::eventually,
    server::{Server, throttle},
};

fn with_log(configuration: &str, filter: &str) -> Server {
    Server::start_with(configuration, |command| command.env("THROTTLE_LOG", filter))
}

#[test]
fn start_is_logged_as_operators_know_it() {
    let server = with_log("", "INFO");

    for line in [
        "INFO  throttle] Hello From Throttle\n",
        "WARN  throttle] No semaphores configured.\n",
        "INFO  throttle::litter_collection] Start litter collection with interval: 300s\n",
        "INFO  actix_server::",
    ] {
        eventually(line, || server.stderr().contains(line));
    }
}

#[test]
fn warnings_alone_are_logged_by_default() {
    let server = Server::start("");

    let warning = "WARN  throttle] No semaphores configured.";
    eventually(warning, || server.stderr().contains(warning));

    assert!(!server.stderr().contains("INFO"), "{}", server.stderr());
}

#[test]
fn configuration_sets_the_level_and_the_variable_goes_before_it() {
    let debug = "[semaphores]\nA = 1\n[logging.stderr]\nlevel = \"debug\"\n";

    let configured = Server::start(debug);
    configured.put("/peers/7/B", "\"secret\"");
    let line = "DEBUG throttle::http::error] PUT /peers/7/B refused with 400: bad_body";
    eventually(line, || configured.stderr().contains(line));
    assert!(!configured.stderr().contains("secret"), "never a body: {}", configured.stderr());

    let overridden = with_log(debug, "off");
    overridden.get("/remainder?semaphore=B");
    assert!(!overridden.stderr().contains("DEBUG"), "{}", overridden.stderr());
}

#[test]
fn invalid_filter_is_reported() {
    for (filter, hint) in [
        ("INOF", "did you mean `INFO`?"),
        ("throttle=inof", "invalid logging spec"),
        ("warn,,debgu", "did you mean `DEBUG`?"),
        ("warning", "expected ERROR, WARN, INFO"),
        ("verbose", "expected ERROR, WARN, INFO"),
        ("5", "expected ERROR, WARN, INFO"),
    ] {
        let output = throttle().args(["--port", "0"]).env("THROTTLE_LOG", filter).output().unwrap();

        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(Some(1), output.status.code(), "{filter}: {text}");
        assert!(text.contains(&format!("invalid THROTTLE_LOG `{filter}`")), "{text}");
        assert!(text.contains(hint), "{text}");
    }
}

#[test]
fn filters_of_all_kinds_are_understood() {
    for filter in
        ["", "info", "throttle", "warn,throttle=debug", "actix_server::worker", "info/start"]
    {
        let server = with_log("[semaphores]\nA = 1", filter);

        server.assert_serves("A");
    }
}

/// A pipe takes 64 KiB; the log of these requests is longer, and this test reads none of it.
#[cfg(unix)]
#[test]
fn log_that_nobody_reads_stops_nothing() {
    use std::{
        io::{BufRead, BufReader},
        process::Command,
    };

    let mut process = throttle()
        .args(["--port", "0"])
        .env("THROTTLE_LOG", "debug")
        .current_dir(std::env::temp_dir())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on http://") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the server ended");
    }
    let address = line.trim().rsplit('/').next().unwrap().parse().unwrap();
    let client = crate::client::Client::new(address);
    let long = "x".repeat(800);

    for _ in 0..1_000 {
        assert_eq!(400, client.put(&format!("/peers/{long}"), "1").status);
    }

    assert_eq!((200, "Ok"), client.get("/health").pair());
    let killed = Command::new("kill").args(["-s", "TERM", &process.id().to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(Some(0), process.wait().unwrap().code());
}
