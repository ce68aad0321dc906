//! Holding the locks while the command runs: heartbeats, signals, and the end of the command before
//! the lease ends.
//!
//! Our own clock decides whether the lease is over. Nothing is ever taken back after that.

use std::time::Duration;

use super::{
    backoff::Backoff,
    inbox::{Errand, Event},
    lease::Lease,
    peer::Peer,
    progress::Progress,
};
use crate::{
    client::{Answer, REPLY, Trouble},
    clock,
    ids::random_share,
    process::{Group, Happening, Signal, Status},
};

/// How often to look whether the rest of a group has ended.
const LOOK: Duration = Duration::from_millis(20);

/// So long what was killed may take to go.
const LAST: Duration = Duration::from_secs(1);

/// How the command ended.
#[derive(Debug)]
pub struct Ended {
    /// By which exit code or signal.
    pub status: Status,
    /// Why the lease was lost before, if it was: the command was ended for it.
    pub loss: Option<String>,
    /// The lease as it was last known.
    pub lease: Lease,
    /// Whether the server may be about to bring the peer back.
    pub is_restoring: bool,
}

/// A command, and the lease that it runs under.
#[derive(Debug)]
pub struct Holding<'a> {
    peer: &'a Peer,
    progress: &'a mut Progress,
    group: Group,
    lease: Lease,
    token: Option<u64>,
    kill_after: Duration,
    /// Which request is on its way, if one is.
    on_its_way: Option<Errand>,
    beat_at: Duration,
    backoff: Backoff,
    /// Why the last heartbeat failed, if it did.
    trouble: Option<String>,
    is_warned: bool,
    /// Whether people know that something of the command is still there.
    is_rest_told: bool,
    loss: Option<String>,
    /// When the command was asked to end: by us for the loss, or by a signal.
    told_at: Option<Duration>,
    killed_at: Option<Duration>,
    /// When it was last told to stop, as by Ctrl+Z, unless it has.
    told_to_stop: Option<(Signal, Duration)>,
    /// Whether this process was stopped.
    was_stopped: bool,
    /// How its first process ended, and when.
    ended: Option<(Status, Duration)>,
}

impl<'a> Holding<'a> {
    /// Of a command that was just started. `kill_after` is the time between a request to end and
    /// the end by force.
    pub fn new(
        peer: &'a Peer,
        progress: &'a mut Progress,
        group: Group,
        (lease, token): (Lease, Option<u64>),
        kill_after: Duration,
    ) -> Self {
        let beat_at = lease.beat_at(random_share(0.8, 1.0));
        let mut holding = Holding {
            peer,
            progress,
            group,
            kill_after,
            lease,
            token,
            on_its_way: None,
            beat_at,
            backoff: Backoff::default(),
            trouble: None,
            is_warned: false,
            is_rest_told: false,
            loss: None,
            told_at: None,
            killed_at: None,
            told_to_stop: None,
            was_stopped: false,
            ended: None,
        };
        holding.inform_guard();
        holding
    }

    /// Runs it to its end.
    pub fn until_ended(mut self) -> Ended {
        loop {
            let now = clock::since_boot();
            self.look(now);
            if let Some(status) = self.is_over(now) {
                let is_restoring = self.on_its_way == Some(Errand::Restore);
                return Ended { status, loss: self.loss, lease: self.lease, is_restoring };
            }
            self.beat(now);
            match self.peer.inbox.next(self.next_look(now)) {
                Some(Event::Answered(Errand::Beat, answer)) => self.on_beat(answer),
                Some(Event::Answered(Errand::Restore, answer)) => self.on_restore(answer),
                Some(Event::Signal(signal)) => self.on_signal(signal),
                Some(Event::Command(Happening::Stopped(signal))) => self.on_stop(signal),
                Some(Event::Command(Happening::Ended(status))) => self.on_end(status),
                _ => {}
            }
        }
    }

    /// Warns, asks the command to end, and ends it, each at its time.
    fn look(&mut self, now: Duration) {
        if self.loss.is_none() && now >= self.give_up_at() {
            let reason = match &self.trouble {
                Some(why) => format!("its lease is about to end: {why}"),
                None if self.was_stopped => {
                    "its lease ended while `throttle run` was stopped".to_owned()
                }
                None => "its lease is about to end: no heartbeat was sent in time".to_owned(),
            };
            self.lose(reason, now);
        }
        self.warn(now);
        if self.killed_at.is_some() || self.kill_at().is_some_and(|kill_at| now >= kill_at) {
            self.killed_at.get_or_insert(now);
            // Again and again, as it may start others meanwhile.
            self.group.kill();
        }
    }

