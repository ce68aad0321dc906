//! The metrics of one server, in the Prometheus text format.
//!
//! Nothing is global: each server has a registry of its own. Gauges are set when somebody looks,
//! from what the books count anyway; this costs O(semaphores), however many peers there are.
//!
//! What is shown of each semaphore is written by hand. The registry would copy names and labels of
//! each line several times: with a thousand semaphores a scrape would hold up requests for ten
//! times as long.

use std::fmt::{self, Write};

use parking_lot::Mutex;
use prometheus::{
    IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector,
};

use crate::{semaphore::SemaphoreSnapshot, state::Overview};

/// A gauge of each semaphore.
struct Family {
    name: &'static str,
    help: &'static str,
    value: fn(&SemaphoreSnapshot, &mut String) -> fmt::Result,
}

const FAMILIES: [Family; 4] = [
    Family {
        name: "throttle_count",
        help: "Accumulated count of all active leases",
        value: |semaphore, text| write!(text, "{}", semaphore.acquired),
    },
    Family {
        name: "throttle_full_count",
        help: "New leases which would increase the count beyond this limit are pending.",
        value: |semaphore, text| write!(text, "{}", semaphore.max),
    },
    Family {
        name: "throttle_longest_pending_sec",
        help: "Time the longest pending peer is waiting until now, to acquire a lock to a \
               semaphore.",
        value: |semaphore, text| write!(text, "{}", semaphore.longest_pending.as_secs_f64()),
    },
    Family {
        name: "throttle_pending",
        help: "Accumulated count of all pending leases",
        value: |semaphore, text| write!(text, "{}", semaphore.pending),
    },
];

/// The registry of this server, and what is registered there.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    log_dropped: IntCounterVec,
    num_404: IntCounter,
    peers: IntGauge,
    recovering: IntGauge,
    refused: IntCounterVec,
    waiters: IntGauge,
    /// Held while gauges are set and read: two who look at the same time see whole pictures.
    looking: Mutex<()>,
}

