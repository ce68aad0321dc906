//! How many requests there were, and how long they took. Each worker counts for itself, so that
//! counting costs nothing; whoever looks adds them up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::text::{self, Text};

/// From a tenth of a millisecond, which most stay below, to an hour: a request takes as long as it
/// waits for a lock.
const BOUNDS: [Duration; 9] = [
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(60 * 60),
];

/// How many nanoseconds the sums of durations go by.
const TICK: u64 = 100;

/// The methods that are told from each other; the last stands for all others.
const METHODS: [&str; 6] = ["GET", "PUT", "POST", "DELETE", "HEAD", "other"];

/// The statuses that are told from each other; behind them is room for all others.
const STATUSES: [u16; 12] = [200, 202, 400, 401, 403, 404, 405, 408, 409, 413, 415, 503];

/// What one worker has counted. Only that worker counts.
#[derive(Debug)]
pub struct Traffic {
    /// By route and method.
    counts: Box<[Count]>,
}

#[derive(Debug, Default)]
struct Count {
    by_status: [AtomicU64; STATUSES.len() + 1],
    durations: [AtomicU64; BOUNDS.len() + 1],
    /// In tenths of a microsecond: so it lasts for years, also where thousands always wait.
    ticks: AtomicU64,
}

impl Traffic {
    fn of_routes(count: usize) -> Arc<Self> {
        let counts = (0..count * METHODS.len()).map(|_| Count::default()).collect();
        Arc::new(Traffic { counts })
    }

    /// Counts a request to the route of that index.
    pub fn count(&self, route: usize, method: &str, status: u16, duration: Duration) {
        // By hand: this is on the way of every request.
        let method = match method {
            "GET" => 0,
            "PUT" => 1,
            "POST" => 2,
            "DELETE" => 3,
            "HEAD" => 4,
            _ => METHODS.len() - 1,
        };
        let Some(count) = self.counts.get(route * METHODS.len() + method) else { return };
        let status = STATUSES.iter().position(|known| *known == status);
        let bucket = BOUNDS.iter().position(|bound| duration <= *bound);
        increase(&count.by_status[status.unwrap_or(STATUSES.len())], 1);
        increase(&count.durations[bucket.unwrap_or(BOUNDS.len())], 1);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        increase(&count.ticks, nanoseconds.saturating_add(TICK / 2) / TICK);
    }
}

/// Only one thread writes here, so this need not be one step.
fn increase(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

/// What all workers have counted.
#[derive(Debug)]
pub struct AllTraffic {
    /// The patterns of all routes.
    routes: &'static [&'static str],
    workers: Mutex<Vec<Arc<Traffic>>>,
}

impl AllTraffic {
    /// Nothing yet.
    pub fn of(routes: &'static [&'static str]) -> Self {
        AllTraffic { routes, workers: Mutex::default() }
    }

    /// For one more worker.
    pub fn of_worker(&self) -> Arc<Traffic> {
        let traffic = Traffic::of_routes(self.routes.len());
        self.workers.lock().push(traffic.clone());
        traffic
    }

    /// Writes all that was ever requested.
    pub fn write(&self, text: &mut Text) {
        let workers = self.workers.lock().clone();
        let sum = |of: &dyn Fn(&Traffic) -> u64| -> u64 {
            workers.iter().fold(0, |sum, worker| sum.wrapping_add(of(worker)))
        };
        let all = self.routes.iter().flat_map(|route| METHODS.map(|method| (*route, method)));
        let used: Vec<_> = all
            .enumerate()
            .map(|(ix, (route, method))| {
                let statuses: Vec<u64> = (0..=STATUSES.len())
                    .map(|status| sum(&|worker| worker.counts[ix].by_status[status].load(Relaxed)))
                    .collect();
                (ix, text::labels(&[("method", method), ("route", route)]), statuses)
            })
            .filter(|(_, _, statuses)| statuses.iter().any(|count| *count > 0))
            .collect();
        text.family("throttle_http_requests_total", "counter", "Requests that were answered.");
        for (_, labels, statuses) in &used {
            let names = STATUSES.iter().map(u16::to_string).chain(["other".to_owned()]);
            for (status, count) in names.zip(statuses).filter(|(_, count)| **count > 0) {
                text.value(&format!("{labels},status=\"{status}\""), count);
            }
        }
        text.family(
            "throttle_http_request_duration_seconds",
            "histogram",
            "From the head of a request to its answer, the wait for a lock included.",
        );
        let bounds = text::bounds(&BOUNDS);
        for (ix, labels, _) in &used {
            let counts: Vec<u64> = (0..=BOUNDS.len())
                .map(|bucket| sum(&|worker| worker.counts[*ix].durations[bucket].load(Relaxed)))
                .collect();
            let ticks = sum(&|worker| worker.counts[*ix].ticks.load(Relaxed));
            let sum = Duration::from_micros(ticks / 10);
            text.histogram(labels, &bounds, &counts, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up() {
        let all = AllTraffic::of(&["/a", "/b/{id}"]);
        let workers = [all.of_worker(), all.of_worker()];

        workers[0].count(1, "PUT", 200, Duration::from_micros(100));
        workers[1].count(1, "PUT", 200, Duration::from_secs(2));
        workers[1].count(1, "PUT", 409, Duration::from_secs(4_000));
        workers[1].count(0, "BREW", 418, Duration::ZERO);
        workers[1].count(7, "GET", 200, Duration::ZERO);

        let mut text = Text::default();
        all.write(&mut text);
        let text = text.into_string();
        for line in [
            "throttle_http_requests_total{method=\"PUT\",route=\"/b/{id}\",status=\"200\"} 2",
            "throttle_http_requests_total{method=\"PUT\",route=\"/b/{id}\",status=\"409\"} 1",
            "throttle_http_requests_total{method=\"other\",route=\"/a\",status=\"other\"} 1",
            "throttle_http_request_duration_seconds_bucket{method=\"PUT\",route=\"/b/{id}\",le=\"0.0001\"} 1",
            "throttle_http_request_duration_seconds_bucket{method=\"PUT\",route=\"/b/{id}\",le=\"10\"} 2",
            "throttle_http_request_duration_seconds_count{method=\"PUT\",route=\"/b/{id}\"} 3",
            "throttle_http_request_duration_seconds_sum{method=\"PUT\",route=\"/b/{id}\"} 4002.0001",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("GET"), "{text}");
    }
}
