//! What an operator and a monitoring system do meanwhile: resize, pause and reset by hand, change
//! the configuration and have it read again, look at everything, scrape.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{
    books::Books,
    chance::Chance,
    http::{self, Sent},
    scraped::Scraped,
    world::{Class, VERSIONS, World},
};
use crate::{
    engine::{Reply, Turn},
    loads::{expect, expect_ok},
};

/// A signal must have been heeded by then.
const HEEDED_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked whether it was.
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// What is set of a semaphore by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByHand {
    /// Its max.
    pub max: Option<i64>,
    /// Whether it is paused.
    pub is_paused: bool,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Scrape,
    Look,
    Resize,
    Pause,
    Withdraw,
    Reset,
    Reload,
    Hang,
    Spoil,
    SpoilAndHang,
    Mend,
}

/// How often each is done, at full length.
const PLAN: [(Act, Duration); 10] = [
    (Act::Scrape, Duration::from_secs(5)),
    (Act::Look, Duration::from_millis(500)),
    (Act::Resize, Duration::from_secs(1)),
    (Act::Pause, Duration::from_secs(2)),
    (Act::Withdraw, Duration::from_secs(1)),
    (Act::Reset, Duration::from_secs(3)),
    (Act::Reload, Duration::from_secs(20)),
    (Act::Hang, Duration::from_secs(30)),
    (Act::Spoil, Duration::from_secs(45)),
    (Act::SpoilAndHang, Duration::from_secs(60)),
];

/// What is looked at; all of it is answered with 200.
const LOOKS: [&str; 14] = [
    "/semaphores",
    "/semaphores/mutex%200",
    "/semaphores/large0?limit=10",
    "/peers/?offset=100&limit=100",
    "/history",
    "/remainder?semaphore=large1",
    "/openapi.json",
    "/",
    "/health",
    "/health/ready",
    "/health/granting",
    "/version",
    "/dashboard/dashboard.js",
    "/favicon.ico",
];

/// What the server is to heed after a signal.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    is_spoilt: bool,
    until: Instant,
}

/// The operator.
#[derive(Debug)]
pub struct Operator {
    address: SocketAddr,
    server: Pid,
    file: PathBuf,
    world: World,
    /// The version of the configuration that is in force.
    pub version: usize,
    /// What is set by hand.
    pub by_hand: BTreeMap<usize, ByHand>,
    /// Why it can do nothing more.
    pub trouble: Option<Error>,
    plan: Vec<(Act, Duration, Instant)>,
    doing: Option<(Act, usize)>,
    awaited: Option<Awaited>,
    /// Whether the last reload was refused, and a good one is to follow.
    is_to_mend: bool,
    last_scrape: Scraped,
}

impl Operator {
    /// Of the server with that process and configuration. `pace` shortens all pauses.
    pub fn new(address: SocketAddr, server: Pid, file: PathBuf, pace: f64) -> Self {
        let now = Instant::now();
        let plan = PLAN.map(|(act, every)| (act, every.mul_f64(pace), now + every.mul_f64(pace)));
        Operator {
            address,
            server,
            file,
            world: World::new(),
            version: 0,
            by_hand: BTreeMap::new(),
            trouble: None,
            plan: plan.into(),
            doing: None,
            awaited: None,
            is_to_mend: false,
            last_scrape: Scraped::default(),
        }
    }

    /// Whether it waits for nothing, and all can come to rest.
    pub fn is_at_rest(&self) -> bool {
        self.awaited.is_none() && !self.is_to_mend
    }

