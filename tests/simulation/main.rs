//! Seeded simulation of a server and its clients, in one thread and in paused time: the real books,
//! the real state and the real waiters; clients that keep to the rules of ours; and between them a
//! network that loses, doubles, delays and reorders, while machines die, stop and come back.
//!
//! `make test` runs the short form. `make soak-simulation` runs the long one. A failure prints its
//! seed and the shortest history that was found; `THROTTLE_SIMULATION=<script>` runs that again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]
#![allow(clippy::disallowed_methods, reason = "it times itself; what it simulates has no clock")]
#![allow(missing_docs, reason = "these are tests")]

mod beliefs;
mod circles;
mod client;
mod coverage;
mod dice;
mod life;
mod program;
mod promises;
mod server;
mod shorten;
mod wire;
mod world;

/// The naive model that the unit tests of the pure room use, too.
#[path = "../../src/semaphore/model/books.rs"]
#[allow(dead_code, reason = "some of it is for the unit tests alone")]
mod naive;

use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use throttle::semaphore::Error;

use self::{
    coverage::{Coverage, RARE, REACHED},
    dice::{Script, Who},
    promises::Broken,
    shorten::shorten,
    world::{Length, run},
};

/// The short form: so many seeds, from 0 on, with so many events each.
const SEEDS: u64 = 60;
const EVENTS: u64 = 2_500;

/// What has come of many runs.
#[derive(Default)]
struct Total {
    events: u64,
    coverage: Coverage,
    /// Of the least seed that failed.
    failed: Option<Script>,
}

/// Runs all seeds up to that, on all cores. Stops soon after a failure.
fn run_all(seeds: u64, events: u64) -> Total {
    let next = AtomicU64::new(0);
    let total = Mutex::new(Total::default());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while total.lock().unwrap().failed.is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let script = Script { seed, kept: None };
                    let ended = run(&script, Length { events, ends_in_peace: true }, false);
                    let mut total = total.lock().unwrap();
                    total.events += ended.events;
                    total.coverage.add(&ended.coverage);
                    let is_first = total.failed.as_ref().is_none_or(|failed| seed < failed.seed);
                    if ended.broken.is_some() && is_first {
                        total.failed = Some(script);
                    }
                }
            });
        }
    });
    total.into_inner().unwrap()
}

/// The shortest history that leads to a failure, for people.
fn explained(failed: &Script, events: u64) -> String {
    let whole = Length { events, ends_in_peace: true };
    let lasted = run(failed, whole, false).events;
    let length = Length { events: events.min(lasted), ends_in_peace: lasted >= events };
    let seconds = number("THROTTLE_SIMULATION_SHORTEN_SECONDS", 60);
    let shortest = shorten(failed, Duration::from_secs(seconds), |script| {
        let ended = run(script, length, false);
        ended.broken.map(|broken| (broken, ended.taken))
    });
    let Some((script, Broken { promise, how })) = shortest else {
        return format!("seed {} broke a promise, but did not do so again", failed.seed);
    };
    let history = run(&script, length, true).history.join("\n");
    format!(
        "seed {} broke a promise. The shortest history that was found, with {} decisions:\n\n\
         {history}\n\nBroken: {promise}\n{how}\n\nTo run it again:\n\
         THROTTLE_SIMULATION={script} THROTTLE_SIMULATION_EVENTS={} \\\n    \
         cargo test --test simulation promises -- --nocapture\n",
        failed.seed,
        script.kept.as_ref().map_or(0, |kept| kept.len()),
        length.events,
    )
}

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a whole number"))
    })
}

#[test]
fn promises_are_kept_whatever_happens() {
    let events = number("THROTTLE_SIMULATION_EVENTS", EVENTS);
    if let Ok(script) = env::var("THROTTLE_SIMULATION") {
        let script: Script = script.parse().unwrap_or_else(|error| panic!("{error}"));
        let ended = run(&script, Length { events, ends_in_peace: true }, true);
        println!("{}", ended.history.join("\n"));
        assert!(ended.broken.is_none(), "{:?}", ended.broken);
        return;
    }
    let seeds = number("THROTTLE_SIMULATION_SEEDS", SEEDS);
    let started = Instant::now();
    let Total { events: happened, coverage, failed } = run_all(seeds, events);
    if let Some(failed) = failed {
        panic!("{}", explained(&failed, events));
    }

    println!("{coverage}");
    let took = started.elapsed().as_secs();
    println!("{happened} events of {seeds} seeds in {took} s, every promise kept");
    let least = number("THROTTLE_SIMULATION_REACHES", 1);
    let rare = RARE.iter().filter(|what| least > 1 && coverage.of(what) == 0);
    let missed = REACHED.iter().filter(|what| coverage.of(what) < least);
    let missed: Vec<_> = missed.chain(rare).collect();
    assert!(missed.is_empty(), "reached less than {least} times: {missed:?}");
}

#[test]
fn same_script_has_the_same_history() {
    let script = Script { seed: 11, kept: None };
    let length = Length { events: 1_500, ends_in_peace: true };

    let [first, second] = [(); 2].map(|()| run(&script, length, true));

    assert!(first.history.len() > 1_000, "something happens");
    assert_eq!(first.history, second.history);
}

#[test]
fn history_is_made_as_short_as_can_be() {
    let needed = [(Who::Program(1), 2), (Who::Fault, 3)];
    let all: Vec<_> = (0..300)
        .flat_map(|count| [(Who::Program(1), count), (Who::Link(0), count), (Who::Fault, count)])
        .collect();
    let failed = Script { seed: 1, kept: None };

    let shortest = shorten(&failed, Duration::MAX, |script| {
        let taken = script.kept.as_ref().map_or_else(|| all.clone(), |kept| kept.to_vec());
        let breaks = needed.iter().all(|decision| taken.contains(decision));
        breaks.then(|| (Broken { promise: "p", how: "h".to_owned() }, taken))
    });

    let (script, broken) = shortest.unwrap();
    assert_eq!("1:p1.2,f3", script.to_string());
    assert_eq!("p", broken.promise);
}

#[test]
fn script_is_read_as_it_is_written() {
    for text in ["17", "17:", "17:p0.3,p1.0,l0.12,f7,o1,s2"] {
        assert_eq!(text, text.parse::<Script>().unwrap().to_string());
    }
    for text in ["", "x", "17:q1", "17:p", "17:p0.x"] {
        assert!(text.parse::<Script>().is_err(), "{text}");
    }
}