    /// Tells people what is about to happen, once.
    fn warn(&mut self, now: Duration) {
        let give_up_at = self.give_up_at();
        let is_lost = self.loss.is_some() || self.ended.is_some();
        if !is_lost && !self.is_warned && now + self.lease.length / 6 >= give_up_at {
            self.is_warned = true;
            let why = self.trouble.as_deref().unwrap_or("no heartbeat got through");
            let left = whole_seconds(give_up_at.saturating_sub(now));
            let locks = &self.peer.locks;
            let warning = format!("about to lose {locks}, and to end the command in {left}: {why}");
            self.progress.warn(&warning);
        }
        if let (Some((_, ended_at)), Some(kill_at)) = (self.ended, self.kill_at())
            && !self.is_rest_told
            && now >= ended_at + LAST
        {
            self.is_rest_told = true;
            let left = whole_seconds(kill_at.saturating_sub(now));
            self.progress.tell(&format!(
                "the command has ended, but not all that it started; the rest is killed in {left}"
            ));
        }
    }

    /// When the command is asked to end for want of a heartbeat.
    fn give_up_at(&self) -> Duration {
        self.latest().saturating_sub(self.kill_after)
    }

    /// When nothing of the command may be left, unless the lease is renewed.
    fn latest(&self) -> Duration {
        self.lease.ends_at().saturating_sub(self.lease.length / 50)
    }

    /// When it is ended by force: some time after it was asked to end, where the lease is lost.
    /// Where a signal asked, it may take its time, but what it leaves behind may not.
    fn kill_at(&self) -> Option<Duration> {
        let hurries_since = match (&self.loss, self.ended) {
            (Some(_), _) => self.told_at,
            (None, Some((_, ended_at))) => Some(ended_at),
            (None, None) => None,
        };
        hurries_since.map(|since| (since + self.kill_after).min(self.latest()))
    }

    /// How it ended, once nothing is left that has to be waited for. Where the command was told to
    /// end, that is all of it: what is slow to go must not run beside whoever holds the locks next.
    fn is_over(&self, now: Duration) -> Option<Status> {
        let (status, _) = self.ended?;
        let is_killed = self.killed_at.is_some_and(|at| now >= at + LAST);
        (self.told_at.is_none() || is_killed || self.group.is_gone()).then_some(status)
    }

    fn next_look(&self, now: Duration) -> Duration {
        if self.ended.is_some() || self.killed_at.is_some() {
            return now + LOOK;
        }
        let next = self.kill_at().unwrap_or_else(|| self.give_up_at());
        if self.on_its_way.is_some() { next } else { next.min(self.beat_at) }
    }

    /// Sends a heartbeat if one is due, with a deadline well before the end of the lease.
    fn beat(&mut self, now: Duration) {
        if self.on_its_way.is_none() && now >= self.beat_at && !self.is_lost_for_good(now) {
            self.on_its_way = Some(Errand::Beat);
            self.peer.beat(self.patience(now));
        }
    }

    /// Whether nothing can be renewed any more.
    fn is_lost_for_good(&self, now: Duration) -> bool {
        self.lease.left(now).is_zero() || self.beat_at == Duration::MAX
    }

    fn patience(&self, now: Duration) -> Duration {
        let left = (self.lease.left(now) / 3).max(Duration::from_millis(50));
        REPLY.min(left).min(self.lease.length / 6)
    }

    fn on_beat(&mut self, answer: Result<Answer, Trouble>) {
        self.on_its_way = None;
        let now = clock::since_boot();
        match answer {
            // Another start of the server knows the peer from a request that was late, or has
            // restored it and could not say so.
            Ok(answer) if is_ok(&answer) && answer.instance != self.lease.instance => {
                self.restore(now);
            }
            Ok(answer) if is_ok(&answer) => self.renew(&answer),
            Ok(answer) => {
                let url = self.peer.client.url();
                self.fail(&Trouble::stranger(url, &answer.body), None, now);
            }
            Err(Trouble::Refused { code, instance, .. }) if code == "unknown_peer" => {
                if instance.is_some() && instance == self.lease.instance {
                    self.beat_at = Duration::MAX;
                    self.lose("the server has expired it, or somebody released it".to_owned(), now);
                } else {
                    self.restore(now);
                }
            }
            Err(trouble) => {
                let retry_after = trouble.retry_after();
                self.fail(&trouble, retry_after, now);
            }
        }
    }

