//! The metrics of one server, in the Prometheus text format.
//!
//! Nothing is global: each server has a registry of its own. Gauges are set when somebody looks,
//! from what the books count anyway; this costs O(semaphores), however many peers there are.

mod text;
mod traffic;

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector,
};

pub use self::traffic::Traffic;
use self::{text::Text, traffic::AllTraffic};
use crate::{
    clock,
    semaphore::{BOUNDS, Durations, SemaphoreSnapshot},
    state::Overview,
};

/// What is shown of each semaphore as one number.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&SemaphoreSnapshot) -> Number,
}

enum Number {
    Whole(i128),
    Seconds(f64),
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    value: fn(&SemaphoreSnapshot) -> Number,
) -> Family {
    Family { name, kind: "gauge", help, value }
}

const fn counter(
    name: &'static str,
    help: &'static str,
    value: fn(&SemaphoreSnapshot) -> Number,
) -> Family {
    Family { name, kind: "counter", help, value }
}

/// The first four, spelled and described as the contract has them, and further ones.
const FAMILIES: [Family; 11] = [
    gauge("throttle_count", "Accumulated count of all active leases", |semaphore| {
        Number::Whole(semaphore.acquired.into())
    }),
    gauge(
        "throttle_full_count",
        "New leases which would increase the count beyond this limit are pending.",
        |semaphore| Number::Whole(semaphore.max.into()),
    ),
    gauge(
        "throttle_longest_pending_sec",
        "Time the longest pending peer is waiting until now, to acquire a lock to a semaphore.",
        |semaphore| Number::Seconds(semaphore.longest_pending.as_secs_f64()),
    ),
    gauge("throttle_pending", "Accumulated count of all pending leases", |semaphore| {
        Number::Whole(semaphore.pending)
    }),
    gauge("throttle_over_commit", "Permits that are acquired beyond max.", |semaphore| {
        Number::Whole((i128::from(semaphore.acquired) - i128::from(semaphore.max)).max(0))
    }),
    gauge("throttle_paused", "1 while somebody has the semaphore paused, else 0.", |semaphore| {
        Number::Whole(semaphore.is_paused.into())
    }),
    counter("throttle_acquired_total", "Locks that were granted.", |semaphore| {
        Number::Whole(semaphore.totals.acquired.into())
    }),
    counter("throttle_released_total", "Locks that were given back.", |semaphore| {
        Number::Whole(semaphore.totals.released.into())
    }),
    counter("throttle_expired_total", "Acquired locks that were lost with a lease.", |semaphore| {
        Number::Whole(semaphore.totals.expired.into())
    }),
    counter(
        "throttle_cancelled_total",
        "Pending locks that ended without a grant: withdrawn, or lost with a lease.",
        |semaphore| Number::Whole(semaphore.totals.cancelled.into()),
    ),
    counter("throttle_restored_total", "Locks that were restored.", |semaphore| {
        Number::Whole(semaphore.totals.restored.into())
    }),
];

/// Name, help and value of a histogram of each semaphore.
type Histogram = (&'static str, &'static str, fn(&SemaphoreSnapshot) -> &Durations);

const HISTOGRAMS: [Histogram; 2] = [
    ("throttle_wait_seconds", "From the ask for a lock to its grant.", |semaphore| {
        &semaphore.totals.waits
    }),
    ("throttle_hold_seconds", "From the grant of a lock to its end.", |semaphore| {
        &semaphore.totals.holds
    }),
];

/// Refusals at limits are counted from the start: whoever watches them sees the first one, too.
const LIMITS: [&str; 4] =
    ["too_many_listeners", "too_many_peers", "too_many_semaphores", "too_many_waiters"];

/// The registry of this server, and what is registered there.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    log_dropped: IntCounterVec,
    num_404: IntCounter,
    peers: IntGauge,
    recovering: IntGauge,
    refused: IntCounterVec,
    reloaded: IntGauge,
    waiters: IntGauge,
    traffic: AllTraffic,
    /// Held while gauges are set and read: two who look at the same time see whole pictures.
    looking: Mutex<()>,
}

