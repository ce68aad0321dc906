//! A client that keeps to the rules of ours: its lease counts from before the last good request
//! was sent, by its own clock, and ends a little early; it beats after a third; it gives up and
//! withdraws; it restores what it holds after a restart, and takes nothing back that it has lost.
//!
//! Asks go one after the other, heartbeats beside them.

use std::{collections::VecDeque, time::Duration};

use super::{
    dice::{Chance, Dice, Who},
    life::{Belief, Life},
    program::{self, Misuse, Step, Take},
    wire::{Answer, Back, Reply, Request, Wanted},
};

/// A time of the client's own clock.
pub type Local = Duration;

/// How long a client waits for an answer, beside the time for which the request may be parked.
const PATIENCE: Duration = Duration::from_millis(600);

/// Requests are parked for no longer than this.
const PARK: Duration = Duration::from_millis(1_500);

/// Why what is held may be lost.
const RESTORED_WITHOUT: &str = "lost: granted just before a restart, and restored without it";

/// How often a lock is given back, or an ask withdrawn, before the lease is left to run out.
const TRIES: u32 = 4;

/// A request that is on its way.
#[derive(Clone, Debug)]
struct Call {
    number: u64,
    request: Request,
    sent_at: Local,
    until: Local,
    tries: u32,
}

/// What the client is doing, beside its heartbeats.
#[derive(Debug)]
enum Doing {
    /// The next step.
    Next,
    /// It holds, or waits before it tries again.
    Rest(Local),
    /// Asks, restores in order to ask again, withdraws, or gives back.
    Asks(Call),
    Restores(Call),
    GivesBack(Call),
    /// It is done for good.
    Retired,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    pub ix: u8,
    /// By how many millionths its clock runs faster than the server's.
    ppm: i64,
    /// Whether it asks in the old way: makes a peer first, and takes one lock after the other.
    is_classic: bool,
    length: Duration,
    plan: VecDeque<Step>,
    take: Option<(Take, Option<Local>)>,
    life: Option<Life>,
    lives: u64,
    numbers: u64,
    doing: Doing,
    beat: Option<Call>,
    beat_again_at: Local,
    /// Requests to be sent.
    pub outbox: Vec<(u64, Request)>,
    /// Peers that it has left behind without knowing what became of them.
    pub left_behind: Vec<u64>,
    /// What has happened, for the coverage.
    pub notes: Vec<&'static str>,
}

