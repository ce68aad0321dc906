//! Lines of the Prometheus text format, written by hand.
//!
//! The registry would copy names and labels of each line several times: with a thousand semaphores
//! a scrape would hold up requests for ten times as long.

use std::{
    fmt::{Display, Write},
    time::Duration,
};

/// A text that grows by families of lines.
#[derive(Debug, Default)]
pub struct Text {
    text: String,
    /// Of the family that is being written.
    name: &'static str,
}

impl Text {
    /// Begins a family. `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A line of the family. `labels` is as [`labels`] makes it.
    pub fn value(&mut self, labels: &str, value: impl Display) {
        self.text.push_str(self.name);
        self.labels("", labels, None);
        self.put(format_args!("{value}\n"));
    }

    /// All lines of a histogram. `counts` has how many fall between each of `bounds` and the one
    /// before, and then how many are beyond all; `sum` is all that was observed together.
    pub fn histogram(&mut self, labels: &str, bounds: &[String], counts: &[u64], sum: Duration) {
        let mut total = 0;
        let infinite = String::from("+Inf");
        for (bound, count) in bounds.iter().chain([&infinite]).zip(counts) {
            total += count;
            self.text.push_str(self.name);
            self.labels("_bucket", labels, Some(bound));
            self.number(total);
        }
        self.text.push_str(self.name);
        self.labels("_sum", labels, None);
        self.put(format_args!("{}\n", sum.as_secs_f64()));
        self.text.push_str(self.name);
        self.labels("_count", labels, None);
        self.number(total);
    }

    /// The text so far.
    pub fn into_string(self) -> String {
        self.text
    }

    fn labels(&mut self, suffix: &str, labels: &str, bound: Option<&str>) {
        self.text.push_str(suffix);
        if labels.is_empty() && bound.is_none() {
            self.text.push(' ');
            return;
        }
        self.text.push('{');
        self.text.push_str(labels);
        if let Some(bound) = bound {
            self.text.push_str(if labels.is_empty() { "le=\"" } else { ",le=\"" });
            self.text.push_str(bound);
            self.text.push('"');
        }
        self.text.push_str("} ");
    }

    fn number(&mut self, number: u64) {
        self.text.push_str(itoa::Buffer::new().format(number));
        self.text.push('\n');
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        // A string takes all that is written to it.
        let _ = self.text.write_fmt(arguments);
    }
}

/// Labels as a line has them, their values quoted as the text format wants it.
pub fn labels(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (key, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend([key, "=\""]);
        for letter in value.chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                letter => text.push(letter),
            }
        }
        text.push('"');
    }
    text
}

/// Bounds as lines have them: in seconds.
pub fn bounds(bounds: &[Duration]) -> Vec<String> {
    bounds.iter().map(|bound| bound.as_secs_f64().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_cumulative() {
        let mut text = Text::default();
        let seconds = [1, 60].map(Duration::from_secs);
        let (counts, sum) = ([2, 1, 3], Duration::from_millis(65_500));

        text.family("x_seconds", "histogram", "How long.");
        text.histogram(&labels(&[("a", "b\"\\\n")]), &bounds(&seconds), &counts, sum);
        text.histogram("", &bounds(&seconds), &counts, sum);

        let expected = "\
# HELP x_seconds How long.
# TYPE x_seconds histogram
x_seconds_bucket{a=\"b\\\"\\\\\\n\",le=\"1\"} 2
x_seconds_bucket{a=\"b\\\"\\\\\\n\",le=\"60\"} 3
x_seconds_bucket{a=\"b\\\"\\\\\\n\",le=\"+Inf\"} 6
x_seconds_sum{a=\"b\\\"\\\\\\n\"} 65.5
x_seconds_count{a=\"b\\\"\\\\\\n\"} 6
x_seconds_bucket{le=\"1\"} 2
x_seconds_bucket{le=\"60\"} 3
x_seconds_bucket{le=\"+Inf\"} 6
x_seconds_sum 65.5
x_seconds_count 6
";
        assert_eq!(expected, text.into_string());
    }
}
