//! What was measured, as tables in Markdown: for the terminal and for the docs alike.

use std::fmt::Write;

use crate::results::{Measurement, Results, Spread};

/// One table: a scenario, the parameters that tell its rows apart, and the metrics that it shows.
struct Table {
    scenario: &'static str,
    title: &'static str,
    /// Parameters, and how their columns are called.
    parameters: &'static [(&'static str, &'static str)],
    /// Metrics, how their columns are called, and how many decimals they have.
    metrics: &'static [(&'static str, &'static str, usize)],
}

const RATE_AND_CPU: &[(&str, &str, usize)] = &[
    ("per_second", "requests/s", 0),
    ("cpu_us", "CPU µs a request", 2),
    ("p50_us", "p50 µs", 0),
    ("p99_us", "p99 µs", 0),
];

const TABLES: [Table; 12] = [
    Table {
        scenario: "cycle",
        title: "Acquire and release, uncontended; the server on one core",
        parameters: &[],
        metrics: &[
            ("per_second", "requests/s", 0),
            ("cycles_per_second", "cycles/s", 0),
            ("cpu_us", "CPU µs a request", 2),
            ("busy", "core busy", 2),
            ("p50_us", "p50 µs", 0),
            ("p99_us", "p99 µs", 0),
        ],
    },
    Table {
        scenario: "idle",
        title: "The same while idle peers exist, half of them holding a lock",
        parameters: &[("idle_peers", "idle peers")],
        metrics: RATE_AND_CPU,
    },
    Table {
        scenario: "heartbeat",
        title: "Heartbeats of all those peers, one after the other",
        parameters: &[("idle_peers", "peers")],
        metrics: RATE_AND_CPU,
    },
    Table {
        scenario: "hand_off",
        title: "Hand-offs of a contended semaphore",
        parameters: &[("max", "max"), ("clients", "clients"), ("pinned", "pinned")],
        metrics: &[
            ("per_second", "hand-offs/s", 0),
            ("p50_us", "p50 µs", 0),
            ("p99_us", "p99 µs", 0),
            ("p999_us", "p99.9 µs", 0),
            ("fairness", "Jain's index", 3),
            ("overtaken", "overtaken at most", 0),
        ],
    },
    Table {
        scenario: "together",
        title: "Peers made with what they ask for, and removed",
        parameters: &[("semaphores", "semaphores at once")],
        metrics: RATE_AND_CPU,
    },
    Table {
        scenario: "parked",
        title: "Requests parked on one permit, then drained",
        parameters: &[("waiters", "waiters")],
        metrics: &[
            ("drained_per_second", "drained/s", 0),
            ("hand_off_cpu_us", "CPU µs a hand-off", 0),
            ("hand_off_p50_us", "p50 µs", 0),
            ("hand_off_p99_us", "p99 µs", 0),
            ("connection_bytes", "bytes a connection", 0),
            ("waiter_bytes", "bytes a waiter, on top", 0),
        ],
    },
    Table {
        scenario: "memory",
        title: "Memory of an idle peer",
        parameters: &[("locks", "locks held")],
        metrics: &[("peer_bytes", "bytes", 0)],
    },
    Table {
        scenario: "scrape",
        title: "`/metrics`, one scrape after the other",
        parameters: &[("peers", "peers")],
        metrics: &[
            ("per_second", "scrapes/s", 0),
            ("cpu_us", "CPU µs", 0),
            ("p50_us", "p50 µs", 0),
            ("p99_us", "p99 µs", 0),
        ],
    },
    Table {
        scenario: "scrape_others",
        title: "Others at 5,000 requests/s, without scrapes and with ten a second",
        parameters: &[("peers", "peers"), ("scraped", "scraped")],
        metrics: &[("p50_us", "p50 µs", 0), ("p99_us", "p99 µs", 0), ("p999_us", "p99.9 µs", 0)],
    },
    Table {
        scenario: "storm",
        title: "Others at 10,000 requests/s in the second in which leases end",
        parameters: &[("peers", "peers"), ("expiring", "leases end")],
        metrics: &[
            ("p50_us", "p50 µs", 0),
            ("p99_us", "p99 µs", 0),
            ("p999_us", "p99.9 µs", 0),
            ("max_us", "longest µs", 0),
        ],
    },
    Table {
        scenario: "start",
        title: "From start to first answer, with an empty configuration",
        parameters: &[],
        metrics: &[
            ("first_answer_ms", "first answer after ms", 2),
            ("resident_bytes", "resident bytes", 0),
            ("binary_bytes", "binary, bytes", 0),
        ],
    },
    Table {
        scenario: "python",
        title: "Python clients, each with its server",
        parameters: &[("threads", "threads")],
        metrics: &[
            ("cycles_per_second", "cycles/s", 0),
            ("hand_offs_per_second", "hand-offs/s", 0),
        ],
    },
];

