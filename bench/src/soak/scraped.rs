//! What `/metrics` says, by the names of its lines.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

/// One scrape.
#[derive(Debug, Default)]
pub struct Scraped(HashMap<String, f64>);

impl Scraped {
    /// Reads it.
    ///
    /// # Errors
    /// Where a line is none of the text format.
    pub fn read(text: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(text).context("metrics that are not UTF-8")?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let read = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| format!("`{line}`"))?;
            Ok((name.to_owned(), value.parse().with_context(|| format!("`{line}`"))?))
        });
        Ok(Scraped(read.collect::<Result<_>>()?))
    }

    /// A value of no semaphore.
    ///
    /// # Errors
    /// Where there is none.
    pub fn value(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().with_context(|| format!("no `{name}`"))
    }

    /// A value of one semaphore.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(&self, family: &str, semaphore: &str) -> Result<f64> {
        self.value(&format!("throttle_{family}{{semaphore=\"{semaphore}\"}}"))
    }

    /// All values of a family of which each has one label, by the value of that.
    pub fn family<'a>(&'a self, family: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(name, value)| {
            let labels = name.strip_prefix(family)?.strip_prefix('{')?.strip_suffix("\"}")?;
            Some((labels.split_once("=\"")?.1, *value))
        })
    }

    /// No counter of an earlier scrape was greater, but for those of semaphores that come and go.
    ///
    /// # Errors
    /// Where one was.
    pub fn grows_from(&self, earlier: &Scraped) -> Result<()> {
        let comes_and_goes = |name: &str| {
            ["\"tenant-", "\"visitor-", "/db\"", "\"fleeting"]
                .iter()
                .any(|part| name.contains(part))
        };
        let is_counter = |name: &str| {
            ["_total", "_count{", "_bucket{"].iter().any(|part| name.contains(part))
                && !name.starts_with("throttle_count{")
                && !name.starts_with("throttle_full_count{")
        };
        for (name, before) in &earlier.0 {
            if is_counter(name) && !comes_and_goes(name) {
                let now = self.value(name)?;
                ensure!(now >= *before, "`{name}` went from {before} to {now}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_that_shrinks_is_found() {
        let read = |text: &str| Scraped::read(text.as_bytes()).unwrap();
        let before = read("# HELP a b\nx_total{semaphore=\"a b\"} 3\nthrottle_count{a=\"b\"} 5\n");

        assert!(read("x_total{semaphore=\"a b\"} 3\n").grows_from(&before).is_ok());
        assert!(read("x_total{semaphore=\"a b\"} 2\n").grows_from(&before).is_err());
    }
}