impl Metrics {
    /// Metrics in which nothing happened yet. `routes` has the patterns of all routes.
    ///
    /// # Errors
    /// None in practice: the names are valid, and each is registered once.
    pub fn new(routes: &'static [&'static str]) -> prometheus::Result<Self> {
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
        let build = Opts::new("throttle_build_info", "Always 1; which version runs.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let num_404 =
            IntCounter::new("throttle_num_404", "Number of Get requests to unknown resource.");
        let metrics = Metrics {
            log_dropped: registered(&registry, IntCounterVec::new(log_dropped, &["sink"]))?,
            num_404: registered(&registry, num_404)?,
            peers: gauge("throttle_peers", "Peers with a lease.")?,
            recovering: gauge(
                "throttle_recovering",
                "1 while a recovery window lasts and no lock is granted, else 0.",
            )?,
            refused: registered(&registry, IntCounterVec::new(refused, &["reason"]))?,
            reloaded: gauge(
                "throttle_config_last_reload_successful",
                "0 while the last attempt to read the configuration failed, else 1.",
            )?,
            waiters: gauge("throttle_waiters", "Requests that are parked on a pending lock.")?,
            traffic: AllTraffic::of(routes),
            looking: Mutex::new(()),
            registry,
        };
        registered(&metrics.registry, IntGauge::with_opts(build))?.set(1);
        let start = Gauge::new(
            "throttle_start_time_seconds",
            "When the server was started, in seconds since 1970. A restart forgets all state.",
        );
        registered(&metrics.registry, start)?.set(clock::since_1970().as_secs_f64());
        for code in LIMITS {
            metrics.refused.with_label_values(&[code]);
        }
        metrics.note_reload(true);
        Ok(metrics)
    }

    /// Counts a refusal, by the code that names its reason.
    pub fn count_refusal(&self, code: &str) {
        self.refused.with_label_values(&[code]).inc();
    }

    /// Counts a request to a path that does not exist.
    pub fn count_404(&self) {
        self.num_404.inc();
    }

    /// Notes whether the configuration could be read again.
    pub fn note_reload(&self, is_successful: bool) {
        self.reloaded.set(is_successful.into());
    }

    /// Where one more worker counts its requests.
    pub fn traffic_of_worker(&self) -> Arc<Traffic> {
        self.traffic.of_worker()
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
        let mut text = Text::default();
        of_semaphores(&now.semaphores, &mut text);
        self.traffic.write(&mut text);
        let mut text = text.into_string();
        // The encoder refuses nothing but empty families, which `gather` leaves out.
        let others = self.registry.gather();
        TextEncoder::new().encode_utf8(&others, &mut text).expect("metrics are encoded");
        text
    }
}

