//! Connections that make no progress are closed, and nothing is read from a client that takes no
//! answers.
//!
//! actix gives a deadline to the first head of a connection alone; what comes after a first request
//! could be sent by halves for ever. And it sets a timer for the idle time after each answer, which
//! costs as much as all that the books do for a request. Here each worker looks at all of its
//! connections now and then, and costs a request next to nothing.
//!
//! And while its buffers are full, for answers are not taken and further requests come, actix polls
//! a connection without end. So these are left where they are until answers can be written again.
//!
//! Nor does actix stop before it has answered all that it has read, which may be thousands of small
//! requests, while all other connections of the worker wait. So they take turns.

use std::{
    cell::{Cell, RefCell},
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    task::{spawn_local, yield_now},
    time::sleep,
};

use crate::{clock::Clock, semaphore::Timestamp};

/// How often within the shortest time that is allowed a worker looks.
const LOOKS: u32 = 4;

/// But not more often than this, nor more seldom.
const PAUSE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(20)..=Duration::from_secs(1);

/// After so many bytes it is the turn of others. Hardly a request is larger, and no more of small
/// ones are taken apart at once, of which each takes thousands of bytes then.
const TURN: usize = 8 * 1024;

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// For the head of a request, from its first byte.
    pub head: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
}

/// All connections of one worker.
#[derive(Debug)]
pub struct Watch {
    clock: Clock,
    allowed: Allowed,
    /// When it looked last. Exact enough, and cheaper than a clock.
    now: Cell<Timestamp>,
    connections: RefCell<Vec<Weak<Connection>>>,
}

/// What is known of one connection, to its stream and to its requests.
#[derive(Debug)]
pub struct Connection {
    watch: Rc<Watch>,
    /// How many of its requests are being answered.
    requests: Cell<u32>,
    /// Whether bytes have come that belong to no request yet.
    has_begun: Cell<bool>,
    /// When that began, or the last answer was ready.
    since: Cell<Timestamp>,
    is_closed: Cell<bool>,
    /// Whether its client takes nothing at the moment.
    is_blocked: Cell<bool>,
    /// How many bytes were read in this turn.
    taken: Cell<usize>,
    /// Whoever waits for more bytes.
    reader: RefCell<Option<Waker>>,
}

/// A stream that ends when its connection is closed here.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    connection: Rc<Connection>,
}

/// A request that is being answered, until it is dropped. Its connection is not closed meanwhile.
#[derive(Debug)]
pub struct Answering(Rc<Connection>);

impl Watch {
    /// Starts to look, for as long as the worker runs. To be called by the worker.
    pub fn start(allowed: Allowed) -> Rc<Self> {
        let watch = Rc::new(Watch {
            clock: Clock::new(),
            allowed,
            now: Cell::default(),
            connections: RefCell::default(),
        });
        let pause = (allowed.head.min(allowed.idle) / LOOKS).clamp(*PAUSE.start(), *PAUSE.end());
        let watching = Rc::downgrade(&watch);
        spawn_local(async move {
            loop {
                sleep(pause).await;
                let Some(watch) = watching.upgrade() else { return };
                watch.look(pause);
            }
        });
        watch
    }

    /// Watches a connection from now on.
    pub fn over<S>(self: &Rc<Self>, stream: S) -> Watched<S> {
        let connection = Rc::new(Connection {
            watch: self.clone(),
            requests: Cell::default(),
            has_begun: Cell::default(),
            since: Cell::new(self.clock.now()),
            is_closed: Cell::default(),
            is_blocked: Cell::default(),
            taken: Cell::default(),
            reader: RefCell::default(),
        });
        self.connections.borrow_mut().push(Rc::downgrade(&connection));
        Watched { stream, connection }
    }

    /// Closes those that have taken too long, and forgets those that are gone.
    fn look(&self, pause: Duration) {
        let now = self.clock.now();
        self.now.set(now);
        self.connections.borrow_mut().retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            // What began after the last look may seem to have begun with it.
            if connection.is_late(now, pause) {
                connection.close();
            }
            true
        });
    }
}

impl Connection {
    /// Notes that a request is being answered.
    pub fn answer(self: &Rc<Self>) -> Answering {
        self.requests.set(self.requests.get() + 1);
        self.has_begun.set(false);
        Answering(self.clone())
    }

    fn is_late(&self, now: Timestamp, slack: Duration) -> bool {
        let Allowed { head, idle } = self.watch.allowed;
        let allowed = if self.has_begun.get() { head } else { idle };
        self.requests.get() == 0 && now.since(self.since.get()) > allowed + slack
    }

    fn close(&self) {
        self.is_closed.set(true);
        self.wake_reader();
    }

    /// Notes whether the last write has to wait.
    fn writes(&self, is_blocked: bool) {
        if self.is_blocked.replace(is_blocked) && !is_blocked {
            self.wake_reader();
        }
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn received(&self, bytes: usize) {
        self.taken.set(self.taken.get() + bytes);
        if self.requests.get() == 0 && !self.has_begun.replace(true) {
            self.since.set(self.watch.now.get());
        }
    }

    fn waits(&self, reader: &Waker) {
        let mut known = self.reader.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(reader)) {
            *known = Some(reader.clone());
        }
    }
}

impl<S> Watched<S> {
    /// What is known of this connection.
    pub fn connection(&self) -> Rc<Connection> {
        self.connection.clone()
    }

