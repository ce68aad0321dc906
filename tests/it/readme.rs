//! What the README and the reference say is true: their commands and examples are run.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::server::{Server, throttle};

const README: &str = include_str!("../../README.md");
const COMMAND_LINE: &str = include_str!("../../docs/command_line.md");
const REFERENCE: &str = include_str!("../../docs/http_api.md");

/// The fenced blocks of one language below a heading, up to the next heading.
fn blocks(heading: &str, language: &str) -> Vec<&'static str> {
    let (_, section) = README.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let fence = format!("```{language}\n");
    section.split(&fence).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// Runs a block as a person would type it, against this server, and returns what it prints.
fn run(server: &Server, block: &str) -> String {
    let script = block.replace("localhost:8000", &server.address.to_string());
    // Answers end without a newline; a person sees each on a line of its own.
    let script = script.replace("curl -s ", "curl -s --fail -w '\\n' ");
    let programs = Path::new(env!("CARGO_BIN_EXE_throttle")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-euc", &script])
        .current_dir(server.file().parent().unwrap())
        .env("PATH", path)
        .env("THROTTLE_URL", format!("http://{}", server.address))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn first_try_with_curl_takes_a_lock_shows_it_and_gives_it_back() {
    let server = Server::start(include_str!("../../throttle.toml"));

    let printed = run(&server, blocks("Try it with curl", "bash")[0]);

    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].parse::<u64>().is_ok(), "{printed}");
    assert_eq!(["41", "\"Peer released\""], lines[1..], "{printed}");
    assert_eq!(42, server.remainder("A"));
}