    fn restore(&mut self, now: Duration) {
        if !self.is_lost_for_good(now) {
            self.on_its_way = Some(Errand::Restore);
            self.peer.restore(self.token, self.patience(now));
        }
    }

    fn on_restore(&mut self, answer: Result<Answer, Trouble>) {
        self.on_its_way = None;
        let now = clock::since_boot();
        match answer {
            Ok(answer) if is_ok(&answer) => {
                self.renew(&answer);
                let (locks, url) = (&self.peer.locks, self.peer.client.url());
                self.progress.tell(&format!("restored {locks} after a restart of {url}"));
            }
            Ok(answer) => {
                let url = self.peer.client.url();
                self.fail(&Trouble::stranger(url, &answer.body), None, now);
            }
            // The clock of the server was set back: what is held matters more than its token.
            Err(trouble) if trouble.is("bad_token") && self.token.is_some() => {
                self.token = None;
                self.beat_at = now;
            }
            // It exists already; the next heartbeat tells more.
            Err(trouble) if trouble.is("restore_conflict") => self.fail(&trouble, None, now),
            Err(trouble @ Trouble::Refused { .. }) if !trouble.is_of_stranger() => {
                self.beat_at = Duration::MAX;
                let reason = format!("it cannot be restored after a restart: {trouble}");
                self.lose(reason, now);
            }
            Err(trouble) => {
                let retry_after = trouble.retry_after();
                self.fail(&trouble, retry_after, now);
            }
        }
    }

    /// The guard acts a little later than we do, so that it acts only where we do not.
    fn inform_guard(&mut self) {
        let latest = self.latest() + self.lease.length / 100;
        self.group.keep_until(latest);
    }

    fn renew(&mut self, answer: &Answer) {
        self.lease.renew(answer);
        self.inform_guard();
        self.beat_at = self.lease.beat_at(random_share(0.8, 1.0));
        self.backoff = Backoff::default();
        self.trouble = None;
        self.was_stopped = false;
        self.is_warned = false;
    }

    fn fail(&mut self, trouble: &Trouble, retry_after: Option<Duration>, now: Duration) {
        self.trouble = Some(trouble.to_string());
        self.beat_at = now + self.backoff.next(retry_after).min(self.lease.length / 12);
    }

    /// Notes that the lease is lost, and asks the command to end. The first reason stands.
    fn lose(&mut self, reason: String, now: Duration) {
        if self.loss.is_some() || self.ended.is_some() {
            return;
        }
        self.told_at = Some(now);
        // If it was stopped for long, there is no time left to ask.
        if !self.lease.left(now).is_zero() {
            self.group.terminate();
        }
        let locks = &self.peer.locks;
        self.progress.warn(&format!("lost {locks}, ending the command: {reason}"));
        self.loss = Some(reason);
    }

    fn on_signal(&mut self, signal: Signal) {
        if signal.asks_for_the_end() {
            self.told_at = self.told_at.or(Some(clock::since_boot()));
        }
        if signal.stops() {
            self.told_to_stop = Some((signal, clock::since_boot()));
        }
        // After the end of the lease, it must not be resumed.
        if !signal.resumes() || self.killed_at.is_none() {
            self.group.tell(signal);
        }
    }

    fn on_end(&mut self, status: Status) {
        let now = clock::since_boot();
        // Where we were stopped, the guard may have ended it.
        self.look(now);
        self.ended = Some((status, now));
        if self.told_at.is_some() {
            // Shells have what they start in the background ignore Ctrl+C.
            self.group.terminate();
        }
    }

    fn on_stop(&mut self, signal: Signal) {
        // If it stopped as it wanted the terminal, just when it was told to stop: to resume it
        // would make it forget that.
        let now = clock::since_boot();
        let told = self.told_to_stop.take().filter(|(_, told_at)| now < *told_at + LAST);
        let signal = told.map_or(signal, |(signal, _)| signal);
        if self.group.follow_stop(signal) {
            // Much time may be over by now.
            self.was_stopped = true;
            self.look(clock::since_boot());
            if self.killed_at.is_none() {
                self.group.resume();
            }
        }
    }
}

/// Whether a server of ours says so, and not some page of health in front of it.
fn is_ok(answer: &Answer) -> bool {
    answer.body == "Ok" && answer.instance.is_some()
}

fn whole_seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}