    /// What the operator does next.
    pub fn turn(&mut self, chance: &mut Chance, now: Instant, request: &mut Vec<u8>) -> Turn {
        if self.awaited.is_some() {
            // The scrape is the first of the plan, and tells whether a signal was heeded.
            let due = self.plan[0].2;
            if due > now {
                return Turn::At(due);
            }
            self.plan[0].2 = now + LOOK_AGAIN;
            self.doing = Some((Act::Scrape, 0));
            request.extend_from_slice(&Sent::new("GET", "/metrics").bytes(self.address));
            return Turn::Send;
        }
        if self.is_to_mend {
            // While the last reload counts as refused, it could not be seen that another one is.
            self.doing = Some((Act::Mend, 0));
            request.extend_from_slice(&Sent::new("POST", "/reload").bytes(self.address));
            return Turn::Send;
        }
        let Some(next) = self.plan.iter_mut().min_by_key(|(.., due)| *due) else {
            return Turn::Rest;
        };
        if next.2 > now {
            return Turn::At(next.2);
        }
        let act = next.0;
        next.2 = now + next.1;
        match self.request(act, chance, now) {
            Ok(Some(sent)) => {
                request.extend_from_slice(&sent.bytes(self.address));
                Turn::Send
            }
            Ok(None) => Turn::At(now + LOOK_AGAIN),
            Err(error) => {
                self.trouble = Some(error);
                Turn::Rest
            }
        }
    }

    fn request(&mut self, act: Act, chance: &mut Chance, now: Instant) -> Result<Option<Sent>> {
        let class = if act == Act::Withdraw { Class::Shrunk } else { Class::ByHand };
        let all: Vec<usize> = self.world.of_class(class).collect();
        let semaphore = all[chance.below(all.len())];
        self.doing = Some((act, semaphore));
        let target = format!("/semaphores/{}", self.world.semaphores[semaphore].path);
        let set = |what: Value| Some(Sent::new("PUT", &target).json(&what));
        let hand = self.by_hand.entry(semaphore).or_default();
        Ok(match act {
            Act::Scrape => Some(Sent::new("GET", "/metrics")),
            Act::Look => Some(Sent::new("GET", LOOKS[chance.below(LOOKS.len())])),
            Act::Resize => {
                hand.max = Some([4, 5, 12][chance.below(3)]);
                set(json!({"max": hand.max}))
            }
            Act::Withdraw => {
                hand.max = Some([3, 8][chance.below(2)]);
                set(json!({"max": hand.max}))
            }
            Act::Pause => {
                hand.is_paused = !hand.is_paused;
                set(json!({"paused": hand.is_paused}))
            }
            Act::Reset => {
                *hand = ByHand::default();
                Some(Sent::new("DELETE", &target))
            }
            Act::Reload => {
                let next = self.world.configuration((self.version + 1) % VERSIONS);
                fs::write(&self.file, next)?;
                Some(Sent::new("POST", "/reload"))
            }
            Act::Hang => {
                self.version = (self.version + 1) % VERSIONS;
                fs::write(&self.file, self.world.configuration(self.version))?;
                self.signal(false, now)?;
                None
            }
            Act::Spoil => {
                self.spoil(chance)?;
                Some(Sent::new("POST", "/reload").header("Accept", "application/problem+json"))
            }
            Act::SpoilAndHang => {
                self.spoil(chance)?;
                self.signal(true, now)?;
                None
            }
            // No part of the plan.
            Act::Mend => None,
        })
    }

    /// Makes the configuration one that is refused.
    fn spoil(&self, chance: &mut Chance) -> Result<()> {
        let next = self.world.configuration((self.version + 1) % VERSIONS);
        match chance.below(3) {
            0 => fs::write(&self.file, format!("{next}\n[semaphores.more]\nmaximum = 3\n"))?,
            1 => fs::write(&self.file, "[semaphores]\nA = \"many\"\n")?,
            _ => fs::remove_file(&self.file)?,
        }
        Ok(())
    }

    fn signal(&mut self, is_spoilt: bool, now: Instant) -> Result<()> {
        kill_process(self.server, Signal::HUP)?;
        self.awaited = Some(Awaited { is_spoilt, until: now + HEEDED_WITHIN });
        self.plan[0].2 = now;
        Ok(())
    }

