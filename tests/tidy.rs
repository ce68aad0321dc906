//! Keeps by machine what the project's pages say of its own shape, so that nobody has to remember
//! it. A rule that stands in the way is changed here, with its reason, together with
//! `docs/architecture.md`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Which rooms a room may call. `semaphore` knows nobody; whoever reads requests never sees the
/// books, only the door to them.
const DOORS: [(&str, &[&str]); 25] = [
    ("main", &["cli", "logging", "server"]),
    ("lib", &[]),
    (
        "server",
        &[
            "cli",
            "config",
            "http",
            "ids",
            "in_flight",
            "litter_collection",
            "logging",
            "metrics",
            "connections",
            "reload",
            "semaphore",
            "signals",
            "state",
            "watch",
        ],
    ),
    (
        "cli",
        &[
            "client",
            "clock",
            "config",
            "connections",
            "ids",
            "logging",
            "nearest",
            "process",
            "semaphore",
            "signals",
        ],
    ),
    ("client", &["clock"]),
    ("process", &["clock", "signals"]),
    ("config", &["fields", "nearest", "semaphore"]),
    ("logging", &["clock", "config", "ids", "nearest", "semaphore"]),
    (
        "http",
        &[
            "clock",
            "feed",
            "fields",
            "in_flight",
            "logging",
            "metrics",
            "nearest",
            "reload",
            "samples",
            "semaphore",
            "state",
            "waiting",
            "watch",
        ],
    ),
    ("state", &["aftermath", "clock", "feed", "ids", "log_text", "semaphore", "waiting"]),
    ("aftermath", &["feed", "log_text", "semaphore", "waiting"]),
    ("feed", &["semaphore"]),
    ("reload", &["cli", "config", "feed", "log_text", "metrics", "semaphore", "state"]),
    ("log_text", &["semaphore"]),
    ("samples", &["state"]),
    ("waiting", &["semaphore"]),
    ("litter_collection", &["state"]),
    ("metrics", &["clock", "semaphore", "state"]),
    ("clock", &["semaphore"]),
    ("ids", &["semaphore"]),
    ("watch", &["clock", "semaphore"]),
    ("fields", &[]),
    ("in_flight", &[]),
    ("nearest", &[]),
    ("semaphore", &[]),
];

/// The files that may hold what only some systems have, each behind its `cfg`. Nothing else depends
/// on it: Windows and macOS are promised too.
const SOME_SYSTEMS_ONLY: [&str; 8] = [
    "src/clock.rs",
    "src/connections.rs",
    "src/process/group.rs",
    "src/process/guard.rs",
    "src/process/mod.rs",
    "src/process/signal.rs",
    "src/process/terminal.rs",
    "src/signals.rs",
];

/// What the pure room must not know, and what would tell.
const IMPURE: [&str; 12] = [
    "actix",
    "async ",
    ".await",
    "Instant",
    "SystemTime",
    "log::",
    "prometheus",
    "rand::",
    "serde",
    "std::env",
    "std::net",
    "tokio",
];

/// The books: whoever names them is inside the door.
const BOOKS: [&str; 2] = ["Leases::", "Effects"];

const LINE: usize = 100;
const FUNCTION: usize = 70;
const FILE: usize = 400;

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The room that the file belongs to.
    fn room(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap();
        inner.split(['/', '.']).next().unwrap()
    }

    /// The text without the tests at its end.
    fn without_tests(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap()
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.starts_with("src/semaphore/model")
    }
}

/// Those of the server.
fn sources() -> Vec<Source> {
    sources_in(&["src"], "rs")
}

/// Those of the server, of the benchmark, and of the fuzz targets.
fn all_sources() -> Vec<Source> {
    let others = ["bench/src", "bench/benches", "fuzz/src", "fuzz/fuzz_targets"];
    let sources = sources_in(&[&["src"][..], &others].concat(), "rs");
    assert!(sources.len() > 20, "the sources are where they are looked for");
    sources
}

/// The scripts and the style sheets of the page.
fn sources_of_page() -> Vec<Source> {
    let [scripts, styles] = ["js", "css"].map(|kind| sources_in(&["src/http/dashboard"], kind));
    assert!(!scripts.is_empty() && !styles.is_empty(), "they are where they are looked for");
    scripts.into_iter().chain(styles).collect()
}

fn sources_in(folders: &[&str], kind: &str) -> Vec<Source> {
    fn collect(folder: &Path, kind: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, kind, found);
            } else if path.extension().is_some_and(|extension| extension == kind) {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    folders.iter().for_each(|folder| collect(&root.join(folder), kind, &mut paths));
    paths.sort();
    let path_of = |path: &PathBuf| {
        let parts = path.strip_prefix(root).unwrap().iter();
        parts.map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("/")
    };
    paths
        .iter()
        .map(|path| Source { path: path_of(path), text: fs::read_to_string(path).unwrap() })
        .collect()
}