fn of_semaphores(semaphores: &[SemaphoreSnapshot], text: &mut Text) {
    if semaphores.is_empty() {
        return;
    }
    let labels: Vec<String> = semaphores
        .iter()
        .map(|semaphore| text::labels(&[("semaphore", &semaphore.name)]))
        .collect();
    for Family { name, kind, help, value } in &FAMILIES {
        text.family(name, kind, help);
        for (semaphore, labels) in semaphores.iter().zip(&labels) {
            match value(semaphore) {
                Number::Whole(number) => text.value(labels, number),
                Number::Seconds(seconds) => text.value(labels, seconds),
            }
        }
    }
    let bounds = text::bounds(&BOUNDS);
    for (name, help, durations) in &HISTOGRAMS {
        text.family(name, "histogram", help);
        for (semaphore, labels) in semaphores.iter().zip(&labels) {
            let Durations { buckets, sum } = durations(semaphore);
            text.histogram(labels, &bounds, buckets, *sum);
        }
    }
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
    use crate::semaphore::{SemaphoreSnapshot, Source, Totals};

    fn semaphore(name: &str) -> SemaphoreSnapshot {
        let mut totals = Totals { acquired: 5, released: 2, cancelled: 1, ..Totals::default() };
        totals.waits.observe(Duration::from_millis(5));
        SemaphoreSnapshot {
            name: name.into(),
            max: 2,
            level: 0,
            acquired: 3,
            pending: 2,
            waiting: 1,
            holders: 1,
            longest_pending: Duration::from_millis(1500),
            is_paused: true,
            source: Source::Removed,
            configured: None,
            totals,
        }
    }

    fn render(metrics: &Metrics, semaphores: Vec<SemaphoreSnapshot>) -> String {
        let recovery_left = Some(Duration::from_secs(1));
        let now = Overview { semaphores, peers: 3, waiters: 2, recovery_left };
        metrics.render(&now, &[("stderr", 0), ("gelf", 7)])
    }

    #[test]
    fn names_and_descriptions_of_the_contract_are_rendered_to_the_letter() {
        let metrics = Metrics::new(&["/x"]).unwrap();

        metrics.count_404();
        render(&metrics, Vec::new());
        let text = render(&metrics, vec![semaphore("A")]);

        for expected in [
            "# HELP throttle_count Accumulated count of all active leases
# TYPE throttle_count gauge
throttle_count{semaphore=\"A\"} 3
",
            "# HELP throttle_full_count New leases which would increase the count beyond this limit \
             are pending.
# TYPE throttle_full_count gauge
throttle_full_count{semaphore=\"A\"} 2
",
            "# HELP throttle_longest_pending_sec Time the longest pending peer is waiting until now, \
             to acquire a lock to a semaphore.
# TYPE throttle_longest_pending_sec gauge
throttle_longest_pending_sec{semaphore=\"A\"} 1.5
",
            "# HELP throttle_pending Accumulated count of all pending leases
# TYPE throttle_pending gauge
throttle_pending{semaphore=\"A\"} 2
",
            "# HELP throttle_num_404 Number of Get requests to unknown resource.
# TYPE throttle_num_404 counter
throttle_num_404 1
",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn all_that_is_counted_has_a_line() {
        let metrics = Metrics::new(&["/x"]).unwrap();
        metrics.count_refusal("grow");
        metrics.note_reload(false);
        metrics.traffic_of_worker().count(0, "GET", 200, Duration::ZERO);

        let text = render(&metrics, vec![semaphore("A")]);

        for line in [
            "throttle_over_commit{semaphore=\"A\"} 1",
            "throttle_paused{semaphore=\"A\"} 1",
            "throttle_acquired_total{semaphore=\"A\"} 5",
            "throttle_released_total{semaphore=\"A\"} 2",
            "throttle_expired_total{semaphore=\"A\"} 0",
            "throttle_cancelled_total{semaphore=\"A\"} 1",
            "throttle_restored_total{semaphore=\"A\"} 0",
            "throttle_wait_seconds_bucket{semaphore=\"A\",le=\"0.001\"} 0",
            "throttle_wait_seconds_bucket{semaphore=\"A\",le=\"0.01\"} 1",
            "throttle_wait_seconds_sum{semaphore=\"A\"} 0.005",
            "throttle_hold_seconds_count{semaphore=\"A\"} 0",
            "throttle_log_dropped_total{sink=\"gelf\"} 7",
            "throttle_log_dropped_total{sink=\"stderr\"} 0",
            "throttle_peers 3",
            "throttle_recovering 1",
            "throttle_refused_total{reason=\"grow\"} 1",
            "throttle_waiters 2",
            "throttle_config_last_reload_successful 0",
            "throttle_http_requests_total{method=\"GET\",route=\"/x\",status=\"200\"} 1",
            concat!("throttle_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn odd_names_are_escaped() {
        let text = render(&Metrics::new(&["/x"]).unwrap(), vec![semaphore("a\"b\\c\nd")]);

        assert!(text.contains(r#"throttle_count{semaphore="a\"b\\c\nd"} 3"#), "{text}");
    }

    #[test]
    fn server_without_semaphores_has_metrics_too() {
        let text = render(&Metrics::new(&["/x"]).unwrap(), Vec::new());

        assert!(text.contains("throttle_num_404 0\n"), "{text}");
    }
}
