//! The peers as a load: each connection but the first ones speaks for some of them, one request
//! after the other.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    answers,
    books::{Books, Lock, Peer, Stage},
    chance::Chance,
    http::Sent,
    moves::{BEAT_AFTER, Chooser, Move, Pace, Terms},
    operator::Operator,
    requests,
    withdrawals::Withdrawals,
    world::{Class, World},
};
use crate::engine::{Load, Reply, Turn};

/// The connections that speak for no peers: the operator's, and the one that withdraws.
pub const APART: usize = 2;

/// Times are met on this grid: the engine spins before each, and so it does that less often.
const TICK: Duration = Duration::from_millis(20);

/// One connection.
#[derive(Debug)]
struct Lane {
    /// When it sends its next request.
    due: Instant,
    /// What it waits for.
    doing: Option<Doing>,
}

/// A request in flight.
#[derive(Clone, Debug)]
pub struct Doing {
    /// Whose.
    pub place: usize,
    /// What.
    pub step: Move,
    /// When it was sent.
    pub sent_at: Instant,
    /// As messages name it.
    pub line: String,
}

/// All peers, and who else sends requests.
#[derive(Debug)]
pub struct Crowd {
    /// What is known of the peers.
    pub books: Books,
    /// What is drawn.
    pub chance: Chance,
    /// Where the server listens.
    pub address: SocketAddr,
    /// The peer that holds what nobody else asks for.
    pub keeper: u64,
    /// What an operator does meanwhile.
    pub operator: Operator,
    /// What is withdrawn by others than those who wait for it.
    pub withdrawals: Withdrawals,
    /// Nothing more is begun.
    pub is_quiet: bool,
    /// How long things take.
    pub pace: Pace,
    lanes: Vec<Lane>,
    started_at: Instant,
    /// From one request of a connection to its next.
    pause: Duration,
}

impl Crowd {
    /// So many places for peers, spread over `lanes` connections, `a_second` requests.
    pub fn new(
        address: SocketAddr,
        [places, lanes, a_second]: [usize; 3],
        pace: Pace,
        operator: Operator,
        chance: Chance,
    ) -> Self {
        let now = Instant::now();
        let pause = Duration::from_secs(1) * lanes as u32 / a_second.max(1) as u32;
        let due = |lane: usize| now + pause * lane as u32 / lanes as u32;
        Crowd {
            books: Books::new(World::new(), places),
            chance,
            address,
            keeper: 0,
            operator,
            withdrawals: Withdrawals::default(),
            is_quiet: false,
            pace,
            lanes: (0..lanes).map(|lane| Lane { due: due(lane), doing: None }).collect(),
            started_at: now,
            pause,
        }
    }

    /// Two mutexes of which the peer at this place has no lock.
    pub fn two_mutexes(&mut self, place: usize) -> [Lock; 2] {
        let Peer { held, pending, .. } = &self.books.peers[place];
        let has = |semaphore: &usize| {
            let mut own = held.iter().map(|held| held.lock).chain(pending.iter().copied());
            own.any(|lock| lock.semaphore == *semaphore)
        };
        let all = self.books.world.of_class(Class::Mutex).filter(|ix| !has(ix));
        let all: Vec<usize> = all.collect();
        let first = self.chance.below(all.len());
        [first, (first + 1) % all.len()].map(|at| Lock { semaphore: all[at], count: 1 })
    }

    /// The next point of the grid after this one.
    fn on_grid(&self, due: Instant) -> Instant {
        let since = due.saturating_duration_since(self.started_at).as_millis();
        let ticks = since / TICK.as_millis() + 1;
        self.started_at + TICK * ticks as u32
    }

    /// The next step of one of the peers of a lane.
    fn choose(&mut self, lane: usize, now: Instant) -> Option<(usize, Move)> {
        let lanes = self.lanes.len();
        let places: Vec<usize> = (lane..self.books.peers.len()).step_by(lanes).collect();
        let is_due = |place: &&usize| {
            let peer = &self.books.peers[**place];
            peer.stage == Stage::Present
                && !peer.is_withdrawn_by_other
                && now.saturating_duration_since(peer.beaten_at) > BEAT_AFTER
        };
        // Those who are not there come first, so that there are soon as many as there shall be.
        let first = places.iter().find(is_due).copied();
        let absent = |place: &&usize| self.books.peers[**place].stage == Stage::Absent;
        let first = first.or_else(|| places.iter().find(absent).copied());
        let drawn: Vec<usize> = (0..4).map(|_| places[self.chance.below(places.len())]).collect();
        let (books, chance, pace) = (&self.books, &mut self.chance, self.pace);
        let mut chooser = Chooser { books, chance, pace };
        let mut steps = first.into_iter().chain(drawn);
        steps.find_map(|place| Some((place, chooser.next(place, now)?)))
    }

