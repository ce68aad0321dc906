//! On what it was measured: without that no figure means anything.

use std::{collections::BTreeMap, fs, process::Command, thread};

/// Notes the processor, how many cores may be used, the system and the compiler.
pub fn describe(facts: &mut BTreeMap<String, String>) {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown", |(_, model)| model.trim());
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    facts.insert("processor".to_owned(), format!("{model}, {cores} cores"));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What follows the number says who built it.
    let number = release.trim().split('-').next().unwrap_or_default();
    facts.insert("system".to_owned(), format!("Linux {number}"));
    if let Ok(output) = Command::new("rustc").arg("--version").output() {
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        facts.insert("compiler".to_owned(), version);
    }
}
