//! JSON objects whose keys are semaphores.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de};

use crate::{fields::Integer, semaphore::Wanted};

/// One ask names no more semaphores than this: it is granted in one step, during which all others
/// wait.
const MOST: usize = 100;

/// All entries of such an object in the order in which they came, also those of the same name: a
/// map would silently keep the last.
#[derive(Debug)]
pub struct Entries<T>(Vec<(String, T)>);

impl Entries<Integer> {
    /// Names and counts.
    pub fn counts(&self) -> Vec<Wanted<'_>> {
        self.0.iter().map(|(name, Integer(count))| (name.as_str(), *count)).collect()
    }
}

impl Entries<u64> {
    /// Names and numbers.
    pub fn numbers(&self) -> Vec<(&str, u64)> {
        self.0.iter().map(|(name, number)| (name.as_str(), *number)).collect()
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Entries(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with semaphores and numbers such as {\"A\": 1}")
            }

            fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<Entries<T>, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Visitor(PhantomData))
    }
}

/// For `#[serde(deserialize_with)]` of a field that may be left out, but neither empty nor null:
/// whoever sends it means to ask for something.
///
/// # Errors
/// Where it is empty, too long or something else.
pub fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Entries<T>>, D::Error> {
    let entries = Entries::deserialize(deserializer)?;
    match entries.0.len() {
        0 => Err(de::Error::custom("no semaphore is named, expected at least one")),
        1..=MOST => Ok(Some(entries)),
        more => {
            Err(de::Error::custom(format!("{more} semaphores are named, expected at most {MOST}")))
        }
    }
}