    fn turn_of_lane(&mut self, lane: usize, now: Instant, request: &mut Vec<u8>) -> Turn {
        if self.lanes[lane].due > now {
            return Turn::At(self.lanes[lane].due);
        }
        let Some((place, step)) = self.choose(lane, now) else {
            self.lanes[lane].due = self.on_grid(now + TICK);
            return Turn::At(self.lanes[lane].due);
        };
        let sent = self.begin(place, &step, now);
        request.extend_from_slice(&sent.bytes(self.address));
        self.lanes[lane].doing = Some(Doing { place, step, sent_at: now, line: sent.line() });
        Turn::Send
    }

    /// Writes a request, and notes what may be the case from the moment on at which it is sent.
    fn begin(&mut self, place: usize, step: &Move, now: Instant) -> Sent {
        match step {
            Move::Release { semaphore } => self.books.let_go(place, *semaphore, 0),
            Move::Shrink { semaphore, count, is_pending: false } => {
                self.books.let_go(place, *semaphore, *count);
            }
            Move::Remove { .. } | Move::Vanish { .. } => self.books.let_go_all(place),
            Move::AskAgain { block_for: Some(block_for) } => {
                let peer = &self.books.peers[place];
                if peer.pending.len() == 1 && self.chance.once_in(3) {
                    let path = &self.books.world.semaphores[peer.pending[0].semaphore].path;
                    let is_removal = self.chance.once_in(4);
                    let due = now + *block_for / 2;
                    self.withdrawals.plan(place, peer.id, path, is_removal, due);
                }
            }
            _ => {}
        }
        requests::request(self, place, step)
    }
}

impl Load for Crowd {
    fn turn(&mut self, connection: usize, now: Instant, request: &mut Vec<u8>) -> Turn {
        if self.is_quiet && connection != 1 {
            return Turn::Rest;
        }
        match connection {
            0 => self.operator.turn(&mut self.chance, now, request),
            1 => self.withdrawals.turn(&mut self.books, self.address, self.is_quiet, now, request),
            _ => self.turn_of_lane(connection - APART, now, request),
        }
    }

    fn reply(&mut self, connection: usize, reply: &Reply<'_>, now: Instant) -> Result<()> {
        match connection {
            0 => return self.operator.reply(&mut self.books, reply, now),
            1 => return self.withdrawals.reply(&mut self.books, reply),
            _ => {}
        }
        let lane = connection - APART;
        let doing = self.lanes[lane].doing.take().context("an answer to no request")?;
        let pause = self.chance.time(self.pause / 2, self.pause * 3 / 2);
        self.lanes[lane].due = self.on_grid(now + pause);
        answers::judge(self, &doing, reply, now)
            .with_context(|| format!("`{}`: {} {}", doing.line, reply.code, reply.excerpt()))
    }
}

/// A count of each kind of request.
pub fn count(done: &mut BTreeMap<&'static str, u64>, step: &Move) {
    let name = match step {
        Move::Enter => "peers made",
        Move::EnterWith { .. } => "peers made with locks",
        Move::Restore { .. } => "restores",
        Move::RestoreAgain => "restores of what is there",
        Move::Beat => "heartbeats",
        Move::Vanish { .. } => "leases left to end",
        Move::Ask { locks, .. } if locks.len() > 1 => "asks for several locks",
        Move::Ask { terms: Terms::NoQueue, .. } => "asks without queueing",
        Move::Ask { terms: Terms::Parked(_), .. } => "asks that wait",
        Move::Ask { .. } => "asks",
        Move::AskAgain { block_for: None } => "asks repeated",
        Move::AskAgain { .. } => "asks repeated that wait",
        Move::AskHeld { .. } => "asks for what is held",
        Move::Release { .. } => "releases",
        Move::Withdraw { .. } => "withdrawals",
        Move::Shrink { .. } => "shrinks",
        Move::Remove { revoke: true } => "peers revoked",
        Move::Remove { .. } => "peers released",
        Move::ComeBack => "restores of revoked peers",
        Move::Late(_) => "requests after the lease",
        Move::Look | Move::IsAcquired => "looks at a peer",
        Move::Refused(_) => "requests refused on purpose",
    };
    *done.entry(name).or_default() += 1;
}
