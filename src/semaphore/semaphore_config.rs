//! What an operator says of semaphores: which there are, and which may be made at their first use.

use std::collections::BTreeMap;

use super::about::breaks_lines;

/// Stands for any letters, at least one, in the pattern of a template.
const WILDCARD: char = '*';

/// Clients choose what a semaphore is called that is made from a template; it may have so many
/// letters.
const LONGEST_NAME: usize = 128;

/// A semaphore's max and its rank in the lock hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SemaphoreConfig {
    /// How many permits there are, 0 or more. 1 makes a mutex; 0 a semaphore that grants nothing.
    pub max: i64,
    /// Rank in the lock hierarchy: a peer that holds locks may only take one at a level strictly
    /// lower than all of theirs. 0 where none is configured.
    pub level: i32,
}

impl SemaphoreConfig {
    /// A semaphore of `max` permits at level 0.
    pub fn new(max: i64) -> Self {
        SemaphoreConfig { max, level: 0 }
    }
}

/// Semaphores of a pattern such as `tenant-*` are made at their first use, and go when unused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: Box<str>,
    after: Box<str>,
    config: SemaphoreConfig,
}

impl Template {
    /// A template of this pattern, which must have exactly one `*`.
    pub fn new(pattern: &str, config: SemaphoreConfig) -> Option<Self> {
        let (before, after) = pattern.split_once(WILDCARD)?;
        let template = Template { before: before.into(), after: after.into(), config };
        (!after.contains(WILDCARD)).then_some(template)
    }

    /// The pattern of names, with its `*`.
    pub fn pattern(&self) -> String {
        format!("{}{WILDCARD}{}", self.before, self.after)
    }

    /// What semaphores are that are made from it.
    pub fn config(&self) -> SemaphoreConfig {
        self.config
    }

    /// Whether a semaphore of that name may be made from it. A name that is very long, or would
    /// break a line of the log, is none; nor is one that browsers take for a way through the path.
    fn matches(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&*self.before);
        rest.and_then(|rest| rest.strip_suffix(&*self.after)).is_some_and(|rest| !rest.is_empty())
            && ![".", ".."].contains(&name)
            && name.chars().nth(LONGEST_NAME).is_none()
            && !name.contains(breaks_lines)
    }

    /// How many letters of a name it fixes.
    fn length(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

/// Where a semaphore comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration names it.
    File,
    /// It was made from a template, and goes when nobody uses it.
    Template,
    /// The configuration names it no more: it serves those who hold or wait, and goes.
    Removed,
}

/// All that a configuration says of semaphores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// Those that are always there, by name.
    pub semaphores: BTreeMap<String, SemaphoreConfig>,
    /// What others are made from. Of several that match, the one that fixes most of the name
    /// counts, and of these the first.
    pub templates: Vec<Template>,
}

impl Catalogue {
    /// What it says of the semaphore of that name.
    pub(super) fn find(&self, name: &str) -> Option<(Source, SemaphoreConfig)> {
        if let Some(config) = self.semaphores.get(name) {
            return Some((Source::File, *config));
        }
        let matching = self.templates.iter().rev().filter(|template| template.matches(name));
        let template = matching.max_by_key(|template| template.length())?;
        Some((Source::Template, template.config))
    }
}

impl FromIterator<(String, SemaphoreConfig)> for Catalogue {
    fn from_iter<I: IntoIterator<Item = (String, SemaphoreConfig)>>(semaphores: I) -> Self {
        Catalogue { semaphores: semaphores.into_iter().collect(), templates: Vec::new() }
    }
}

impl<const N: usize> From<[(&str, SemaphoreConfig); N]> for Catalogue {
    fn from(semaphores: [(&str, SemaphoreConfig); N]) -> Self {
        semaphores.into_iter().map(|(name, config)| (name.to_owned(), config)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(patterns: &[&str]) -> Catalogue {
        let template = |(ix, pattern): (usize, &&str)| {
            Template::new(pattern, SemaphoreConfig::new(ix as i64)).unwrap()
        };
        let templates = patterns.iter().enumerate().map(template).collect();
        Catalogue { templates, ..Catalogue::from([("tenant-0", SemaphoreConfig::new(100))]) }
    }

    #[test]
    fn names_that_no_log_line_can_show_match_nothing() {
        let catalogue = catalogue(&["tenant-*"]);

        for rest in ["\n", "\u{1b}[31m", "\u{202e}", &"x".repeat(122)] {
            assert_eq!(None, catalogue.find(&format!("tenant-{rest}")), "{rest}");
        }
        assert!(catalogue.find(&format!("tenant-{}", "ä".repeat(121))).is_some());
    }

    #[test]
    fn names_that_browsers_take_for_a_way_match_nothing() {
        let catalogue = catalogue(&["*"]);

        assert_eq!((None, None), (catalogue.find("."), catalogue.find("..")));
        assert!(catalogue.find("...").is_some());
    }

    #[test]
    fn template_tells_what_it_was_made_of() {
        let config = SemaphoreConfig { max: 3, level: 2 };

        let template = Template::new("tenant-*-x", config).unwrap();

        assert_eq!(("tenant-*-x", config), (&*template.pattern(), template.config()));
    }

    #[test]
    fn pattern_has_one_star() {
        for pattern in ["", "tenant", "a*b*", "**"] {
            assert_eq!(None, Template::new(pattern, SemaphoreConfig::new(1)), "{pattern}");
        }
    }

    #[test]
    fn file_goes_before_templates_and_the_narrower_before_the_wider() {
        let catalogue = catalogue(&["*", "tenant-*", "*-tenant", "tenant-*-x", "tenant-a*"]);
        let found = |name: &str| catalogue.find(name).map(|(source, config)| (source, config.max));

        assert_eq!(Some((Source::File, 100)), found("tenant-0"));
        assert_eq!(Some((Source::Template, 1)), found("tenant-1"));
        assert_eq!(Some((Source::Template, 2)), found("1-tenant"));
        assert_eq!(Some((Source::Template, 3)), found("tenant-a-x"));
        assert_eq!(Some((Source::Template, 4)), found("tenant-ab"));
        assert_eq!(Some((Source::Template, 0)), found("tenant-"), "a star is at least one letter");
        assert_eq!(None, Catalogue::default().find("tenant-1"));
    }
}