impl Client {
    /// With a lease of so many milliseconds. Its peers are numbered from `lives` on.
    pub fn new(ix: u8, ppm: i64, lease: u64, is_classic: bool, lives: u64) -> Self {
        Client {
            ix,
            ppm,
            is_classic,
            length: Duration::from_millis(lease),
            plan: VecDeque::new(),
            take: None,
            life: None,
            lives,
            numbers: 0,
            doing: Doing::Next,
            beat: None,
            beat_again_at: Duration::ZERO,
            outbox: Vec::new(),
            left_behind: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The same program, started again on the same machine.
    pub fn reborn(&self) -> Self {
        let length = self.length.as_millis() as u64;
        Client {
            numbers: self.numbers,
            ..Client::new(self.ix, self.ppm, length, self.is_classic, self.lives)
        }
    }

    /// What its own clock shows at a time of the world, in milliseconds.
    pub fn local(&self, now: u64) -> Local {
        Duration::from_nanos(now * (1_000_000 + self.ppm) as u64)
    }

    /// The first millisecond of the world at which its clock shows that, or more.
    pub fn world(&self, local: Local) -> u64 {
        (local.as_nanos() as u64).div_ceil((1_000_000 + self.ppm) as u64)
    }

    /// What it believes in, by its own clock; when it is paused it looks at no clock.
    pub fn beliefs(&self, now: u64, is_paused: bool) -> impl Iterator<Item = Belief> {
        let local = self.local(now);
        let life = self.life.as_ref();
        let life = life.filter(|life| is_paused || life.is_good(local));
        life.into_iter().flat_map(Life::beliefs)
    }

    /// Whether its lease goes on by its own clock.
    pub fn is_good(&self, now: u64) -> bool {
        self.life.as_ref().is_some_and(|life| life.is_good(self.local(now)))
    }

    /// The peer that it is, and all requests that are on their way.
    pub fn peer(&self) -> Option<u64> {
        self.life.as_ref().map(|life| life.peer)
    }

    pub fn on_their_way(&self) -> Vec<Request> {
        let main = match &self.doing {
            Doing::Asks(call) | Doing::Restores(call) | Doing::GivesBack(call) => Some(call),
            _ => None,
        };
        main.into_iter().chain(&self.beat).map(|call| call.request.clone()).collect()
    }

    pub fn is_retired(&self) -> bool {
        matches!(self.doing, Doing::Retired)
    }

    /// When it has to be called again, if nothing comes.
    pub fn wakes_at(&self) -> Option<Local> {
        let main = match &self.doing {
            Doing::Rest(until) => Some(*until),
            Doing::Asks(call) | Doing::Restores(call) | Doing::GivesBack(call) => Some(call.until),
            Doing::Next | Doing::Retired => None,
        };
        let lost = self.life.as_ref().and_then(Life::ends_at);
        let beat = self.beat.as_ref().map(|call| call.until).or_else(|| self.beat_at());
        main.into_iter().chain(lost).chain(beat).min()
    }

    fn beat_at(&self) -> Option<Local> {
        let life = self.life.as_ref().filter(|life| !life.held.is_empty())?;
        Some(life.lease.as_ref()?.beat_at(0.9).max(self.beat_again_at))
    }

    /// It is time for something, or something has come.
    pub fn look(&mut self, now: Local, dice: &mut Dice, is_peace: bool) {
        if self.life.as_ref().and_then(Life::ends_at).is_some_and(|end| end <= now) {
            self.lose("lost: its lease ended by its own clock");
        }
        if self.beat.as_ref().is_some_and(|call| call.until <= now) {
            self.beat_failed(now);
        }
        if self.beat.is_none() && self.beat_at().is_some_and(|at| at <= now) {
            self.send_beat(now, |life| Request::Heartbeat {
                id: life.peer,
                expires_in: life.length_ms(),
            });
        }
        let timed_out = match &self.doing {
            Doing::Asks(call) | Doing::Restores(call) | Doing::GivesBack(call) => call.until <= now,
            Doing::Rest(until) if *until <= now => {
                self.doing = Doing::Next;
                false
            }
            _ => false,
        };
        if timed_out {
            self.main_failed(now);
        }
        while matches!(self.doing, Doing::Next) {
            self.step(now, dice, is_peace);
        }
    }

    /// Something has come for a request of that number.
    pub fn receive(&mut self, number: u64, back: &Back, now: Local, chance: &mut Chance) {
        if self.life.as_ref().and_then(Life::ends_at).is_some_and(|end| end <= now) {
            self.lose("lost: its lease ended by its own clock");
        }
        if let Some(call) = self.beat.take_if(|call| call.number == number) {
            match back {
                Back::Failed => {
                    self.beat = Some(call);
                    self.beat_failed(now);
                }
                Back::Answer(answer) => self.beaten(&call, answer, now),
            }
            return;
        }
        let is_main = matches!(&self.doing, Doing::Asks(call) | Doing::Restores(call)
            | Doing::GivesBack(call) if call.number == number);
        if !is_main {
            return;
        }
        let Back::Answer(answer) = back else { return self.main_failed(now) };
        match std::mem::replace(&mut self.doing, Doing::Next) {
            Doing::Asks(call) => self.asked(&call, answer, now, chance),
            Doing::Restores(call) => self.restored(&call, answer, now),
            _ => {}
        }
    }

    // Heartbeats.

    fn send_beat(&mut self, now: Local, request: impl FnOnce(&Life) -> Request) {
        let Some(life) = &self.life else { return };
        let left = life.lease.as_ref().map_or(life.length, |lease| lease.left(now));
        let patience = (left / 3).max(Duration::from_millis(50)).min(life.length / 6);
        let request = request(life);
        self.beat = Some(self.call(request, now, patience));
    }

    fn beat_failed(&mut self, now: Local) {
        self.beat = None;
        self.beat_again_at = now + self.length / 12;
    }

    fn beaten(&mut self, call: &Call, answer: &Answer, now: Local) {
        let Some(life) = &mut self.life else { return };
        match (&call.request, answer.result.as_ref()) {
            (_, Ok(_)) => self.renewed(call, answer, now),
            (Request::Heartbeat { .. }, Err(&"unknown peer")) if life.held.is_empty() => {}
            (Request::Heartbeat { .. }, Err(&"unknown peer")) => {
                match life.is_of(answer.instance) {
                    true => self.lose("lost: the server has expired or released it"),
                    false => self.send_beat(now, |life| life.restore(true)),
                }
            }
            // The next beat tells.
            (Request::Restore { .. }, Err(&("restore conflict" | "too many peers"))) => {
                self.beat_again_at = now + self.length / 12;
            }
            (Request::Restore { tokens, .. }, Err(&"bad token")) if !tokens.is_empty() => {
                self.send_beat(now, |life| life.restore(false));
            }
            (Request::Restore { .. }, Err(_)) => self.lose("lost: it could not be restored"),
            (_, Err(_)) => self.beat_again_at = now + self.length / 12,
        }
    }

    // Asks.

    fn asked(&mut self, call: &Call, answer: &Answer, now: Local, chance: &mut Chance) {
        let Some((take, _)) = self.take.clone() else { return };
        let Some(life) = &mut self.life else { return };
        match &answer.result {
            Ok(Reply::Acquired { peer, token }) => {
                life.peer = *peer;
                if !life.renew(call.sent_at, now, answer) {
                    self.notes.push("a grant did not count");
                    self.doing = Doing::Rest(now + Duration::from_millis(100));
                    return;
                }
                if !is_ask_for_locks(&call.request) {
                    return;
                }
                life.grant(&take.wanted, *token, answer.instance);
                self.take = None;
                if !life.is_good(now) {
                    self.lose("a grant came after its lease");
                } else {
                    self.notes.push("believed");
                }
            }
            Ok(_) => {
                life.renew(call.sent_at, now, answer);
                // The server did not hold the answer back, for instance since it shuts down.
                if now.saturating_sub(call.sent_at) < call.request.park() / 2 {
                    self.doing = Doing::Rest(now + Duration::from_millis(100));
                }
            }
            Err("unknown peer") if life.held.is_empty() => {
                life.is_known = false;
                self.doing = Doing::Rest(now + Duration::from_millis(20));
            }
            Err("unknown peer") if life.is_of(answer.instance) => {
                self.lose("lost: the server has expired or released it");
            }
            Err("unknown peer") => {
                let request = life.restore(true);
                self.doing = Doing::Restores(self.call(request, now, PATIENCE));
            }
            Err("too many peers" | "too many waiters") => {
                self.doing = Doing::Rest(now + Duration::from_millis(chance.between(50, 300)));
            }
            Err("peer exists") if life.held.is_empty() => {
                self.notes.push("a part of the ask was gone");
                self.leave(true);
            }
            Err("withdrawn") => self.doing = Doing::Rest(now + Duration::from_millis(20)),
            Err(_) => self.give_up(),
        }
    }

    fn restored(&mut self, call: &Call, answer: &Answer, now: Local) {
        let Some(life) = &mut self.life else { return };
        match &answer.result {
            Ok(_) => self.renewed(call, answer, now),
            Err("bad token") => {
                let request = life.restore(false);
                self.doing = Doing::Restores(self.call(request, now, PATIENCE));
            }
            Err("restore conflict" | "too many peers") => {
                self.doing = Doing::Rest(now + Duration::from_millis(100));
            }
            Err(_) => self.lose("lost: it could not be restored"),
        }
    }

    /// A heartbeat or a restore was served.
    fn renewed(&mut self, call: &Call, answer: &Answer, now: Local) {
        let Some(life) = &mut self.life else { return };
        match &call.request {
            Request::Restore { acquired, .. } => {
                life.confirm(acquired, answer.instance);
                self.notes.push("restored");
                if !life.renew(call.sent_at, now, answer) {
                    self.lose(RESTORED_WITHOUT);
                }
            }
            _ if life.renew(call.sent_at, now, answer) => {}
            _ => {
                self.notes.push("a heartbeat did not count");
                self.send_beat(now, |life| life.restore(true));
            }
        }
    }

    /// No answer came to what the client is doing.
    fn main_failed(&mut self, now: Local) {
        let pause = Duration::from_millis(40);
        match std::mem::replace(&mut self.doing, Doing::Next) {
            Doing::GivesBack(call) if call.tries < TRIES => {
                let again = self.call(call.request, now, PATIENCE);
                self.doing = Doing::GivesBack(Call { tries: call.tries + 1, ..again });
            }
            Doing::GivesBack(call) => {
                self.notes.push("gave up giving back");
                if let Request::RemovePeer { id } = call.request {
                    self.left_behind.push(id);
                }
            }
            Doing::Asks(_) | Doing::Restores(_) => self.doing = Doing::Rest(now + pause),
            other => self.doing = other,
        }
    }

    /// What it holds is lost, and whatever it was about to do with it is over.
    fn lose(&mut self, why: &'static str) {
        self.notes.push(why);
        self.leave(false);
    }

    /// The ask ended in vain: what it may have left at the server is withdrawn.
    fn give_up(&mut self) {
        let Some((take, _)) = self.take.take() else { return };
        self.plan.clear();
        match &mut self.life {
            Some(life) if !life.held.is_empty() => {
                // The books first: it may hold one of them already.
                life.held.retain(|ix, _| take.wanted.iter().all(|(gone, _)| gone != ix));
                self.plan.extend(take.wanted.iter().map(|(ix, _)| Step::Withdraw(*ix)));
                self.plan.push_back(Step::GiveAllBack);
            }
            _ => self.plan.push_back(Step::GiveAllBack),
        }
    }

    /// Ends this life, and tells the server so once.
    fn leave(&mut self, keeps_asking: bool) {
        let Some(life) = self.life.take() else { return };
        self.send(Request::RemovePeer { id: life.peer });
        self.left_behind.push(life.peer);
        self.beat = None;
        if !keeps_asking {
            self.plan.clear();
            self.take = None;
        }
        self.doing = Doing::Next;
    }

    // The program.

    fn step(&mut self, now: Local, dice: &mut Dice, is_peace: bool) {
        if self.take.is_some() {
            return self.ask(now);
        }
        match self.plan.pop_front() {
            Some(Step::Take(take)) if self.has_had_any(&take.wanted) => {}
            Some(Step::Take(take)) => {
                let until = take.patience.map(|patience| now + Duration::from_millis(patience));
                self.take = Some((take, until));
            }
            Some(Step::Rest(time)) => self.doing = Doing::Rest(now + Duration::from_millis(time)),
            Some(Step::Shrink(semaphore)) => self.shrink(semaphore),
            Some(Step::GiveBack(semaphore)) => self.give_back(semaphore, now),
            Some(Step::Withdraw(semaphore)) => {
                if let Some(life) = &self.life {
                    let request = Request::Release { id: life.peer, semaphore };
                    self.doing = Doing::GivesBack(self.call(request, now, PATIENCE));
                }
            }
            Some(Step::GiveAllBack) => {
                if let Some(life) = self.life.take() {
                    self.beat = None;
                    let request = Request::RemovePeer { id: life.peer };
                    self.doing = Doing::GivesBack(self.call(request, now, PATIENCE));
                }
            }
            Some(Step::Misuse(misuse)) => {
                let life = self.life.as_ref();
                let held = life.map(|life| life.held.iter().map(|(ix, (count, _))| (*ix, *count)));
                let held: Wanted = held.into_iter().flatten().collect();
                if let Some(request) = misuse.request(life.map(|life| life.peer), &held) {
                    self.send(request);
                }
            }
            None if is_peace => self.doing = Doing::Retired,
            None => match dice.decide(Who::Program(self.ix)) {
                Some(chance) => self.plan.extend(program::plan(chance, self.is_classic)),
                None if dice.has_more(Who::Program(self.ix)) => self.plan.push_back(Step::Rest(50)),
                None => self.doing = Doing::Retired,
            },
        }
    }

    fn has_had_any(&self, wanted: &Wanted) -> bool {
        let had = self.life.as_ref().map(|life| &life.had);
        had.is_some_and(|had| wanted.iter().any(|(ix, _)| had.contains(ix)))
    }

    /// Asks, for the first time or again.
    fn ask(&mut self, now: Local) {
        let Some((take, until)) = self.take.clone() else { return };
        if until.is_some_and(|until| until <= now) {
            self.notes.push("gave up waiting");
            return self.give_up();
        }
        let (ix, lives) = (self.ix, &mut self.lives);
        let life = self.life.get_or_insert_with(|| {
            *lives += 1;
            Life::new(u64::from(ix) << 32 | 1 << 40 | *lives, self.length)
        });
        life.had.extend(take.wanted.iter().map(|(ix, _)| *ix));
        let left = until.map_or(PARK, |until| until - now);
        let park = if take.is_try { Duration::ZERO } else { PARK.min(life.length / 3).min(left) };
        let (id, wanted) = (life.peer, take.wanted.clone());
        let (may_queue, block_for) = (!take.is_try, park.as_millis() as u64);
        let expires_in = life.length_ms();
        let request = match (life.is_known, self.is_classic) {
            (false, true) => Request::NewPeer {
                id: None,
                wanted: Wanted::new(),
                may_queue: true,
                expires_in,
                block_for: 0,
            },
            (false, false) => {
                Request::NewPeer { id: Some(id), wanted, may_queue, expires_in, block_for }
            }
            (true, _) => Request::Acquire {
                id,
                is_whole: wanted.len() > 1 || !self.is_classic,
                wanted,
                may_queue,
                expires_in: Some(expires_in),
                block_for,
            },
        };
        self.doing = Doing::Asks(self.call(request, now, park + PATIENCE));
        let misuse = take.misuses.filter(|ix| take.wanted.iter().all(|(other, _)| other != ix));
        if let Some(ix) = misuse
            && !self.has_had_any(&vec![(ix, 1)])
        {
            self.outbox.extend(
                Misuse::WhilePending(ix).request(Some(id), &Wanted::new()).map(|it| (0, it)),
            );
        }
    }

    fn give_back(&mut self, semaphore: usize, now: Local) {
        let Some(life) = &mut self.life else { return };
        // The books first: nobody believes in what is being given back.
        if life.held.remove(&semaphore).is_none() {
            return;
        }
        let id = life.peer;
        let request = match life.held.is_empty() {
            true => Request::RemovePeer { id },
            false => Request::Release { id, semaphore },
        };
        if life.held.is_empty() {
            self.life = None;
            self.beat = None;
        }
        self.doing = Doing::GivesBack(self.call(request, now, PATIENCE));
    }

    /// Gives back all but one permit, and does not wait for the answer.
    fn shrink(&mut self, semaphore: usize) {
        let Some(life) = &mut self.life else { return };
        let Some((count, _)) = life.held.get_mut(&semaphore).filter(|(count, _)| *count > 1) else {
            return;
        };
        *count = 1;
        let request = Request::Acquire {
            id: life.peer,
            wanted: vec![(semaphore, 1)],
            is_whole: false,
            may_queue: true,
            expires_in: None,
            block_for: 0,
        };
        self.notes.push("shrank");
        self.send(request);
    }

    /// Sends a request whose answer does not matter.
    fn send(&mut self, request: Request) {
        self.numbers += 1;
        self.outbox.push((self.numbers, request));
    }

    fn call(&mut self, request: Request, now: Local, patience: Duration) -> Call {
        self.send(request.clone());
        Call { number: self.numbers, request, sent_at: now, until: now + patience, tries: 1 }
    }
}

fn is_ask_for_locks(request: &Request) -> bool {
    match request {
        Request::NewPeer { wanted, .. } | Request::Acquire { wanted, .. } => !wanted.is_empty(),
        _ => false,
    }
}
