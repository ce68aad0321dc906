//! The load generator: one thread over raw non-blocking sockets, one request in flight on each.
//!
//! It costs less than any of the servers it loads, so that it is them that are measured. It knows
//! how answers end (see `wire`), not what they mean: that is for a [`Load`].

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::process;
use crate::wire::{Framed, Protocol};

/// No answer at all for so long ends the run: a server hangs.
const STALL: Duration = Duration::from_secs(120);

/// Answers that are on their way are there by then.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// Timers are kept by looking at the clock from so long before they are due; the kernel's
/// millisecond would be too coarse.
const SPIN: Duration = Duration::from_micros(1_500);

/// New connections are made in blocks: a full accept queue costs a second.
const BLOCK: usize = 64;

/// One answer.
#[derive(Debug)]
pub struct Reply<'a> {
    /// 200 and so on; other protocols than HTTP use the same numbers.
    pub code: u16,
    /// What comes before that.
    pub head: &'a [u8],
    /// What it says.
    pub body: &'a [u8],
    /// The time since its request was sent.
    pub waited: Duration,
}

impl Reply<'_> {
    /// What it says, as far as an error message needs it.
    pub fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).into_owned()
    }
}

/// What a connection does next.
pub enum Turn {
    /// Sends what was written to `request`.
    Send,
    /// Is asked again at that time.
    At(Instant),
    /// Nothing, until the next call of [`Connections::run`].
    Rest,
}

/// What the connections ask, and what they make of the answers.
pub trait Load {
    /// What an idle connection does next. `request` is empty.
    fn turn(&mut self, connection: usize, now: Instant, request: &mut Vec<u8>) -> Turn;

    /// An answer has come.
    ///
    /// # Errors
    /// Where it is not what was to be measured; this ends the run.
    fn reply(&mut self, connection: usize, reply: &Reply<'_>, now: Instant) -> Result<()>;
}

struct Connection {
    stream: TcpStream,
    is_waiting: bool,
    sent_at: Instant,
    request: Vec<u8>,
    /// The beginning of an answer whose rest is still to come.
    part: Vec<u8>,
}

/// Some connections to one server.
pub struct Connections {
    address: SocketAddr,
    protocol: Protocol,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    buffer: Vec<u8>,
    waiting: usize,
    /// Where the load has a core of its own, it never sleeps: a server would have to wake it up
    /// with nearly each answer, and that costs more than the answer.
    is_sleepless: bool,
    /// Nothing more is asked.
    is_settling: bool,
}

impl Connections {
    /// Connects `count` times.
    ///
    /// # Errors
    /// Where the server cannot be reached or refuses the greeting, or no more files may be open.
    pub fn open(address: SocketAddr, protocol: Protocol, count: usize) -> Result<Self> {
        let mut connections = Connections {
            address,
            protocol,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            connections: Vec::new(),
            timers: BinaryHeap::new(),
            buffer: vec![0; 256 * 1024],
            waiting: 0,
            is_sleepless: process::has_own_core()?,
            is_settling: false,
        };
        connections.add(count)?;
        Ok(connections)
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.connections.len()
    }

