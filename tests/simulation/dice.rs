//! Chance that can be repeated, and taken away piece by piece.
//!
//! Each decision is drawn from the seed, from who decides, and for the how-manieth time. So a
//! decision that is left out changes no other, and a long history can be made shorter by trying.
//! The generator is our own, of five lines: a seed must mean the same for as long as the page of
//! the bugs that were found names it, whatever a library changes.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A client: what it does next.
    Program(u8),
    /// The network between a client and the server: what becomes of a message.
    Link(u8),
    /// What breaks.
    Fault,
    /// What an operator does.
    Operator,
    /// What somebody does who keeps to no rule.
    Stranger,
}

/// A decision of somebody, counted from 0.
pub type Decision = (Who, u32);

/// All decisions of one run.
#[derive(Debug)]
pub struct Dice {
    seed: u64,
    counts: BTreeMap<Who, u32>,
    /// If not all decisions are taken: those that are, in order.
    kept: Option<Arc<Vec<Decision>>>,
    /// Those that were taken.
    pub taken: Vec<Decision>,
}

impl Dice {
    pub fn new(seed: u64, kept: Option<Arc<Vec<Decision>>>) -> Self {
        Dice { seed, counts: BTreeMap::new(), kept, taken: Vec::new() }
    }

    /// Whether a later decision of somebody is to be taken, after one that is left out.
    pub fn has_more(&self, who: Who) -> bool {
        let next = (who, self.counts.get(&who).copied().unwrap_or(0));
        let rest = |kept: &Vec<Decision>| {
            let place = kept.partition_point(|decision| *decision < next);
            kept.get(place).is_some_and(|(other, _)| *other == who)
        };
        self.kept.as_ref().is_some_and(|kept| rest(kept))
    }

    /// What the run as a whole is like.
    pub fn scenario(&self) -> Chance {
        Chance(mixed(self.seed))
    }

    /// The next decision of somebody. `None` where it is left out: then what is dull happens.
    pub fn decide(&mut self, who: Who) -> Option<Chance> {
        let count = self.counts.entry(who).or_default();
        let decision = (who, *count);
        *count += 1;
        if self.kept.as_ref().is_some_and(|kept| kept.binary_search(&decision).is_err()) {
            return None;
        }
        self.taken.push(decision);
        let number = match who {
            Who::Program(client) => u64::from(client),
            Who::Link(client) => 0x100 + u64::from(client),
            Who::Fault => 0x200,
            Who::Operator => 0x201,
            Who::Stranger => 0x202,
        };
        Some(Chance(mixed(self.seed ^ mixed(number << 32 | u64::from(decision.1)))))
    }
}

/// A few numbers drawn in a row: SplitMix64.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// One that is the same for the same number.
    pub fn of(number: u64) -> Self {
        Chance(mixed(number))
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number from the first to the second, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.draw() % (most - least + 1)
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.draw().is_multiple_of(count)
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.draw() as usize % of.len()]
    }
}

fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Which run it is: a seed, and the decisions that are taken where not all are. As text, for
/// people to paste: `17`, or `17:p0.3,l0.12,f7`.
#[derive(Clone, Debug)]
pub struct Script {
    pub seed: u64,
    pub kept: Option<Arc<Vec<Decision>>>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        let Some(kept) = &self.kept else { return Ok(()) };
        for (place, (who, count)) in kept.iter().enumerate() {
            f.write_str(if place == 0 { ":" } else { "," })?;
            match who {
                Who::Program(client) => write!(f, "p{client}.{count}")?,
                Who::Link(client) => write!(f, "l{client}.{count}")?,
                Who::Fault => write!(f, "f{count}")?,
                Who::Operator => write!(f, "o{count}")?,
                Who::Stranger => write!(f, "s{count}")?,
            }
        }
        if kept.is_empty() { f.write_str(":") } else { Ok(()) }
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no script: expected such as `17` or `17:p0.3,l0.12,f7`");
        let (seed, kept) = match text.split_once(':') {
            None => (text, None),
            Some((seed, kept)) => (seed, Some(kept)),
        };
        let decision = |text: &str| -> Option<Decision> {
            let (client, count) = text.get(1..)?.split_once('.').unwrap_or(("0", &text[1..]));
            let client = client.parse().ok()?;
            let who = match text.as_bytes()[0] {
                b'p' => Who::Program(client),
                b'l' => Who::Link(client),
                b'f' => Who::Fault,
                b'o' => Who::Operator,
                b's' => Who::Stranger,
                _ => return None,
            };
            Some((who, count.parse().ok()?))
        };
        let decisions = |kept: &str| -> Option<Vec<Decision>> {
            let kept = kept.split(',').filter(|text| !text.is_empty());
            let mut kept = kept.map(decision).collect::<Option<Vec<_>>>()?;
            kept.sort();
            Some(kept)
        };
        let kept = kept.map(|kept| decisions(kept).map(Arc::new).ok_or_else(wrong)).transpose()?;
        Ok(Script { seed: seed.parse().map_err(|_| wrong())?, kept })
    }
}
