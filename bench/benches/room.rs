//! What each operation of the pure room costs, and whether that depends on how many idle peers
//! there are, or on how many asks wait.
//!
//! Not measured here: what is around the room, that is the mutex, the clock, HTTP, and waking those
//! who wait. Nor does any figure say how many requests a server answers.
//!
//! The results lie in `target/criterion/<operation>/<peers>/`, or `<asks>` for the last three. The
//! harness itself adds some 4 ns to each.

#![allow(clippy::unwrap_used, reason = "the figure of a refused operation would mean nothing")]

use std::{cell::RefCell, hint::black_box, time::Duration};

use criterion::{BatchSize, Bencher, BenchmarkId, Criterion, criterion_group, criterion_main};
use throttle::semaphore::{
    Asking, Catalogue, Effect, Effects, Leases, NewPeer, PeerId, Progress, Restored, Rules,
    SemaphoreConfig, Terms, Timestamp, Wanted, invariants,
};

/// How many idle peers there are. Every other one holds a lock.
const PEERS: [usize; 3] = [1, 1_000, 1_000_000];
/// How many asks wait in the long queue.
const LONG_QUEUE: usize = 100_000;
/// So many operations are measured with one look at the clock, and undone afterwards. It is enough
/// for the clock not to count, and few in comparison to 1,000 peers.
const BATCH: usize = 16;
/// A lease of the idle peers. Time is only a number here, which some benches let pass.
const LEASE: Duration = Duration::from_secs(30);

/// Peers are taken in steps of this length, all before any is taken again: a golden section of a
/// million, so that neighbours come far apart and caches help as little as they do in reality. It
/// has no divisor in common with the numbers of peers and asks here.
const STRIDE: usize = 618_033;