    /// The stream itself.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let Answering(connection) = self;
        connection.requests.set(connection.requests.get() - 1);
        connection.since.set(connection.watch.now.get());
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.connection.is_closed.get() {
            // Nothing was read: the end of the stream.
            return Poll::Ready(Ok(()));
        }
        if self.connection.is_blocked.get() {
            self.connection.waits(context.waker());
            return Poll::Pending;
        }
        if self.connection.taken.get() >= TURN {
            self.connection.taken.set(0);
            // Woken at once, it would have dozens of turns before the worker looks who else is
            // there. This wakes it after that look.
            return pin!(yield_now()).poll(context).map(Ok);
        }
        let before = buffer.filled().len();
        let rest = TURN - self.connection.taken.get();
        let read = pin!((&mut self.stream).take(rest as u64)).poll_read(context, buffer);
        match read {
            Poll::Pending => {
                self.connection.taken.set(0);
                self.connection.waits(context.waker());
            }
            Poll::Ready(_) if buffer.filled().len() > before => {
                self.connection.received(buffer.filled().len() - before);
            }
            Poll::Ready(_) => {}
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.connection.writes(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.connection.writes(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        task::LocalSet,
        time::{advance, timeout},
    };

    use super::*;

    const ALLOWED: Allowed =
        Allowed { head: Duration::from_secs(10), idle: Duration::from_secs(600) };

    async fn pass(seconds: u64) {
        for _ in 0..seconds {
            advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
    }

    /// Reads from the connection until it ends, in a task of its own.
    fn read(mut watched: Watched<DuplexStream>) -> tokio::task::JoinHandle<usize> {
        spawn_local(async move {
            let mut bytes = Vec::new();
            watched.read_to_end(&mut bytes).await.unwrap()
        })
    }

    /// Runs with a watched connection, what is known of it, and its other end.
    async fn with<F: Future<Output = ()>>(
        test: impl FnOnce(Watched<DuplexStream>, Rc<Connection>, DuplexStream) -> F,
    ) {
        LocalSet::new()
            .run_until(async {
                let watch = Watch::start(ALLOWED);
                let (ours, theirs) = duplex(64);
                let watched = watch.over(ours);
                let connection = watched.connection();
                test(watched, connection, theirs).await;
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connection_is_closed_after_its_time() {
        with(async |watched, _, _theirs| {
            let reading = read(watched);

            pass(599).await;
            assert!(!reading.is_finished());
            pass(5).await;

            assert_eq!(0, reading.await.unwrap());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn head_that_is_sent_by_halves_has_its_time_from_its_first_byte() {
        with(async |watched, connection, mut theirs| {
            let reading = read(watched);
            pass(100).await;
            drop(connection.answer());
            pass(100).await;

            for _ in 0..9 {
                theirs.write_all(b"x").await.unwrap();
                pass(1).await;
            }
            assert!(!reading.is_finished());
            pass(5).await;

            assert_eq!(9, reading.await.unwrap());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn connection_whose_request_is_being_answered_is_left_alone() {
        with(async |watched, connection, mut theirs| {
            let reading = read(watched);
            theirs.write_all(b"x").await.unwrap();
            pass(1).await;

            let answering = connection.answer();
            theirs.write_all(b"x").await.unwrap();
            pass(2_000).await;
            assert!(!reading.is_finished());
            drop(answering);
            pass(599).await;
            assert!(!reading.is_finished(), "it has the idle time from its answer on");
            pass(5).await;

            assert_eq!(2, reading.await.unwrap());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_while_answers_are_not_taken() {
        with(async |mut watched, _, mut theirs| {
            watched.write_all(&[0; 64]).await.unwrap();
            theirs.write_all(b"question").await.unwrap();
            let second = Duration::from_secs(1);
            let blocked = timeout(second, watched.write_all(b"more")).await;
            assert!(blocked.is_err());
            let mut buffer = [0; 64];
            assert!(timeout(second, watched.read(&mut buffer)).await.is_err());

            let reading = spawn_local(async move {
                let (mut reader, mut writer) = tokio::io::split(watched);
                let writing = spawn_local(async move { writer.write_all(b"more").await });
                let count = reader.read(&mut buffer).await.unwrap();
                writing.await.unwrap().unwrap();
                buffer[..count].to_vec()
            });
            theirs.read_exact(&mut [0; 68]).await.unwrap();

            assert_eq!(b"question", &*reading.await.unwrap());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_sends_a_lot_lets_others_have_their_turn() {
        let (ours, mut theirs) = duplex(1 << 20);
        let connections = LocalSet::new();
        let watch = connections.run_until(async { Watch::start(ALLOWED) }).await;
        let mut watched = watch.over(ours);
        theirs.write_all(&vec![0; 20 * TURN]).await.unwrap();
        let mut turn = || {
            let mut context = Context::from_waker(Waker::noop());
            let mut taken = 0;
            loop {
                // Larger than a turn, and no part of it.
                let mut bytes = [0; TURN / 3 * 4];
                let mut buffer = ReadBuf::new(&mut bytes);
                match Pin::new(&mut watched).poll_read(&mut context, &mut buffer) {
                    Poll::Ready(read) => read.unwrap(),
                    Poll::Pending => return taken,
                }
                taken += buffer.filled().len();
            }
        };

        for _ in 0..20 {
            assert_eq!(TURN, turn());
        }
        assert_eq!(0, turn(), "that was all");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_gone_are_forgotten() {
        with(async |watched, connection, _| {
            let watch = connection.watch.clone();
            drop((watched, connection));
            assert_eq!(1, watch.connections.borrow().len());

            pass(2).await;

            assert_eq!(0, watch.connections.borrow().len());
        })
        .await;
    }
}