    /// What the operator did was answered.
    ///
    /// # Errors
    /// Where the answer is not as it must be.
    pub fn reply(&mut self, books: &mut Books, reply: &Reply<'_>, now: Instant) -> Result<()> {
        let (act, semaphore) = self.doing.take().context("an answer to nothing")?;
        *books.done.entry(name(act)).or_default() += 1;
        let told = || format!("{act:?}: {}", reply.excerpt());
        if act == Act::Spoil {
            expect(reply, 409)?;
            ensure!(http::code(reply) == "bad_configuration", "{}", told());
            books.refuse("bad_configuration");
            return self.mend();
        }
        expect_ok(reply).with_context(told)?;
        match act {
            Act::Scrape => self.scraped(books, reply, now),
            Act::Resize | Act::Pause | Act::Withdraw | Act::Reset => {
                let shown: Value = serde_json::from_slice(reply.body)?;
                let (max, is_paused) = self.set_of(semaphore);
                ensure!(shown["max"].as_i64() == max && shown["paused"] == is_paused, told());
                Ok(())
            }
            Act::Reload => {
                let next = (self.version + 1) % VERSIONS;
                self.reloaded(reply, next).with_context(told)?;
                self.version = next;
                Ok(())
            }
            Act::Mend => {
                self.is_to_mend = false;
                self.reloaded(reply, self.version).with_context(told)
            }
            _ => Ok(()),
        }
    }

    /// The max of a semaphore, and whether it is paused, as it is set by hand or configured.
    pub fn set_of(&self, semaphore: usize) -> (Option<i64>, bool) {
        let ByHand { max, is_paused } = self.by_hand.get(&semaphore).copied().unwrap_or_default();
        (max.or_else(|| self.world.max_in(self.version, semaphore)), is_paused)
    }

    /// The answer names just what that version has differently from the one in force.
    fn reloaded(&self, reply: &Reply<'_>, next: usize) -> Result<()> {
        let told: Value = serde_json::from_slice(reply.body)?;
        let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for (ix, semaphore) in self.world.semaphores.iter().enumerate() {
            match [self.version, next].map(|version| self.world.max_in(version, ix)) {
                [None, Some(_)] => added.push(semaphore.name.as_str()),
                [Some(_), None] => removed.push(semaphore.name.as_str()),
                [before, after] if before != after => changed.push(semaphore.name.as_str()),
                _ => {}
            }
        }
        for (field, mut names) in [("added", added), ("removed", removed), ("changed", changed)] {
            names.sort_unstable();
            let told = told[field].as_array().with_context(|| format!("no `{field}`"))?;
            let mut told: Vec<&str> = told.iter().filter_map(Value::as_str).collect();
            told.sort_unstable();
            ensure!(told == names, "`{field}` is {told:?}, not {names:?}");
        }
        ensure!(told["needs_restart"] == json!([]), "something needs a restart: {told}");
        Ok(())
    }

    fn scraped(&mut self, books: &mut Books, reply: &Reply<'_>, now: Instant) -> Result<()> {
        let scraped = Scraped::read(reply.body)?;
        scraped.grows_from(&self.last_scrape)?;
        if let Some(Awaited { is_spoilt, until }) = self.awaited {
            let is_good = scraped.value("throttle_config_last_reload_successful")? == 1.0;
            let first = self.world.of_class(Class::Reloaded).next().unwrap_or_default();
            let max = scraped.of("full_count", &self.world.semaphores[first].name)?;
            let wanted = self.world.max_in(self.version, first);
            if is_good != is_spoilt && wanted == Some(max as i64) {
                let what = match is_spoilt {
                    true => "reloads by SIGHUP that are refused",
                    false => "reloads by SIGHUP",
                };
                *books.done.entry(what).or_default() += 1;
                self.awaited = None;
                self.plan[0].2 = now + self.plan[0].1;
                if is_spoilt {
                    self.mend()?;
                }
            }
            ensure!(now < until, "SIGHUP was not heeded within {HEEDED_WITHIN:?}");
        }
        self.last_scrape = scraped;
        Ok(())
    }

    /// Puts the configuration back that is in force. It is read again next.
    fn mend(&mut self) -> Result<()> {
        self.is_to_mend = true;
        Ok(fs::write(&self.file, self.world.configuration(self.version))?)
    }
}

fn name(act: Act) -> &'static str {
    match act {
        Act::Scrape => "scrapes",
        Act::Look => "looks at other pages",
        Act::Resize | Act::Withdraw => "resizes",
        Act::Pause => "pauses and their ends",
        Act::Reset => "resets",
        Act::Reload | Act::Hang => "reloads",
        Act::Spoil | Act::SpoilAndHang => "reloads that are refused",
        Act::Mend => "reloads that change nothing",
    }
}