/// Puts a script beside the configuration of the server.
fn write_script(server: &Server, name: &str, script: &str) {
    let file = server.file().with_file_name(name);
    fs::write(&file, script).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn commands_run_under_locks_as_shown() {
    let server = Server::start(include_str!("../../throttle.toml"));
    write_script(&server, "load.sh", "#!/bin/sh\necho loaded\n");

    let printed = run(&server, blocks("Use it from the shell", "bash")[0]);

    assert_eq!(3, printed.matches("loaded\n").count(), "{printed}");
    assert!(printed.contains("database"), "{printed}");
    assert_eq!(10, server.remainder("database"));
}

/// As many permits as the configuration has, and never more.
#[test]
fn crowd_is_kept_within_bounds_as_shown() {
    let server = Server::start(include_str!("../../throttle.toml"));
    let count = "#!/bin/sh\nmkdir in.$1\nls -d in.* | wc -l\nsleep 0.2\nrmdir in.$1\n";
    write_script(&server, "load.sh", count);
    // The machine that runs the tests has better to do.
    let block = blocks("Use it from the shell", "bash")[1].replace("400", "40");

    let printed = run(&server, &block);

    let inside: Vec<usize> = printed.lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(40, inside.len(), "{printed}");
    assert_eq!(Some(&10), inside.iter().max(), "{printed}");
}

#[test]
fn deploy_runs_once_as_shown() {
    let server = Server::start(include_str!("../../throttle.toml"));
    let block = blocks("Use it from the shell", "bash")[2];
    let [only_the_first, _] = block.lines().collect::<Vec<_>>()[..] else { panic!("{block}") };
    let again = format!("#!/bin/sh\necho deployed\n[ $1 ] || {only_the_first}\n")
        .replace("deploy.sh", "deploy.sh again");
    write_script(&server, "deploy.sh", &again);

    let printed = run(&server, block);

    // Each line deploys; what a deploy starts meanwhile does not.
    assert_eq!("deployed\ndeployed\n", printed);
}

#[test]
fn semaphore_of_a_cron_job_is_made_from_the_template_of_the_readme() {
    let section = README.split_once("**Cron without overlap.**").unwrap().1;
    let quoted = section.split_once("A [template]").unwrap().1.split('`').nth(1).unwrap();
    let server = Server::start(&format!("[semaphores.templates]\n{quoted}\n"));
    write_script(&server, "sync", "#!/bin/sh\necho synchronised\n");
    let (_, line) = section.split_once("*/5 * * * *").unwrap();
    let line = line.lines().next().unwrap().replace("/usr/local/bin/throttle", "throttle");
    let line = line.replace("/usr/local/bin/sync", "./sync");

    assert_eq!("synchronised\n", run(&server, &line));
}

#[test]
fn levels_nest_as_shown() {
    let server = Server::start(include_str!("../../throttle.toml"));

    let printed = run(&server, blocks("Levels", "bash")[0]);

    assert_eq!(3, printed.lines().count(), "{printed}");
    assert!(printed.ends_with("\"Peer released\"\n"), "{printed}");
}

#[test]
fn several_at_once_are_taken_shown_and_given_back() {
    let server = Server::start(include_str!("../../throttle.toml"));

    let printed = run(&server, blocks("Several at once", "bash")[0]);

    assert!(printed.contains(r#""acquired":{"database":2,"A":1},"tokens":{"#), "{printed}");
    assert!(printed.ends_with("\"Peer released\"\n"), "{printed}");
}

#[test]
fn holders_are_shown_as_in_the_readme() {
    let server = Server::start(include_str!("../../throttle.toml"));
    let block = blocks("Who holds it, who waits", "bash")[0];

    let printed = run(&server, block);

    assert!(printed.contains("\"held_by\":[{\"peer\":"), "{printed}");
    assert!(printed.contains("\"name\":\"etl@node7\",\"labels\":{\"pid\":\"311\"}"), "{printed}");
    assert!(printed.ends_with("\"Peer released\"\n"), "{printed}");
}

#[test]
fn semaphores_are_changed_as_in_the_readme() {
    let server = Server::start(include_str!("../../throttle.toml"));

    let printed = run(&server, blocks("Change it while it runs", "bash")[0]);

    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].contains("\"max\":50"), "{printed}");
    assert!(lines[1].contains("\"paused\":true"), "{printed}");
    assert!(lines[2].contains("\"max\":42,") && lines[2].contains("\"paused\":false"), "{printed}");
    assert!(lines[3].contains("\"needs_restart\":[]"), "{printed}");
}

#[test]
fn templates_of_the_readme_are_a_configuration() {
    let server = Server::start(blocks("Change it while it runs", "toml")[0]);

    assert_eq!(3, server.remainder("tenant-blue"));
}

#[test]
fn recovery_window_of_the_readme_is_a_configuration() {
    let (_, rest) = README.split_once("```toml\nrecovery_window").unwrap();
    let settings = format!("recovery_window{}", rest.split("```").next().unwrap());
    let server = Server::start(&settings);

    assert_eq!(503, server.get("/health/granting").status);
}

#[test]
fn revoking_works_as_shown() {
    let configuration =
        format!("{}[admin]\ntoken = \"...\"\n", include_str!("../../throttle.toml"));
    let server = Server::start(&configuration);
    let peer = server.new_peer();
    let block = blocks("A hand that revokes", "bash")[0].replace("curl -X", "curl -s -X");

    let printed = run(&server, &format!("TOKEN=... peer={peer}\n{block}"));

    assert_eq!("\"Peer released\"\n", printed);
}

#[test]
fn every_route_of_the_readme_exists() {
    let server = Server::with_max(1);
    let (_, section) = README.split_once("\n## All routes\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut routes = 0;

    for quoted in section.split('`').skip(1).step_by(2) {
        let Some((method, path)) = quoted.split_once(" /") else { continue };
        let path = path.replace("{id}", "1").replace("{semaphore}", "A");
        // What it answers to GET has no end.
        let method = if path.starts_with("events") { "HEAD" } else { method };
        let response = server.send(method, &format!("/{path}"), &[], "");
        assert!(![404, 405].contains(&response.status), "{quoted}");
        routes += 1;
    }

    assert_eq!(26, routes);
}

#[test]
fn every_option_of_a_subcommand_is_in_its_reference() {
    let mut options = 0;

    for section in COMMAND_LINE.split("\n## `throttle ").skip(1) {
        let name = section.split([' ', '`']).next().unwrap();
        let output = throttle().args([name, "--help"]).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let of_help = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
        for option in of_help.flat_map(|line| line.split([' ', ','])).filter(|o| o.len() > 2) {
            if option.starts_with("--") && option != "--help" {
                assert!(section.contains(&format!("`{option}")), "{name} {option}");
                options += 1;
            }
        }
    }

    assert_eq!(20, options);
}

#[test]
fn every_subcommand_has_its_reference() {
    let output = throttle().arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();

    for line in commands.split("\n\n").next().unwrap().lines() {
        let name = line.split_whitespace().next().unwrap();
        let heading = format!("\n## `throttle {name}");
        assert!(name == "help" || COMMAND_LINE.contains(&heading), "{line}");
    }
}

#[test]
fn every_code_of_the_reference_is_one_of_the_source() {
    let source = include_str!("../../src/http/error.rs");
    let is_code = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let of_source: std::collections::BTreeSet<_> = source
        .split("\")")
        .filter_map(|part| part.rsplit_once(", \"").map(|(_, code)| code))
        .filter(is_code)
        .collect();
    let (_, table) = REFERENCE.split_once("| `code` |").unwrap();
    let table = table.split("\n\n").next().unwrap();
    let of_table: std::collections::BTreeSet<_> = table
        .lines()
        .filter_map(|row| row.trim_end_matches(" |").rsplit_once('|'))
        .flat_map(|(_, codes)| codes.split('`').skip(1).step_by(2))
        .collect();

    assert!(of_source.contains("grow"), "{of_source:?}");
    assert_eq!(of_source, of_table);
}
