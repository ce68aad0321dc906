//! The lease of a peer by our own clock. It sends nothing and reads no clock: times are those of
//! [`crate::clock::since_boot`].

use std::time::Duration;

use crate::client::Answer;

/// Clocks of two machines run apart by less than this share of a lease.
const DRIFT: f64 = 0.01;

/// A heartbeat is due after this share of a lease.
const BEAT: f64 = 1.0 / 3.0;

/// Until when what is held is ours for certain.
#[derive(Clone, Debug)]
pub struct Lease {
    /// As it is asked for.
    pub length: Duration,
    /// Which start of the server was the last to know it.
    pub instance: Option<u64>,
    sent_at: Duration,
    good_for: Duration,
}

impl Lease {
    /// One of this length, that began with the request for this answer at the earliest.
    pub fn begun(length: Duration, answer: &Answer) -> Self {
        let mut lease =
            Lease { length, instance: None, sent_at: Duration::ZERO, good_for: Duration::ZERO };
        lease.renew(answer);
        lease
    }

    /// Takes note of a good answer. One to a request that was sent earlier than the last changes
    /// nothing.
    pub fn renew(&mut self, answer: &Answer) {
        if answer.sent_at >= self.sent_at {
            self.sent_at = answer.sent_at;
            self.instance = answer.instance;
            // What the server says is left, is from the moment of a grant, somewhere between the
            // request and its answer; so it only shows where the lease is shorter altogether.
            let waited = answer.received_at.saturating_sub(answer.sent_at);
            let at_most = answer.expires_in.map(|left| left.saturating_add(waited));
            self.good_for = at_most.unwrap_or(self.length).min(self.length);
        }
    }

    /// When it has ended for certain, or has not yet.
    pub fn ends_at(&self) -> Duration {
        self.sent_at + self.good_for.mul_f64(1.0 - DRIFT)
    }

    /// What is left of it.
    pub fn left(&self, now: Duration) -> Duration {
        self.ends_at().saturating_sub(now)
    }

    /// When the next heartbeat is due, a little earlier by chance: `share` is below one.
    pub fn beat_at(&self, share: f64) -> Duration {
        self.sent_at + self.good_for.mul_f64(BEAT * share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(sent_at: u64, expires_in: Option<u64>) -> Answer {
        Answer {
            status: 200,
            body: String::new(),
            sent_at: Duration::from_secs(sent_at),
            received_at: Duration::from_secs(sent_at + 10),
            expires_in: expires_in.map(Duration::from_secs),
            token: None,
            instance: Some(sent_at),
            retry_after: None,
            is_problem: false,
        }
    }

    const LENGTH: Duration = Duration::from_secs(100);

    #[test]
    fn a_lease_begins_when_its_request_was_sent_and_ends_a_little_early() {
        let lease = Lease::begun(LENGTH, &answer(1_000, None));

        assert_eq!(Duration::from_secs(1_099), lease.ends_at());
        assert_eq!(Duration::from_secs(9), lease.left(Duration::from_secs(1_090)));
        assert_eq!(Duration::ZERO, lease.left(Duration::from_secs(2_000)));
    }

    #[test]
    fn what_the_server_says_is_left_counts_where_it_is_less() {
        let lease = Lease::begun(LENGTH, &answer(1_000, Some(40)));

        assert_eq!(Duration::from_millis(1_049_500), lease.ends_at());
        assert_eq!(
            Duration::from_secs(1_099),
            Lease::begun(LENGTH, &answer(1_000, Some(5_000))).ends_at()
        );
    }

    #[test]
    fn time_spent_waiting_for_the_answer_is_not_taken_off_twice() {
        let lease = Lease::begun(LENGTH, &answer(1_000, Some(90)));

        assert_eq!(Duration::from_secs(1_099), lease.ends_at());
    }

    #[test]
    fn an_answer_to_an_earlier_request_changes_nothing() {
        let mut lease = Lease::begun(LENGTH, &answer(1_000, None));

        lease.renew(&answer(900, None));

        assert_eq!(Duration::from_secs(1_099), lease.ends_at());
        assert_eq!(Some(1_000), lease.instance);
    }

    #[test]
    fn heartbeats_are_due_after_a_third() {
        let lease = Lease::begun(Duration::from_secs(90), &answer(1_000, None));

        assert_eq!(1_030, lease.beat_at(1.0).as_secs_f64().round() as u64);
        assert_eq!(1_024, lease.beat_at(0.8).as_secs_f64().round() as u64);
    }
}