    /// Connects `count` times more.
    ///
    /// # Errors
    /// As [`Connections::open`].
    pub fn add(&mut self, count: usize) -> Result<()> {
        for made in 1..=count {
            if made % BLOCK == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
            let mut stream = std::net::TcpStream::connect(self.address)
                .with_context(|| format!("cannot connect to {}", self.address))?;
            stream.set_nodelay(true)?;
            greet(self.protocol, &mut stream)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let token = Token(self.connections.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            self.connections.push(Connection {
                stream,
                is_waiting: false,
                sent_at: Instant::now(),
                request: Vec::new(),
                part: Vec::new(),
            });
        }
        Ok(())
    }

    /// Closes all but the first ones. They must not be waiting for answers.
    pub fn truncate(&mut self, count: usize) {
        self.connections.truncate(count);
    }

    /// Works until `until`, where requests in flight stay in flight, to go on in the next call; or
    /// until all connections rest, which is the `Break`.
    ///
    /// # Errors
    /// Those of the load; where a connection breaks; where nothing is answered for long.
    pub fn run<L: Load>(&mut self, load: &mut L, until: Instant) -> Result<ControlFlow<()>> {
        self.timers.clear();
        for index in 0..self.connections.len() {
            if !self.connections[index].is_waiting {
                self.next(index, load, Instant::now())?;
            }
        }
        let mut last_answer = Instant::now();
        loop {
            let now = Instant::now();
            self.fire_timers(load, now)?;
            if self.waiting == 0 && self.timers.is_empty() {
                return Ok(ControlFlow::Break(()));
            }
            if now >= until {
                return Ok(ControlFlow::Continue(()));
            }
            ensure!(
                self.waiting == 0 || now - last_answer < STALL,
                "no answer for {STALL:?}, {} requests in flight",
                self.waiting
            );
            let pause = match self.timers.peek() {
                Some(Reverse((at, _))) => at.saturating_duration_since(now).saturating_sub(SPIN),
                None => Duration::from_secs(1),
            };
            let pause = if self.is_sleepless { Duration::ZERO } else { pause.min(until - now) };
            match self.poll.poll(&mut self.events, Some(pause)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
            for index in ready {
                last_answer = self.read(index, load)?.unwrap_or(last_answer);
            }
        }
    }

    /// As [`Connections::run`], until all connections rest.
    ///
    /// # Errors
    /// Also where that takes longer than `at_most`.
    pub fn finish<L: Load>(&mut self, load: &mut L, at_most: Duration) -> Result<()> {
        match self.run(load, Instant::now() + at_most)? {
            ControlFlow::Break(()) => Ok(()),
            ControlFlow::Continue(()) => bail!("not done after {at_most:?}"),
        }
    }

    /// Lets the answers come in that are on their way, and asks nothing more.
    ///
    /// # Errors
    /// As [`Connections::finish`].
    pub fn settle<L: Load>(&mut self, load: &mut L) -> Result<()> {
        self.is_settling = true;
        let settled = self.finish(load, SETTLED_WITHIN);
        self.is_settling = false;
        settled
    }

    fn fire_timers<L: Load>(&mut self, load: &mut L, now: Instant) -> Result<()> {
        while let Some(Reverse((at, index))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            self.next(index, load, now)?;
        }
        Ok(())
    }

    fn next<L: Load>(&mut self, index: usize, load: &mut L, now: Instant) -> Result<()> {
        if self.is_settling {
            return Ok(());
        }
        let connection = &mut self.connections[index];
        connection.request.clear();
        match load.turn(index, now, &mut connection.request) {
            Turn::Rest => {}
            Turn::At(at) => self.timers.push(Reverse((at, index))),
            Turn::Send => {
                connection.is_waiting = true;
                connection.sent_at = now;
                self.waiting += 1;
                let sent = connection.stream.write(&connection.request)?;
                ensure!(sent == connection.request.len(), "a request was sent in part only");
            }
        }
        Ok(())
    }

    /// Reads what has come. Returns when an answer came, if one did.
    fn read<L: Load>(&mut self, index: usize, load: &mut L) -> Result<Option<Instant>> {
        let mut answered_at = None;
        loop {
            let connection = &mut self.connections[index];
            let count = match connection.stream.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(answered_at),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.context("a connection broke")?,
            };
            ensure!(count > 0, "the server closed a connection");
            ensure!(connection.is_waiting, "the server sent what nobody asked for");
            let is_all = count < self.buffer.len();
            let now = Instant::now();
            let mut part = std::mem::take(&mut connection.part);
            let bytes = if part.is_empty() {
                &self.buffer[..count]
            } else {
                part.extend_from_slice(&self.buffer[..count]);
                &part
            };
            match self.protocol.frame(bytes)? {
                None => self.connections[index].part = bytes.to_vec(),
                Some(Framed { code, body, end }) => {
                    ensure!(end == bytes.len(), "more came than one answer");
                    connection.is_waiting = false;
                    self.waiting -= 1;
                    let waited = now - connection.sent_at;
                    let (head, body) = (&bytes[..body.start], &bytes[body]);
                    load.reply(index, &Reply { code, head, body, waited }, now)?;
                    answered_at = Some(now);
                    self.next(index, load, now)?;
                }
            }
            // What is shorter than the buffer has emptied the socket; more will be a new event.
            if is_all {
                return Ok(answered_at);
            }
        }
    }
}

/// Says what has to be said before the first request, and waits for the answer.
fn greet(protocol: Protocol, stream: &mut std::net::TcpStream) -> Result<()> {
    let greeting = protocol.greeting();
    if greeting.is_empty() {
        return Ok(());
    }
    stream.set_read_timeout(Some(STALL))?;
    stream.write_all(greeting)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).context("a greeting was not answered")?;
        ensure!(count > 0, "the server closed a connection at its greeting");
        answer.extend_from_slice(&buffer[..count]);
        if let Some(Framed { code, .. }) = protocol.frame(&answer)? {
            ensure!(code == 200, "a greeting was answered with {code}");
            return Ok(());
        }
    }
}
