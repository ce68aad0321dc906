//! The semaphores of the soak: what each kind of them is there for, and what the configuration says
//! of them in each of its versions.

use std::fmt::Write;

/// The configuration has so many versions, which follow each other in a circle.
pub const VERSIONS: usize = 3;

/// A semaphore that one peer holds from the start to the end, and nobody else asks for.
pub const KEPT: &str = "kept";

/// What happens to a semaphore, beside that peers ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing; it has one permit.
    Mutex,
    /// Nothing; it has many permits.
    Large,
    /// Nothing; it has a level.
    Nested,
    /// Its max differs from one version of the configuration to the next.
    Reloaded,
    /// It is resized, paused and reset by hand. No ask becomes impossible by that.
    ByHand,
    /// It is resized by hand, so that asks become impossible and are withdrawn.
    Shrunk,
    /// It is in some versions of the configuration only.
    Fleeting,
    /// It is made from a template.
    Template,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Semaphore {
    /// Its name.
    pub name: String,
    /// The same as a path has it.
    pub path: String,
    /// What happens to it.
    pub class: Class,
    /// Its level.
    pub level: i32,
    /// What the first version of the configuration says.
    pub max: i64,
    /// Its max is never above this.
    pub highest_max: i64,
    /// Nobody asks for more.
    pub most_asked: i64,
}

/// All of them.
#[derive(Clone, Debug)]
pub struct World {
    /// Everything else names them by their place in this list.
    pub semaphores: Vec<Semaphore>,
}

/// Class, how many, max, highest max, most that is asked for.
const KINDS: [(Class, usize, i64, i64, i64); 8] = [
    (Class::Mutex, 100, 1, 1, 1),
    (Class::Large, 60, 200, 200, 5),
    (Class::Nested, 60, 6, 6, 2),
    (Class::Reloaded, 30, 4, 8, 4),
    (Class::ByHand, 20, 8, 12, 4),
    (Class::Shrunk, 10, 8, 8, 5),
    (Class::Fleeting, 21, 5, 5, 2),
    (Class::Template, 200, 2, 4, 2),
];

impl World {
    /// The semaphores, some hundred.
    pub fn new() -> Self {
        let mut semaphores = Vec::new();
        for (class, count, max, highest_max, most_asked) in KINDS {
            for number in 0..count {
                let (name, level) = name_and_level(class, number);
                let path = escaped(&name);
                let is_database = name.ends_with("/db");
                let max = if is_database { 4 } else { max };
                semaphores.push(Semaphore {
                    name,
                    path,
                    class,
                    level,
                    max,
                    highest_max,
                    most_asked,
                });
            }
        }
        World { semaphores }
    }

    /// The max that a version of the configuration gives a semaphore; `None` where it is not there.
    pub fn max_in(&self, version: usize, semaphore: usize) -> Option<i64> {
        let Semaphore { class, max, .. } = self.semaphores[semaphore];
        match class {
            Class::Reloaded => Some([4, 6, 8][(version + semaphore) % VERSIONS]),
            Class::Fleeting => (!(version + semaphore).is_multiple_of(VERSIONS)).then_some(max),
            _ => Some(max),
        }
    }

    /// A version of the configuration.
    pub fn configuration(&self, version: usize) -> String {
        let mut text = format!("[limits]\nmax_expires_in = \"24h\"\n[semaphores]\n{KEPT} = 1\n");
        for (ix, Semaphore { name, class, level, .. }) in self.semaphores.iter().enumerate() {
            if let Some(max) = self.max_in(version, ix).filter(|_| *class != Class::Template) {
                let _ = writeln!(text, "\"{name}\" = {{ max = {max}, level = {level} }}");
            }
        }
        text + "[semaphores.templates]\n\"tenant-*\" = 2\n\"visitor-*\" = 1\n\
                \"*/db\" = { max = 4, level = 1 }\n"
    }

    /// The places of the semaphores of a class.
    pub fn of_class(&self, class: Class) -> impl Iterator<Item = usize> {
        let all = self.semaphores.iter().enumerate();
        all.filter(move |(_, semaphore)| semaphore.class == class).map(|(ix, _)| ix)
    }

    /// The place of the semaphore of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.semaphores.iter().position(|semaphore| semaphore.name == name)
    }
}

fn name_and_level(class: Class, number: usize) -> (String, i32) {
    match class {
        Class::Mutex => (format!("mutex {number}"), 0),
        Class::Large => (format!("large{number}"), 0),
        Class::Nested => (format!("nested{number}"), 1 + number as i32 % 4),
        Class::Reloaded => (format!("reloaded{number}"), 0),
        Class::ByHand => (format!("by hand {number}"), 0),
        Class::Shrunk => (format!("größe{number}"), 0),
        Class::Fleeting => (format!("fleeting{number}"), 0),
        Class::Template if number % 4 == 3 => (format!("{number}/db"), 1),
        Class::Template => (format!("tenant-{number}"), 0),
    }
}

/// A name as it stands in a path.
fn escaped(name: &str) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => path.push(byte.into()),
            _ => {
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_differs_from_the_next() {
        let world = World::new();

        for version in 0..VERSIONS {
            let next = (version + 1) % VERSIONS;
            for ix in world.of_class(Class::Reloaded) {
                assert_ne!(world.max_in(version, ix), world.max_in(next, ix));
            }
            let come_or_go = |ix: &usize| {
                world.max_in(version, *ix).is_some() != world.max_in(next, *ix).is_some()
            };
            assert!(world.of_class(Class::Fleeting).any(|ix| come_or_go(&ix)));
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!("7%2Fdb%20gr%C3%B6%C3%9Fe-1", escaped("7/db größe-1"));
    }
}
