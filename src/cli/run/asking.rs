//! Waiting for the locks: ask, wait, ask again, and withdraw the ask if it comes to nothing.

use std::time::Duration;

use super::{
    backoff::Backoff,
    giving_back::{give_back, is_unknown},
    inbox::{Errand, Event},
    lease::Lease,
    peer::Peer,
    progress::Progress,
};
use crate::{
    client::{Answer, REPLY, Trouble},
    clock,
    process::Signal,
};

/// How long the server holds an answer back at most: well below what proxies grant an idle
/// connection.
const PARK: Duration = Duration::from_secs(30);

/// The first answer comes sooner, to know that the server is there (again).
const FIRST_PARK: Duration = Duration::from_millis(500);

/// How long somebody waits for a server that has never answered, unless it is to be shorter.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// How long after its time an answer may come.
const GRACE: Duration = Duration::from_secs(2);

/// The pause before an ask is repeated that was answered too early, for instance since the server
/// shuts down.
const HASTE: Duration = Duration::from_millis(100);

/// So often a grant may come so late that its lease is nearly over.
const MOST_LATE_GRANTS: u32 = 3;

/// What was sent so short ago may reach the server after its own withdrawal.
const JUST_NOW: Duration = Duration::from_secs(1);

/// How often to look for our place in the queue.
const LOOK: Duration = Duration::from_secs(2);

/// How the wait ended.
#[derive(Debug)]
pub enum Outcome {
    /// With the locks.
    Granted(Lease, Option<u64>),
    /// The time is over.
    TooLate,
    /// By a signal.
    Interrupted(Signal),
}

/// Somebody who waits for locks.
#[derive(Debug)]
pub struct Asking<'a> {
    peer: &'a mut Peer,
    progress: &'a mut Progress,
    /// `None` to wait for ever; zero not to wait at all.
    timeout: Option<Duration>,
    until: Duration,
    /// When it was sent, until it is answered.
    sent_at: Option<Duration>,
    ask_at: Duration,
    look_at: Duration,
    /// Whether the server may have the ask in its books.
    is_in_doubt: bool,
    is_reached: bool,
    failures: u32,
    late_grants: u32,
    failing_since: Option<Duration>,
    backoff: Backoff,
}

impl<'a> Asking<'a> {
    /// Prepares to wait from now on.
    pub fn new(
        peer: &'a mut Peer,
        progress: &'a mut Progress,
        timeout: Option<Duration>,
        now: Duration,
    ) -> Self {
        Asking {
            peer,
            progress,
            timeout,
            until: timeout.map_or(Duration::MAX, |timeout| now.saturating_add(timeout)),
            sent_at: None,
            ask_at: now,
            look_at: now + LOOK / 2,
            is_in_doubt: false,
            is_reached: false,
            failures: 0,
            late_grants: 0,
            failing_since: None,
            backoff: Backoff::default(),
        }
    }

    /// Waits until the locks are granted, or never will be; then nothing of the ask is left behind.
    ///
    /// # Errors
    /// Where the server refuses, or was never reached.
    pub fn until_granted(&mut self) -> Result<Outcome, Trouble> {
        let outcome = self.wait();
        self.progress.clear();
        if !matches!(outcome, Ok(Outcome::Granted(..))) {
            self.withdraw();
        }
        outcome
    }

    fn wait(&mut self) -> Result<Outcome, Trouble> {
        loop {
            let now = clock::since_boot();
            if self.sent_at.is_none() && now >= self.ask_at {
                self.ask(now);
            }
            let next = self.show(now).min(self.ask_at.max(now));
            let ended = match self.peer.inbox.next(next) {
                Some(Event::Answered(Errand::Ask, answer)) => {
                    self.sent_at = None;
                    match answer {
                        Ok(answer) => self.on_answer(&answer)?,
                        Err(trouble) => self.on_trouble(trouble)?,
                    }
                }
                Some(Event::Signal(signal)) if signal.stops() => {
                    self.progress.clear();
                    signal.stop_ourselves();
                    None
                }
                Some(Event::Signal(signal)) if signal.ends_by_default() => {
                    Some(Outcome::Interrupted(signal))
                }
                Some(Event::Place(place)) => {
                    self.progress.place = place;
                    self.look_at = clock::since_boot() + LOOK;
                    None
                }
                _ => None,
            };
            if let Some(outcome) = ended {
                return Ok(outcome);
            }
        }
    }

    fn ask(&mut self, now: Duration) {
        let left = self.until.saturating_sub(now);
        let is_there = self.is_reached && self.failures == 0;
        let longest = if is_there { PARK } else { FIRST_PARK };
        let park = longest.min(self.peer.length / 3).min(left);
        let park = (self.timeout != Some(Duration::ZERO)).then_some(park);
        let patience = (park.unwrap_or_default() + REPLY).min(left.saturating_add(GRACE));
        self.sent_at = Some(now);
        // It counts as sent until its answer is here.
        self.ask_at = Duration::MAX;
        self.peer.ask(park, patience);
    }

