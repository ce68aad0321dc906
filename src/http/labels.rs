//! What people call a peer, as a request has it: a name and labels.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::semaphore::{About, breaks_lines};

/// A peer has no more labels.
const MOST_LABELS: usize = 16;

/// Of all labels together, in characters: they are kept with each peer, and with each event.
const LONGEST_LABELS: usize = 1_000;

/// Labels of one peer, such as its host.
#[derive(Debug, Default)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// Together with a name.
    pub fn about(&self, name: Option<&str>) -> Option<About> {
        About::new(name, self.0.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with strings such as {\"host\": \"node7\"}")
            }

            fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<Labels, M::Error> {
                let mut labels: Vec<(String, String)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    check("the key of a label", &key, About::LONGEST_KEY)?;
                    check(&format!("label `{key}`"), &value, About::LONGEST_TEXT)?;
                    let refused = |reason| Err(de::Error::custom(reason));
                    if key.is_empty() {
                        return refused("the key of a label is empty".to_owned());
                    }
                    if labels.iter().any(|(other, _)| *other == key) {
                        return refused(format!("label `{key}` stands there twice"));
                    }
                    if labels.len() == MOST_LABELS {
                        return refused(format!("more than {MOST_LABELS} labels"));
                    }
                    labels.push((key, value));
                }
                let parts = labels.iter().flat_map(|(key, value)| [key, value]);
                let length: usize = parts.map(|part| part.chars().count()).sum();
                if length > LONGEST_LABELS {
                    return Err(de::Error::custom(format!(
                        "the labels have {length} characters together, expected at most \
                         {LONGEST_LABELS}"
                    )));
                }
                Ok(Labels(labels))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// A name is for people, who read it in lists and in log lines. An empty one is none.
///
/// # Errors
/// Where it is too long, or would break a line.
pub fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    check("`name`", &name, About::LONGEST_TEXT)?;
    Ok((!name.is_empty()).then_some(name))
}

fn check<E: de::Error>(what: &str, text: &str, longest: usize) -> Result<(), E> {
    let length = text.chars().count();
    if length > longest {
        return Err(E::custom(format!(
            "{what} has {length} characters, expected at most {longest}"
        )));
    }
    if text.contains(breaks_lines) {
        return Err(E::custom(format!("{what} contains a control character, expected none")));
    }
    Ok(())
}