/// All tables for which there are measurements, each with the name of its scenario.
pub fn all(results: &Results) -> Vec<(&'static str, String)> {
    let tables = TABLES.iter().filter_map(|table| Some((table.scenario, table.render(results)?)));
    tables.collect()
}

impl Table {
    fn render(&self, results: &Results) -> Option<String> {
        let of_scenario = |m: &&Measurement| m.scenario == self.scenario;
        let measured: Vec<&Measurement> = results.measurements.iter().filter(of_scenario).collect();
        let mut rows: Vec<(&str, Vec<&str>)> = Vec::new();
        for measurement in &measured {
            let row = (measurement.server.as_str(), self.values(measurement));
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        let is_measured = |metric: &str| measured.iter().any(|known| known.metric == metric);
        let metrics: Vec<_> = self.metrics.iter().filter(|(name, ..)| is_measured(name)).collect();
        if metrics.is_empty() {
            return None;
        }
        let mut heads = vec!["server"];
        heads.extend(self.parameters.iter().map(|(_, title)| *title));
        heads.extend(metrics.iter().map(|(_, title, _)| *title));
        let mut lines = vec![heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>()];
        for (server, values) in &rows {
            let mut cells = vec![(*server).to_owned()];
            cells.extend(values.iter().map(|value| shown(value)));
            for (metric, _, decimals) in &metrics {
                let found = measured.iter().find(|known| {
                    known.server == *server
                        && known.metric == *metric
                        && self.values(known) == *values
                });
                let spread = found.and_then(|measurement| measurement.spread());
                cells.push(spread.map_or_else(|| "–".to_owned(), |s| cell(s, *decimals)));
            }
            lines.push(cells);
        }
        Some(format!("**{}**\n\n{}", self.title, markdown(&lines, 1)))
    }

    fn values<'a>(&self, measurement: &'a Measurement) -> Vec<&'a str> {
        let value = |name: &str| measurement.parameters.get(name).map_or("", String::as_str);
        self.parameters.iter().map(|(name, _)| value(name)).collect()
    }
}

/// Lines of cells as a table, its columns as wide as they must be. All but the first `left` ones
/// are aligned to the right.
pub fn markdown(lines: &[Vec<String>], left: usize) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width_of = |column: usize| {
        let widths = lines.iter().filter_map(|line| line.get(column));
        widths.map(|cell| cell.chars().count()).max().unwrap_or_default().max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width_of).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            let _ = match column < left {
                true => write!(text, "| {cell}{padding} "),
                false => write!(text, "| {padding}{cell} "),
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let end = if column < left { "-" } else { ":" };
                let _ = write!(text, "| {}{end} ", "-".repeat(width - 1));
            }
            text.push_str("|\n");
        }
    }
    text
}

/// The median, and the least and the most where they are not all the same.
fn cell(spread: Spread, decimals: usize) -> String {
    let Spread { median, least, most, .. } = spread;
    let [median, least, most] = [median, least, most].map(|value| number(value, decimals));
    match least == most {
        true => median,
        false => format!("{median} ({least} … {most})"),
    }
}

/// A number with a comma between thousands.
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (position, digit) in whole.chars().enumerate() {
        let is_between = grouped.ends_with(|before: char| before.is_ascii_digit());
        if is_between && (whole.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// A parameter as people write it.
fn shown(value: &str) -> String {
    match value {
        "true" => "yes".to_owned(),
        "false" => "no".to_owned(),
        value => value.parse().map_or_else(|_| value.to_owned(), |parsed| number(parsed, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!("1,234,567", number(1_234_567.4, 0));
        assert_eq!("123,456.50", number(123_456.5, 2));
        assert_eq!("999", number(999.0, 0));
        assert_eq!("-123", number(-123.0, 0));
    }

    #[test]
    fn table_shows_medians_and_leaves_out_what_was_not_measured() {
        let mut results = Results::default();
        for value in [1.0, 3.0, 2.0] {
            results.add("memory", "throttle", &parameters!(locks = 1), "peer_bytes", value);
        }

        let tables = all(&results);

        let expected = "**Memory of an idle peer**\n\n\
                        | server   | locks held |     bytes |\n\
                        | -------- | ---------: | --------: |\n\
                        | throttle |          1 | 2 (1 … 3) |\n";
        assert_eq!(vec![("memory", expected.to_owned())], tables);
    }
}
