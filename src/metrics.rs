//! The metrics of one server, in the Prometheus text format.
//!
//! Nothing is global: each server has a registry of its own. Gauges are set when somebody looks,
//! from what the books count anyway; this costs O(semaphores), however many peers there are.

use prometheus::{GaugeVec, IntCounter, Opts, Registry, TextEncoder};

use crate::semaphore::SemaphoreSnapshot;

/// The registry of this server, and what is registered there.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    count: GaugeVec,
    full_count: GaugeVec,
    longest_pending_sec: GaugeVec,
    num_404: IntCounter,
    pending: GaugeVec,
}

impl Metrics {
    /// Metrics in which nothing happened yet. Names and descriptions are those of the contract.
    ///
    /// # Errors
    /// None in practice: the names are valid, and each is registered once.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| -> prometheus::Result<GaugeVec> {
            let gauge = GaugeVec::new(Opts::new(name, help), &["semaphore"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let count = gauge("throttle_count", "Accumulated count of all active leases")?;
        let full_count = gauge(
            "throttle_full_count",
            "New leases which would increase the count beyond this limit are pending.",
        )?;
        let longest_pending_sec = gauge(
            "throttle_longest_pending_sec",
            "Time the longest pending peer is waiting until now, to acquire a lock to a semaphore.",
        )?;
        let pending = gauge("throttle_pending", "Accumulated count of all pending leases")?;
        let num_404 =
            IntCounter::new("throttle_num_404", "Number of Get requests to unknown resource.")?;
        registry.register(Box::new(num_404.clone()))?;
        Ok(Metrics { registry, count, full_count, longest_pending_sec, num_404, pending })
    }

    /// Counts a request to a path that does not exist.
    pub fn count_404(&self) {
        self.num_404.inc();
    }

    /// The state of all semaphores as it is now, and the counters, as text.
    #[expect(clippy::expect_used, reason = "it cannot fail, see below")]
    pub fn render(&self, semaphores: &[SemaphoreSnapshot]) -> String {
        for semaphore in semaphores {
            let labels = &[semaphore.name.as_ref()];
            self.count.with_label_values(labels).set(semaphore.acquired as f64);
            self.full_count.with_label_values(labels).set(semaphore.max as f64);
            let longest_pending = semaphore.longest_pending.as_secs_f64();
            self.longest_pending_sec.with_label_values(labels).set(longest_pending);
            self.pending.with_label_values(labels).set(semaphore.pending as f64);
        }
        // The encoder refuses empty families, which `gather` leaves out, and failing writers; the
        // writer is a string.
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics are encoded")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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

    #[test]
    fn contract_names_and_descriptions_are_rendered_to_the_letter() {
        let metrics = Metrics::new().unwrap();

        metrics.count_404();
        let text = metrics.render(&[semaphore("A")]);

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
# HELP throttle_num_404 Number of Get requests to unknown resource.
# TYPE throttle_num_404 counter
throttle_num_404 1
# HELP throttle_pending Accumulated count of all pending leases
# TYPE throttle_pending gauge
throttle_pending{semaphore=\"A\"} 2
";
        assert_eq!(expected, text);
    }

    #[test]
    fn odd_names_are_escaped() {
        let text = Metrics::new().unwrap().render(&[semaphore("a\"b\\c\nd")]);

        assert!(text.contains(r#"throttle_count{semaphore="a\"b\\c\nd"} 3"#), "{text}");
    }

    #[test]
    fn server_without_semaphores_has_metrics_too() {
        let text = Metrics::new().unwrap().render(&[]);

        assert!(text.ends_with("throttle_num_404 0\n"), "{text}");
    }
}
