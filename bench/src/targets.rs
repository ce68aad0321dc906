//! What was promised, beside what was measured.

use crate::{
    results::{Measurement, Results, Spread},
    tables::number,
};

/// One target, and whether it was met.
#[derive(Debug)]
pub struct Judged {
    /// What was measured.
    pub what: String,
    /// The bound.
    pub wanted: String,
    /// The figure; for a ratio with the interval in which its median lies.
    pub measured: String,
    /// Whether it keeps the bound; `None` where it was not measured.
    pub is_met: Option<bool>,
}

/// What is compared: scenario, server, parameters, metric.
type Key<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

struct Judge<'a> {
    results: &'a Results,
    judged: Vec<Judged>,
}

/// Holds a run against the targets.
pub fn judge(results: &Results) -> Vec<Judged> {
    let mut judge = Judge { results, judged: Vec::new() };
    judge.requests();
    judge.hand_offs();
    judge.memory();
    judge.disturbances();
    judge.start();
    judge.judged
}

impl Judge<'_> {
    fn requests(&mut self) {
        let cycle = |server| ("cycle", server, &[][..], "per_second");
        let (ours, ceiling, upstream) = (cycle("throttle"), cycle("ceiling"), cycle("upstream"));
        self.at_least("cycle, of the ceiling's requests/s", ours, ceiling, 0.85);
        let cpu = |server| ("cycle", server, &[][..], "cpu_us");
        let what = "cycle, the ceiling's CPU of ours";
        self.at_least(what, cpu("ceiling"), cpu("throttle"), 0.85);
        self.at_least("cycle, of upstream's requests/s", ours, upstream, 1.6);
        for (peers, factor) in [("10000", 35.0), ("100000", 400.0)] {
            let peers = [("idle_peers", peers)];
            let of = |server| ("idle", server, &peers[..], "per_second");
            let what = format!("cycle with {} idle peers, of upstream's requests/s", peers[0].1);
            self.at_least(&what, of("throttle"), of("upstream"), factor);
        }
        let many = self.most("idle", "idle_peers");
        for (scenario, few, what) in [("idle", "0", "cycle"), ("heartbeat", "1000", "heartbeats")] {
            let of = |peers| (scenario, "throttle", peers, "cpu_us");
            let (with, without) = ([("idle_peers", many.as_str())], [("idle_peers", few)]);
            let what = format!("{what}, CPU with {many} peers of that with {few}");
            // Missed only beyond the noise of the run.
            let is_met = |ratio: Spread| ratio.interval[0] <= 1.05;
            self.ratio(&what, of(&with[..]), of(&without[..]), "≤ 1.05".to_owned(), is_met);
        }
    }

    fn hand_offs(&mut self) {
        for (pinned, place) in [("true", "pinned"), ("false", "free")] {
            for (clients, factor) in [("64", 1.6), ("1000", 2.4)] {
                let setting = [("clients", clients), ("max", "1"), ("pinned", pinned)];
                let of = |server| ("hand_off", server, &setting[..], "per_second");
                let what = format!("hand-offs, {clients} clients, {place}, of upstream's");
                self.at_least(&what, of("throttle"), of("upstream"), factor);
                if let Some(best) = self.best_other(&setting) {
                    let what = format!("hand-offs, {clients} clients, {place}, of {best}'s");
                    self.at_least(&what, of("throttle"), of(best), 1.6);
                }
            }
            let setting = [("clients", "64"), ("max", "1"), ("pinned", pinned)];
            let of = |server| ("hand_off", server, &setting[..], "p99_us");
            let what = format!("hand-offs, 64 clients, {place}, p99 of upstream's");
            self.at_most(&what, of("throttle"), of("upstream"), 0.75);
        }
        let of = |server| ("parked", server, &[][..], "drained_per_second");
        let what = "drain of parked requests, of upstream's";
        self.at_least(what, of("throttle"), of("upstream"), 12.0);
    }

    /// Whoever comes next to ours among those that are no server for this protocol.
    fn best_other(&self, setting: &[(&str, &str)]) -> Option<&'static str> {
        let rate = |server: &'static str| {
            let measured = self.find(("hand_off", server, setting, "per_second"))?;
            Some((server, measured.spread()?.median))
        };
        let others = ["redis, BLPOP", "postgresql", "etcd"].into_iter().filter_map(rate);
        others.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(server, _)| server)
    }

    fn memory(&mut self) {
        let peer = ("memory", "throttle", &[("locks", "1")][..], "peer_bytes");
        self.bounded("bytes of an idle peer with a lock", peer, 120.0);
        let waiter = ("parked", "throttle", &[][..], "waiter_bytes");
        self.bounded("bytes of a parked request, on top of its connection", waiter, 1_500.0);
        let binary = ("start", "throttle", &[][..], "binary_bytes");
        self.bounded("bytes of the binary", binary, 8e6);
    }

    fn disturbances(&mut self) {
        let crowd = self.most("scrape", "peers");
        let scrape = |server, peers| ("scrape", server, peers, "p50_us");
        let (many, none) = ([("peers", crowd.as_str())], [("peers", "0")]);
        let what = format!("time of `/metrics` with {crowd} peers, of upstream's with none");
        self.at_most(&what, scrape("throttle", &many[..]), scrape("upstream", &none[..]), 1.0);
        let with = [("peers", crowd.as_str()), ("scraped", "true")];
        let without = [("peers", crowd.as_str()), ("scraped", "false")];
        let others = |setting| ("scrape_others", "throttle", setting, "p99_us");
        self.at_most(
            "others' p99 while scraped, of that without",
            others(&with[..]),
            others(&without[..]),
            1.5,
        );
        let storm = |setting| ("storm", "throttle", setting, "p999_us");
        let (with, without) = ([("expiring", "true")], [("expiring", "false")]);
        let what = "others' p99.9 while leases end, of that without";
        self.at_most(what, storm(&with[..]), storm(&without[..]), 3.0);
    }

    fn start(&mut self) {
        let of = |server, metric| ("start", server, &[][..], metric);
        for (metric, what) in
            [("first_answer_ms", "start to first answer"), ("resident_bytes", "resident at start")]
        {
            let what = format!("{what}, of upstream's");
            self.at_most(&what, of("throttle", metric), of("upstream", metric), 1.0);
        }
    }

    fn find(&self, (scenario, server, parameters, metric): Key<'_>) -> Option<&Measurement> {
        self.results.find(scenario, server, parameters, metric)
    }

    fn at_least(&mut self, what: &str, ours: Key<'_>, theirs: Key<'_>, bound: f64) {
        self.ratio(what, ours, theirs, format!("≥ {bound}"), |ratio| ratio.median >= bound);
    }

    fn at_most(&mut self, what: &str, ours: Key<'_>, theirs: Key<'_>, bound: f64) {
        self.ratio(what, ours, theirs, format!("≤ {bound}"), |ratio| ratio.median <= bound);
    }

    /// The largest number that a parameter has in a scenario, as it is written there.
    fn most(&self, scenario: &str, parameter: &str) -> String {
        let measured = self.results.measurements.iter().filter(|m| m.scenario == scenario);
        let values = measured.filter_map(|m| m.parameters.get(parameter)?.parse::<u64>().ok());
        values.max().unwrap_or_default().to_string()
    }

    fn ratio(
        &mut self,
        what: &str,
        ours: Key<'_>,
        theirs: Key<'_>,
        wanted: String,
        is_met: impl Fn(Spread) -> bool,
    ) {
        let (ours, theirs) = (self.find(ours), self.find(theirs));
        let ratio = ours.zip(theirs).and_then(|(ours, theirs)| ours.ratio_to(theirs));
        let shown = |Spread { median, interval: [from, to], .. }: Spread| {
            format!("{median:.2} ({from:.2} … {to:.2})")
        };
        self.push(what, wanted, ratio.map(|ratio| (shown(ratio), is_met(ratio))));
    }

    fn bounded(&mut self, what: &str, key: Key<'_>, bound: f64) {
        let median = self.find(key).and_then(Measurement::spread).map(|spread| spread.median);
        let judged = median.map(|median| (number(median, 0), median <= bound));
        self.push(what, format!("≤ {}", number(bound, 0)), judged);
    }

    fn push(&mut self, what: &str, wanted: String, judged: Option<(String, bool)>) {
        let (measured, is_met) = judged.unzip();
        let measured = measured.unwrap_or_else(|| "–".to_owned());
        self.judged.push(Judged { what: what.to_owned(), wanted, measured, is_met });
    }
}
