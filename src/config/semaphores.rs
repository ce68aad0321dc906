//! The table `semaphores`: names and what is configured of them, in short form or in long form; and
//! in the table `templates` within it, patterns of names.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de};

use crate::{
    fields::Integer,
    semaphore::{Catalogue, SemaphoreConfig, Template},
};

/// The name under which the templates stand among the semaphores.
const TEMPLATES: &str = "templates";

/// All semaphores, of any name but the empty one, and all templates.
pub(super) fn semaphores<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Catalogue, D::Error> {
    let Table(catalogue) = Table::deserialize(deserializer)?;
    if catalogue.semaphores.contains_key("") {
        return Err(de::Error::custom("a semaphore's name is empty, expected at least one letter"));
    }
    Ok(catalogue)
}

struct Table(Catalogue);

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Table;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table with names of semaphores")
            }

            fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<Table, M::Error> {
                let mut catalogue = Catalogue::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == TEMPLATES {
                        match map.next_value()? {
                            Either::Templates(templates) => catalogue.templates = templates,
                            Either::Semaphore(config) => {
                                catalogue.semaphores.insert(name, config);
                            }
                        }
                    } else {
                        let Semaphore(config) = map.next_value()?;
                        catalogue.semaphores.insert(name, config);
                    }
                }
                Ok(Table(catalogue))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// What stands under `templates`: a number makes it a semaphore of that name.
enum Either {
    Templates(Vec<Template>),
    Semaphore(SemaphoreConfig),
}

impl<'de> Deserialize<'de> for Either {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Either;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table with patterns such as `\"tenant-*\" = 3`")
            }

            fn visit_i64<E: de::Error>(self, max: i64) -> Result<Either, E> {
                Ok(Either::Semaphore(SemaphoreConfig::new(checked_max(max)?)))
            }

            fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<Either, M::Error> {
                // In the order of their patterns, however the file orders them.
                let mut templates = BTreeMap::new();
                while let Some(pattern) = map.next_key::<String>()? {
                    let Semaphore(config) = map.next_value()?;
                    let template = Template::new(&pattern, config).ok_or_else(|| {
                        de::Error::custom(format!(
                            "pattern `{pattern}` of a template, expected exactly one `*` in it, \
                             such as `tenant-*`"
                        ))
                    })?;
                    templates.insert(pattern, template);
                }
                Ok(Either::Templates(templates.into_values().collect()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A semaphore in short form (`A = 42`) or in long form (`A = { max = 42, level = 1 }`).
struct Semaphore(SemaphoreConfig);

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Semaphore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a max such as `42`, or a table such as `{ max = 42, level = 1 }`")
            }

            fn visit_i64<E: de::Error>(self, max: i64) -> Result<Semaphore, E> {
                Ok(Semaphore(SemaphoreConfig::new(checked_max(max)?)))
            }

            fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<Semaphore, M::Error> {
                let long = Long::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Semaphore(SemaphoreConfig { max: long.max, level: long.level }))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    #[serde(deserialize_with = "max")]
    max: i64,
    #[serde(default, deserialize_with = "level")]
    level: i32,
}

fn max<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let Integer(max) = Integer::deserialize(deserializer)?;
    checked_max(max)
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let Integer(level) = Integer::deserialize(deserializer)?;
    i32::try_from(level).map_err(|_| {
        let range = format!("{} to {}", i32::MIN, i32::MAX);
        de::Error::custom(format!("level {level} is out of range, expected {range}"))
    })
}

fn checked_max<E: de::Error>(max: i64) -> Result<i64, E> {
    if max < 0 {
        return Err(E::custom(format!("max {max} is negative, expected an integer of 0 or more")));
    }
    Ok(max)
}