impl Metrics {
    /// Metrics in which nothing happened yet. The names and descriptions of the contract's five are
    /// kept to the letter.
    ///
    /// # Errors
    /// None in practice: the names are valid, and each is registered once.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| registered(&registry, IntGauge::new(name, help));
        let refused = Opts::new(
            "throttle_refused_total",
            "Requests that were refused, by the code of the reason.",
        );
        let log_dropped = Opts::new(
            "throttle_log_dropped_total",
            "Log lines that were dropped, for nobody took them in time.",
        );
        let num_404 =
            IntCounter::new("throttle_num_404", "Number of Get requests to unknown resource.");
        Ok(Metrics {
            log_dropped: registered(&registry, IntCounterVec::new(log_dropped, &["sink"]))?,
            num_404: registered(&registry, num_404)?,
            peers: gauge("throttle_peers", "Peers with a lease.")?,
            recovering: gauge(
                "throttle_recovering",
                "1 while a recovery window lasts and no lock is granted, else 0.",
            )?,
            refused: registered(&registry, IntCounterVec::new(refused, &["reason"]))?,
            waiters: gauge("throttle_waiters", "Requests that are parked on a pending lock.")?,
            registry,
            looking: Mutex::new(()),
        })
    }

    /// Counts a refusal, by the code that names its reason.
    pub fn count_refusal(&self, code: &str) {
        self.refused.with_label_values(&[code]).inc();
    }

    /// Counts a request to a path that does not exist.
    pub fn count_404(&self) {
        self.num_404.inc();
    }

    /// How things are `now`, and the counters, as text. `log_dropped` has the number of log lines
    /// that each sink has dropped since the start.
    #[expect(clippy::expect_used, reason = "it cannot fail, see below")]
    pub fn render(&self, now: &Overview, log_dropped: &[(&str, u64)]) -> String {
        let _looking = self.looking.lock();
        for (sink, total) in log_dropped {
            let counter = self.log_dropped.with_label_values(&[*sink]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.peers.set(now.peers as i64);
        self.waiters.set(now.waiters as i64);
        self.recovering.set(now.recovery_left.is_some().into());
        let mut text = String::new();
        // A string takes all that is written to it; and the encoder refuses nothing but empty
        // families, which `gather` leaves out.
        of_semaphores(&now.semaphores, &mut text).expect("strings can be written to");
        let others = self.registry.gather();
        TextEncoder::new().encode_utf8(&others, &mut text).expect("metrics are encoded");
        text
    }
}

fn of_semaphores(semaphores: &[SemaphoreSnapshot], text: &mut String) -> fmt::Result {
    if semaphores.is_empty() {
        return Ok(());
    }
    let labels: Vec<String> = semaphores.iter().map(|semaphore| label(&semaphore.name)).collect();
    for Family { name, help, value } in &FAMILIES {
        write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n")?;
        for (semaphore, label) in semaphores.iter().zip(&labels) {
            text.extend([*name, label]);
            value(semaphore, text)?;
            text.push('\n');
        }
    }
    Ok(())
}

/// The label of a semaphore, its name quoted as the text format wants it.
fn label(name: &str) -> String {
    let mut label = String::with_capacity(name.len() + 16);
    label.push_str("{semaphore=\"");
    for letter in name.chars() {
        match letter {
            '\\' => label.push_str("\\\\"),
            '"' => label.push_str("\\\""),
            '\n' => label.push_str("\\n"),
            letter => label.push(letter),
        }
    }
    label.push_str("\"} ");
    label
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::semaphore::SemaphoreSnapshot;

    fn semaphore(name: &str) -> SemaphoreSnapshot {
        SemaphoreSnapshot {
            name: name.into(),
            max: 42,
            level: 0,
            acquired: 3,
            pending: 2,
            longest_pending: Duration::from_millis(1500),
        }
    }

    fn render(metrics: &Metrics, semaphores: Vec<SemaphoreSnapshot>) -> String {
        let recovery_left = Some(Duration::from_secs(1));
        let now = Overview { semaphores, peers: 3, waiters: 2, recovery_left };
        metrics.render(&now, &[("stderr", 0), ("gelf", 7)])
    }

    #[test]
    fn names_and_descriptions_are_rendered_to_the_letter() {
        let metrics = Metrics::new().unwrap();

        metrics.count_404();
        metrics.count_refusal("grow");
        render(&metrics, Vec::new());
        let text = render(&metrics, vec![semaphore("A")]);

        let expected = "\
# HELP throttle_count Accumulated count of all active leases
# TYPE throttle_count gauge
throttle_count{semaphore=\"A\"} 3
# HELP throttle_full_count New leases which would increase the count beyond this limit are pending.
# TYPE throttle_full_count gauge
throttle_full_count{semaphore=\"A\"} 42
# HELP throttle_longest_pending_sec Time the longest pending peer is waiting until now, to acquire \
a lock to a semaphore.
# TYPE throttle_longest_pending_sec gauge
throttle_longest_pending_sec{semaphore=\"A\"} 1.5
# HELP throttle_pending Accumulated count of all pending leases
# TYPE throttle_pending gauge
throttle_pending{semaphore=\"A\"} 2
# HELP throttle_log_dropped_total Log lines that were dropped, for nobody took them in time.
# TYPE throttle_log_dropped_total counter
throttle_log_dropped_total{sink=\"gelf\"} 7
throttle_log_dropped_total{sink=\"stderr\"} 0
# HELP throttle_num_404 Number of Get requests to unknown resource.
# TYPE throttle_num_404 counter
throttle_num_404 1
# HELP throttle_peers Peers with a lease.
# TYPE throttle_peers gauge
throttle_peers 3
# HELP throttle_recovering 1 while a recovery window lasts and no lock is granted, else 0.
# TYPE throttle_recovering gauge
throttle_recovering 1
# HELP throttle_refused_total Requests that were refused, by the code of the reason.
# TYPE throttle_refused_total counter
throttle_refused_total{reason=\"grow\"} 1
# HELP throttle_waiters Requests that are parked on a pending lock.
# TYPE throttle_waiters gauge
throttle_waiters 2
";
        assert_eq!(expected, text);
    }

    #[test]
    fn odd_names_are_escaped() {
        let text = render(&Metrics::new().unwrap(), vec![semaphore("a\"b\\c\nd")]);

        assert!(text.contains(r#"throttle_count{semaphore="a\"b\\c\nd"} 3"#), "{text}");
    }

    #[test]
    fn server_without_semaphores_has_metrics_too() {
        let text = render(&Metrics::new().unwrap(), Vec::new());

        assert!(text.contains("throttle_num_404 0\n"), "{text}");
    }
}