    /// Shows people how it stands. Returns when to look again.
    fn show(&mut self, now: Duration) -> Duration {
        if self.progress.is_shown() && self.is_reached && now >= self.look_at {
            // Not before there is an answer.
            self.look_at = Duration::MAX;
            let Peer { inbox, client, id, locks, .. } = &*self.peer;
            inbox.look_for_place(client, *id, locks.names());
        }
        self.progress.draw(now)
    }

    fn on_answer(&mut self, answer: &Answer) -> Result<Option<Outcome>, Trouble> {
        let is_ours = answer.body == self.peer.id.to_string() && answer.instance.is_some();
        let is_complete = answer.status == 202 || answer.token.is_some();
        if !is_ours || !is_complete {
            let stranger = Trouble::stranger(self.peer.client.url(), &answer.body);
            return self.on_trouble(stranger);
        }
        self.is_reached = true;
        self.is_in_doubt = true;
        self.failures = 0;
        self.failing_since = None;
        self.progress.trouble = None;
        let now = clock::since_boot();
        if answer.status == 202 {
            let is_early = now.saturating_sub(answer.sent_at) < HASTE;
            self.backoff = Backoff::default();
            return Ok(self.ask_again(now, if is_early { HASTE } else { Duration::ZERO }));
        }
        let lease = Lease::begun(self.peer.length, answer);
        if lease.left(now) >= self.peer.length / 4 {
            return Ok(Some(Outcome::Granted(lease, answer.token)));
        }
        // The answer was on its way for too long, or we were stopped. To ask again renews the lease
        // of what we have, or takes it anew.
        self.late_grants += 1;
        if self.late_grants > MOST_LATE_GRANTS {
            let (url, length) = (self.peer.client.url(), self.peer.length);
            let length = humantime::format_duration(length);
            return Err(Trouble::Hopeless(format!(
                "the answers of {url} take too long for a lease of {length}: choose a longer one \
                 with --expires-in"
            )));
        }
        let pause = self.backoff.next(None);
        Ok(self.ask_again(now, pause))
    }

    /// Asks again after a pause, unless the time is over.
    fn ask_again(&mut self, now: Duration, pause: Duration) -> Option<Outcome> {
        self.ask_at = now + pause;
        (now >= self.until).then_some(Outcome::TooLate)
    }

    fn on_trouble(&mut self, trouble: Trouble) -> Result<Option<Outcome>, Trouble> {
        let now = clock::since_boot();
        let (is_sent, is_answered, retry_after) = match trouble {
            Trouble::Unreachable { is_sent, is_answered, retry_after, .. } => {
                (is_sent, is_answered, retry_after)
            }
            // A gateway, while the server behind it is restarted.
            _ if trouble.is_of_stranger() && self.is_reached => (true, false, None),
            _ => return self.on_refusal(trouble, now),
        };
        self.is_in_doubt |= is_sent;
        self.is_reached |= is_answered;
        self.failures += 1;
        let is_try = self.timeout == Some(Duration::ZERO);
        let patience = if is_try { GRACE / 2 } else { FIRST_ANSWER };
        let failing_since = *self.failing_since.get_or_insert(now);
        let is_hopeless = !self.is_reached && now.saturating_sub(failing_since) >= patience;
        // A try is repeated once, for its connection may have been broken by chance.
        if is_hopeless || (is_try && self.failures > 1) {
            return Err(trouble);
        }
        if !is_try && now >= self.until {
            return if self.is_reached { Ok(Some(Outcome::TooLate)) } else { Err(trouble) };
        }
        if self.failures == 2 {
            self.progress.warn(&format!("{trouble}; still trying"));
        }
        self.progress.trouble = Some(match is_answered {
            true => trouble.to_string(),
            false => "the server does not answer".to_owned(),
        });
        let pause = self.backoff.next(retry_after);
        self.ask_at = (now + pause).min(self.until.max(now));
        Ok(None)
    }

    fn on_refusal(&mut self, trouble: Trouble, now: Duration) -> Result<Option<Outcome>, Trouble> {
        // A refusal leaves nothing behind; but an earlier ask may have.
        if trouble.is("would_wait") {
            return Ok(Some(Outcome::TooLate));
        }
        if trouble.is("unknown_peer") || trouble.is("peer_exists") {
            // Somebody has released us while we waited, all of us or a part; we come last now.
            if trouble.is("peer_exists") {
                self.withdraw();
                self.peer.begin_anew();
            }
            let pause = self.backoff.next(None);
            return Ok(self.ask_again(now, pause));
        }
        Err(trouble)
    }

    /// Leaves nothing of the ask behind.
    fn withdraw(&mut self) {
        if !self.is_in_doubt && self.sent_at.is_none() {
            return;
        }
        let sent_at = self.sent_at.take();
        let answer = give_back(self.peer, GRACE);
        let on_its_way = sent_at.map(|sent_at| sent_at + JUST_NOW);
        if answer.as_ref().is_ok_and(is_unknown)
            && let Some(left) = on_its_way.and_then(|at| at.checked_sub(clock::since_boot()))
        {
            // It may have been overtaken by its withdrawal.
            self.peer.inbox.pause(left);
            drop(give_back(self.peer, GRACE));
        }
        self.is_in_doubt = false;
    }
}