/// Fails with all complaints at once.
fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Rooms of ours that a piece of code names: `crate::room`, or `{room, …}` behind `use crate::`.
fn rooms_named(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    let prefixes = ["crate::", "throttle::"];
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join(" ");
    for rest in prefixes.iter().flat_map(|prefix| code.split(prefix).skip(1)) {
        let list = match rest.strip_prefix('{') {
            Some(group) => top_level_items(group),
            None => vec![rest],
        };
        for item in list {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let name: String = item.trim_start().chars().take_while(|c| is_part(*c)).collect();
            rooms.push(name);
        }
    }
    rooms
}

/// The items of a `use` group up to its closing brace, groups within it left out.
fn top_level_items(group: &str) -> Vec<&str> {
    let mut depth = 1;
    let mut start = 0;
    let mut items = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            items.push(&group[start..at]);
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

#[test]
fn doors_go_one_way() {
    let doors: BTreeMap<_, _> = DOORS.into();
    let mut complaints = Vec::new();
    for source in sources() {
        let room = source.room();
        let allowed = doors.get(room).copied().unwrap_or_default();
        for named in rooms_named(source.without_tests()) {
            if named != room && !allowed.contains(&named.as_str()) {
                complaints.push(format!("{}: no door leads to `{named}`", source.path));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn handlers_do_not_reach_for_the_books() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| source.room() == "http") {
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if BOOKS.iter().any(|book| code.contains(book)) {
                complaints.push(format!("{}:{}: {line}", source.path, number + 1));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn pure_room_knows_no_clock_no_chance_no_network_and_no_log() {
    let mut complaints = Vec::new();
    for source in sources().iter().filter(|source| source.room() == "semaphore") {
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for word in IMPURE.iter().filter(|word| code.contains(*word)) {
                complaints.push(format!("{}:{}: `{word}`", source.path, number + 1));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn what_is_unix_only_stands_in_the_files_named_for_it() {
    let mut complaints = Vec::new();
    for source in sources() {
        let text = &source.text;
        let telling =
            ["cfg(unix)", "cfg(not(unix))", "target_os", "std::os::", "signal::unix", "rlimit"];
        let found = telling.iter().find(|word| text.contains(*word));
        if let Some(word) = found.filter(|_| !SOME_SYSTEMS_ONLY.contains(&source.path.as_str())) {
            complaints.push(format!("{}: `{word}`", source.path));
        }
    }
    assert_none(complaints);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = all_sources().into_iter().filter(|source| !source.text.starts_with("//! "));

    assert_none(silent.map(|source| source.path).collect());
}

#[test]
fn files_and_lines_keep_their_bounds() {
    let mut complaints = Vec::new();
    for source in all_sources().into_iter().chain(sources_of_page()) {
        let lines = source.without_tests().lines().count();
        if lines > FILE && !source.is_test() {
            complaints.push(format!("{}: {lines} lines, at most {FILE}", source.path));
        }
        for (number, line) in source.text.lines().enumerate() {
            // rustfmt leaves long strings as they are.
            let is_left = source.path.ends_with(".rs") && line.contains('"');
            if line.chars().count() > LINE && !is_left {
                complaints.push(format!("{}:{}: longer than {LINE}", source.path, number + 1));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn pages_keep_their_width() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/command_line.md",
        "docs/http_api.md",
        "docs/performance.md",
        "docs/reliability.md",
        "python_client/README.md",
        "deploy/README.md",
    ];
    let mut complaints = Vec::new();
    for page in pages {
        let text = fs::read_to_string(root.join(page)).unwrap();
        for (number, line) in text.lines().enumerate() {
            // A row of a table cannot be broken.
            if line.chars().count() > LINE && !line.starts_with('|') {
                complaints.push(format!("{page}:{}: longer than {LINE}", number + 1));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn functions_keep_their_bounds() {
    let mut complaints = Vec::new();
    for source in all_sources().iter().filter(|source| !source.is_test()) {
        let lines: Vec<_> = source.without_tests().lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let is_function = code.starts_with("fn ")
                || (code.starts_with("pub") || code.starts_with("async ")) && code.contains(" fn ")
                || code.starts_with("const fn ");
            if !is_function || code.ends_with(';') || code.ends_with('}') {
                continue;
            }
            let indent = &line[..line.len() - code.len()];
            let end = format!("{indent}}}");
            let length = lines[start..].iter().position(|line| *line == end).unwrap_or(0) + 1;
            if length > FUNCTION {
                let place = format!("{}:{}", source.path, start + 1);
                complaints.push(format!("{place}: {length} lines, at most {FUNCTION}"));
            }
        }
    }
    assert_none(complaints);
}

/// The tests of this file would pass for any sources if this did not hold.
#[test]
fn rooms_are_found_in_every_way_of_naming_them() {
    let text = "use crate::{\n    config::Config,\n    http::{Api, serve},\n    state::State,\n};\n\
                use crate::clock::Clock;\n// crate::comment\nfn f() { crate::nearest::suggest(x) }";

    let rooms = rooms_named(text);

    assert_eq!(["config", "http", "state", "clock", "nearest"], *rooms);
}
