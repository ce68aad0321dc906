//! Which locks to take, as the command line has it.

use std::{fmt, str::FromStr};

use anyhow::{bail, ensure};
use serde_json::{Map, Value};

use crate::cli::shown::escaped;

/// One of the arguments: a semaphore, and how many permits of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    name: String,
    count: i64,
}

impl FromStr for Lock {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        // The last one, for names may have such a sign, too.
        let Some((name, count)) = text.rsplit_once('=') else {
            ensure!(!text.is_empty(), "a semaphore has a name");
            return Ok(Lock { name: text.to_owned(), count: 1 });
        };
        ensure!(!name.is_empty(), "a semaphore has a name, before the `=`");
        match count.parse() {
            Ok(count @ 1..) => Ok(Lock { name: name.to_owned(), count }),
            Ok(count) => bail!("the count {count} is not positive"),
            Err(_) => bail!(
                "`{count}` is no count; of a semaphore with `=` in its name, say how many permits: \
                 `{text}=1`"
            ),
        }
    }
}

/// All of them, which are granted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locks(Vec<Lock>);

impl Locks {
    /// These.
    ///
    /// # Errors
    /// Where a semaphore is named twice.
    pub fn new(locks: &[Lock]) -> anyhow::Result<Self> {
        for (at, lock) in locks.iter().enumerate() {
            let is_repeated = locks.iter().take(at).any(|earlier| earlier.name == lock.name);
            let Lock { name, count } = lock;
            let sum = count.saturating_add(1);
            ensure!(!is_repeated, "`{name}` is named twice; for {sum} permits, say `{name}={sum}`");
        }
        Ok(Locks(locks.to_vec()))
    }

    /// As a request has them.
    pub fn json(&self) -> Value {
        let entries = self.0.iter().map(|lock| (lock.name.clone(), lock.count.into()));
        entries.collect::<Map<_, _>>().into()
    }

    /// Each with the same value, as a request has tokens.
    pub fn each(&self, value: u64) -> Value {
        self.0.iter().map(|lock| (lock.name.clone(), value.into())).collect::<Map<_, _>>().into()
    }

    /// The semaphores.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|lock| lock.name.clone()).collect()
    }
}

/// For people: `` `A` and 2 of `B` ``.
impl fmt::Display for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.len().saturating_sub(1);
        for (at, Lock { name, count }) in self.0.iter().enumerate() {
            f.write_str(match at {
                0 => "",
                _ if at == last => " and ",
                _ => ", ",
            })?;
            if *count > 1 {
                write!(f, "{count} of ")?;
            }
            write!(f, "`{}`", escaped(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(text: &str) -> Lock {
        text.parse().unwrap()
    }

    fn refusal(text: &str) -> String {
        text.parse::<Lock>().unwrap_err().to_string()
    }

    #[test]
    fn count_is_one_unless_it_is_given() {
        assert_eq!(Lock { name: "A".to_owned(), count: 1 }, lock("A"));
        assert_eq!(Lock { name: "A".to_owned(), count: 12 }, lock("A=12"));
        assert_eq!(Lock { name: "a=b".to_owned(), count: 1 }, lock("a=b=1"));
    }

    #[test]
    fn what_is_no_lock_is_refused_with_what_would_be_one() {
        assert!(refusal("A=0").contains("not positive"));
        assert!(refusal("A=-1").contains("not positive"));
        assert!(refusal("a=b").contains("`a=b=1`"));
        assert!(refusal("A=").contains("no count"));
        assert!(refusal("A=99999999999999999999").contains("no count"));
        assert!(refusal("=1").contains("name"));
        assert!(refusal("").contains("name"));
    }

    #[test]
    fn semaphore_that_is_named_twice_is_refused() {
        let refused = Locks::new(&[lock("A=2"), lock("B"), lock("A=2")]).unwrap_err().to_string();

        assert!(refused.contains("`A` is named twice"), "{refused}");
    }

    #[test]
    fn locks_read_well() {
        let shown = |texts: &[&str]| {
            let locks: Vec<_> = texts.iter().map(|text| lock(text)).collect();
            Locks::new(&locks).unwrap().to_string()
        };

        assert_eq!("`A`", shown(&["A"]));
        assert_eq!("2 of `A` and `B`", shown(&["A=2", "B"]));
        assert_eq!("`A`, `B` and 3 of `C`", shown(&["A", "B", "C=3"]));
    }
}
