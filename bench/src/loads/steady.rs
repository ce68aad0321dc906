//! Requests at a steady rate, whether they are answered quickly or not.
//!
//! A client that waits for its answer before it asks again asks little while the server is held up,
//! and so hardly sees it. Here each request has a time at which it is due, and its latency counts
//! from then.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Counting, Tally, expect_ok};
use crate::engine::{Load, Reply, Turn};

/// Requests at a rate, spread over most connections; and one more connection that sends another
/// request now and then.
#[derive(Debug)]
pub struct Steady {
    /// The requests of each connection, in turn.
    requests: Vec<Vec<Vec<u8>>>,
    sent: Vec<usize>,
    due: Vec<Instant>,
    /// The pause between two requests of one connection.
    pause: Duration,
    aside: Option<Aside>,
    tally: Tally,
}

/// What the last connection does.
#[derive(Debug)]
struct Aside {
    request: Vec<u8>,
    every: Duration,
    due: Instant,
}

impl Steady {
    /// `a_second` requests over all connections for which there are `requests`.
    pub fn new(requests: Vec<Vec<Vec<u8>>>, a_second: u32) -> Self {
        let count = requests.len() as u32;
        let (pause, now) = (Duration::from_secs(1) * count / a_second, Instant::now());
        Steady {
            sent: vec![0; requests.len()],
            due: (0..count).map(|connection| now + pause * connection / count).collect(),
            requests,
            pause,
            aside: None,
            tally: Tally::default(),
        }
    }

    /// One more connection sends `request` so often.
    pub fn with_aside(mut self, request: Vec<u8>, every: Duration) -> Self {
        self.aside = Some(Aside { request, every, due: Instant::now() });
        self
    }

    /// Forgets requests that were due before now: nothing was measured then.
    pub fn begin_now(&mut self) {
        let (now, count) = (Instant::now(), self.due.len() as u32);
        for (connection, due) in self.due.iter_mut().enumerate() {
            *due = now + self.pause * connection as u32 / count;
        }
        if let Some(aside) = &mut self.aside {
            aside.due = now + aside.every;
        }
    }
}

impl Load for Steady {
    fn turn(&mut self, connection: usize, now: Instant, request: &mut Vec<u8>) -> Turn {
        if let Some(requests) = self.requests.get(connection) {
            if self.due[connection] > now {
                return Turn::At(self.due[connection]);
            }
            request.extend_from_slice(&requests[self.sent[connection] % requests.len()]);
            self.sent[connection] += 1;
            return Turn::Send;
        }
        match &self.aside {
            None => Turn::Rest,
            Some(aside) if aside.due > now => Turn::At(aside.due),
            Some(aside) => {
                request.extend_from_slice(&aside.request);
                Turn::Send
            }
        }
    }

    fn reply(&mut self, connection: usize, reply: &Reply<'_>, now: Instant) -> Result<()> {
        expect_ok(reply)?;
        if let Some(due) = self.due.get_mut(connection) {
            self.tally.add(now - *due);
            *due += self.pause;
        } else if let Some(aside) = &mut self.aside {
            aside.due = now + aside.every;
        }
        Ok(())
    }
}

impl Counting for Steady {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