/// A lock that one peer at a time holds, and nobody waits for.
const FREE: Wanted<'_> = ("free", 1);
/// A lock that one peer holds, and others wait for.
const BUSY: Wanted<'_> = ("busy", 1);
/// A lock that any number of peers hold.
const SHARED: Wanted<'_> = ("shared", 1);
/// Locks that are granted together.
const FOUR: [Wanted<'_>; 4] = [("four-a", 1), ("four-b", 1), ("four-c", 1), ("four-d", 1)];
/// All semaphores; those that are not named above are only there.
const SEMAPHORES: usize = 100;

/// No earlier start has granted a greater token, so this one can be restored.
const OLD_TOKEN: u64 = 1_000;

type Bench = fn(&mut Bencher<'_>, &RefCell<Books>);

/// Measured with few and with many idle peers, in this order.
const WITH_IDLE_PEERS: [(&str, Bench); 12] = [
    ("new_peer", |bencher, books| new_peer(bencher, books, &[])),
    ("new_peer_with_lock", |bencher, books| new_peer(bencher, books, &[SHARED])),
    ("heartbeat", heartbeat),
    ("acquire_and_release", acquire_and_release),
    ("acquire_again", acquire_again),
    ("hand_off", hand_off),
    ("acquire_and_release_four", acquire_and_release_four),
    ("remove_peer", remove_peer),
    ("restore", restore),
    ("remainder", remainder),
    ("semaphores", semaphores),
    ("heartbeat_with_upkeep", heartbeat_with_upkeep),
];

/// Measured with a long queue. The last one shuffles it, and the first one must know its order.
const WITH_LONG_QUEUE: [(&str, Bench); 3] = [
    ("hand_off_in_long_queue", hand_off),
    ("acquire_again_in_long_queue", acquire_again),
    ("cancel_and_enter_long_queue", cancel_and_enter),
];

fn room(criterion: &mut Criterion) {
    for peers in PEERS {
        let books = RefCell::new(Books::new(peers, BATCH));
        // First, for it needs to know in which order the leases end.
        run(criterion, &[("expire", expire)], peers, &books);
        // From here on all idle peers are good for a whole lease.
        let idle = books.borrow().idle.clone();
        idle.into_iter().for_each(|id| books.borrow_mut().renew(id));
        run(criterion, &WITH_IDLE_PEERS, peers, &books);
    }
    let books = RefCell::new(Books::new(0, LONG_QUEUE));
    run(criterion, &WITH_LONG_QUEUE, LONG_QUEUE, &books);
}

fn run(criterion: &mut Criterion, benches: &[(&str, Bench)], of: usize, books: &RefCell<Books>) {
    let before = books.borrow().totals();
    for (operation, bench) in benches {
        let mut group = criterion.benchmark_group(*operation);
        group.bench_function(BenchmarkId::from_parameter(of), |bencher| bench(bencher, books));
    }
    assert_eq!(before, books.borrow().totals(), "the books are as they were");
}

/// A peer is made, and granted what it asks for, if anything.
fn new_peer(bencher: &mut Bencher<'_>, books: &RefCell<Books>, acquire: &[Wanted<'_>]) {
    let operation = |books: &mut Books, id| books.make(id, acquire, LEASE);
    measure(bencher, books, Books::fresh_id, operation, Books::remove);
}

/// Any of all peers renews its lease, while no lease comes up.
fn heartbeat(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    measure(bencher, books, Books::next_idle, Books::renew, |_, _| ());
}

/// All peers renew their leases in turn, three times a lease, as time passes. About two times in
/// five, the entry of some other peer comes up early in the expiry index, and is moved.
fn heartbeat_with_upkeep(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    let prepare = |books: &mut Books| (books.next_idle(), books.gap / 3);
    let operation = |books: &mut Books, (id, passed)| {
        books.now = books.now.after(passed);
        books.renew(id);
    };
    measure(bencher, books, prepare, operation, |_, _| ());
}

/// Any peer without a lock acquires one that nobody else wants, and gives it back.
fn acquire_and_release(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    let prepare = |books: &mut Books| {
        let position = books.next_position();
        books.idle[position & !1]
    };
    let operation = |books: &mut Books, id| {
        assert!(books.acquire(id, Asking::Lock(FREE)), "it is free");
        books.release(id, FREE);
    };
    measure(bencher, books, prepare, operation, |_, _| ());
}

/// Any of those who wait asks once more for what it is waiting for.
fn acquire_again(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    measure(bencher, books, Books::next_pending, Books::wait, |_, _| ());
}

/// A lock is given back, and the ask at the front of the queue is granted.
fn hand_off(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    let prepare = |books: &mut Books| {
        let id = books.queue[books.holder];
        books.holder = (books.holder + 1) % books.queue.len();
        id
    };
    let operation = |books: &mut Books, id| {
        books.release(id, BUSY);
        assert_eq!(1, books.ended, "the next one has it");
    };
    // Criterion drops the first result first: so peers come back in the order in which they went.
    measure(bencher, books, prepare, operation, Books::wait);
}

/// Any of those who wait cancels its ask, and asks again: it enters the queue at its end.
fn cancel_and_enter(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    let operation = |books: &mut Books, id| {
        books.release(id, BUSY);
        assert_eq!(1, books.ended, "its ask was cancelled");
        books.wait(id);
    };
    measure(bencher, books, Books::next_pending, operation, |_, _| ());
}

/// A peer acquires four locks with one ask, and gives them back one after another. It is a new one
/// each time, for who once held several has room for them already.
fn acquire_and_release_four(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    let prepare = |books: &mut Books| books.make_fresh(&[], LEASE);
    let operation = |books: &mut Books, id| {
        assert!(books.acquire(id, Asking::Together(&FOUR)), "all are free");
        FOUR.iter().for_each(|lock| books.release(id, *lock));
    };
    measure(bencher, books, prepare, operation, Books::remove);
}

/// Any of all peers is released. Every other one holds a lock.
fn remove_peer(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    let prepare = |books: &mut Books| {
        let position = books.next_position();
        books.replace(position, LEASE)
    };
    measure(bencher, books, prepare, Books::remove, |_, _| ());
}

/// The lease of the peer that was made first ends. Every other one holds a lock.
fn expire(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    let prepare = |books: &mut Books| {
        let position = books.oldest;
        books.oldest = (position + 1) % books.idle.len();
        books.make_idle(position);
    };
    let operation = |books: &mut Books, ()| {
        books.now = books.now.after(books.gap);
        let expired = books.apply(|leases, now, fx| leases.expire(now, 1_000, fx));
        assert_eq!(1, expired, "one lease ends at a time");
    };
    measure(bencher, books, prepare, operation, |_, _| ());
}

/// A peer comes back with a lock and its token.
fn restore(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    let (acquired, tokens) = ([SHARED], [(SHARED.0, OLD_TOKEN)]);
    let restored =
        Restored { acquired: &acquired, tokens: &tokens, about: None, expires_in: LEASE };
    let operation = |books: &mut Books, id| {
        books.apply(|leases, now, fx| leases.restore(id, restored, now, fx)).unwrap();
    };
    measure(bencher, books, Books::fresh_id, operation, Books::remove);
}

/// Somebody asks what is left of a semaphore.
fn remainder(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    let remainder = |leases: &mut Leases, now, fx: &mut _| leases.remainder(SHARED.0, now, fx);
    bencher.iter(|| books.borrow_mut().apply(remainder).unwrap());
}

/// Somebody looks at all semaphores.
fn semaphores(bencher: &mut Bencher<'_>, books: &RefCell<Books>) {
    let look = |leases: &mut Leases, now, _: &mut _| leases.semaphores(now).collect::<Vec<_>>();
    bencher.iter(|| assert_eq!(SEMAPHORES, books.borrow_mut().apply(look).len()));
}

/// Measures `operation` alone. What it did is undone when its result is dropped, which criterion
/// does when it has looked at the clock.
fn measure<I: Copy>(
    bencher: &mut Bencher<'_>,
    books: &RefCell<Books>,
    prepare: impl Fn(&mut Books) -> I,
    operation: impl Fn(&mut Books, I),
    undo: impl Fn(&mut Books, I),
) {
    let (prepare, undo) = (|| prepare(&mut books.borrow_mut()), &undo);
    let operation = |input| {
        operation(&mut books.borrow_mut(), input);
        Done(move || undo(&mut books.borrow_mut(), input))
    };
    bencher.iter_batched(prepare, operation, BatchSize::NumIterations(BATCH as u64));
}

/// Something that was done, and how to undo it.
struct Done<U: Fn()>(U);

impl<U: Fn()> Drop for Done<U> {
    fn drop(&mut self) {
        self.0();
    }
}

/// The room, and who is in it.
struct Books {
    leases: Leases,
    now: Timestamp,
    effects: Effects,
    /// How many asks the last operation granted or cancelled.
    ended: usize,
    ids_drawn: u64,
    /// Peers that do nothing. Those at odd positions hold a lock.
    idle: Vec<PeerId>,
    /// How many times somebody was taken at random.
    turn: usize,
    /// From the end of one idle peer's lease to that of the next.
    gap: Duration,
    /// The position of the idle peer whose lease ends first.
    oldest: usize,
    /// The end of the lease that ends last.
    latest: Timestamp,
    /// The one at `holder` has the busy lock; the others wait for it in this order, in a circle.
    queue: Vec<PeerId>,
    holder: usize,
}

impl Books {
    fn new(idle: usize, pending: usize) -> Self {
        let named = FOUR.into_iter().chain([FREE, BUSY]).map(|(name, _)| name.to_owned());
        let others = (0..).map(|ix| format!("other-{ix}"));
        let mutexes = named.chain(others).take(SEMAPHORES - 1);
        let mutexes = mutexes.map(|name| (name, SemaphoreConfig::new(1)));
        let shared = (SHARED.0.to_owned(), SemaphoreConfig::new(i64::MAX));
        let semaphores: Catalogue = mutexes.chain([shared]).collect();
        let rules = Rules { tokens_above: OLD_TOKEN, ..Rules::default() };
        let mut books = Books {
            leases: Leases::new(semaphores, rules),
            now: Timestamp::default(),
            effects: Effects::new(),
            ended: 0,
            ids_drawn: 0,
            idle: vec![PeerId(0); idle],
            turn: 0,
            gap: LEASE / u32::try_from(idle.max(1)).unwrap(),
            oldest: 0,
            latest: Timestamp::default(),
            queue: Vec::with_capacity(pending + 1),
            holder: 0,
        };
        (0..idle).for_each(|position| books.make_idle(position));
        for position in 0..=pending {
            let id = books.make_fresh(&[], Duration::MAX);
            assert_eq!(position == 0, books.acquire(id, Asking::Lock(BUSY)), "the first has it");
            books.queue.push(id);
        }
        books
    }

    /// What of the books must not change, all of it recounted.
    fn totals(&self) -> (usize, Vec<(i64, i128)>) {
        invariants::check(&self.leases);
        let totals = self.leases.semaphores(self.now).map(|found| (found.acquired, found.pending));
        (self.leases.peer_count(), totals.collect())
    }

    /// An operation as `State::apply` has it done, effects and all, but for the lock and the clock.
    fn apply<R>(&mut self, operation: impl FnOnce(&mut Leases, Timestamp, &mut Effects) -> R) -> R {
        let result = black_box(operation(&mut self.leases, self.now, &mut self.effects));
        self.ended = 0;
        for effect in self.effects.ends.drain(..) {
            if let Effect::Acquired { .. } | Effect::Withdrawn(_) = black_box(effect) {
                self.ended += 1;
            }
        }
        self.effects.events.drain(..).for_each(|event| drop(black_box(event)));
        black_box(self.leases.next_expiry());
        result
    }

    /// A new peer, which is granted what it asks for.
    fn make(&mut self, id: PeerId, acquire: &[Wanted<'_>], expires_in: Duration) {
        let new = NewPeer { expires_in, about: None, acquire, may_queue: true };
        self.apply(|leases, now, fx| leases.new_peer(id, new, now, fx)).unwrap();
        assert_eq!(acquire.len().min(1), self.ended, "its ask, if any, was granted");
    }

    fn make_fresh(&mut self, acquire: &[Wanted<'_>], expires_in: Duration) -> PeerId {
        let id = self.fresh_id();
        self.make(id, acquire, expires_in);
        id
    }

    /// Whether the peer has acquired it now.
    fn acquire(&mut self, id: PeerId, asking: Asking<'_>) -> bool {
        let terms = Terms { expires_in: None, may_queue: true };
        let asked = self.apply(|leases, now, fx| leases.acquire(id, asking, terms, now, fx));
        matches!(asked.unwrap().progress, Progress::Acquired(_))
    }

    /// The peer asks for the busy lock, or asks once more, and has to wait.
    fn wait(&mut self, id: PeerId) {
        assert!(!self.acquire(id, Asking::Lock(BUSY)), "it waits");
    }

    fn release(&mut self, id: PeerId, (semaphore, _): Wanted<'_>) {
        self.apply(|leases, now, fx| leases.release(id, semaphore, now, fx)).unwrap();
    }

    fn renew(&mut self, id: PeerId) {
        self.apply(|leases, now, fx| leases.heartbeat(id, LEASE, now, fx)).unwrap();
    }

    fn remove(&mut self, id: PeerId) {
        assert!(self.apply(|leases, now, fx| leases.remove_peer(id, now, fx)), "it existed");
    }

    /// A new peer takes the place of an idle one, which is still in the books and is returned.
    fn replace(&mut self, position: usize, expires_in: Duration) -> PeerId {
        let id = self.make_fresh(if position % 2 == 1 { &[SHARED] } else { &[] }, expires_in);
        std::mem::replace(&mut self.idle[position], id)
    }

    /// Its lease ends after those of all other idle peers.
    fn make_idle(&mut self, position: usize) {
        self.latest = self.latest.after(self.gap);
        self.replace(position, self.latest.since(self.now));
    }

    /// An id that nobody ever had. They are as far apart as those that the server draws.
    fn fresh_id(&mut self) -> PeerId {
        self.ids_drawn += 1;
        PeerId(self.ids_drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn next_position(&mut self) -> usize {
        self.turn += 1;
        self.turn * STRIDE % self.idle.len()
    }

    fn next_idle(&mut self) -> PeerId {
        let position = self.next_position();
        self.idle[position]
    }

    fn next_pending(&mut self) -> PeerId {
        self.turn += 1;
        let behind = 1 + self.turn * STRIDE % (self.queue.len() - 1);
        self.queue[(self.holder + behind) % self.queue.len()]
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).nresamples(10_000)
        .warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = room
}
criterion_main!(benches);
