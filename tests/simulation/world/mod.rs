//! The world: it owns time, carries messages, breaks things, and looks whether all promises are
//! kept after each step.
//!
//! Time goes in whole milliseconds, so that things often happen at the very same moment: a
//! heartbeat comes when its lease ends, and not only before or after.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    panic::{self, AssertUnwindSafe},
    time::Duration,
};

mod faults;

use crate::{
    beliefs::Beliefs,
    client::Client,
    coverage::Coverage,
    dice::{Chance, Decision, Dice, Script, Who},
    naive::{Maxes, SEMAPHORES},
    promises::{Broken, GHOSTS, INVARIANTS, Kept, LEVELS, PROGRESS, promise},
    server::{Applied, Limited, Server},
    wire::{Answer, Back, Request},
};

/// Nothing is on its way for longer.
const LATEST_MESSAGE: u64 = 1_500;

/// What is waited for after the last fault until everybody has got what they asked for.
const PEACE: u64 = 120_000;

/// Answers to requests of this number are nobody's business.
const NOBODY: u8 = u8::MAX;

/// Something that is going to happen.
#[derive(Debug)]
enum Event {
    ToServer {
        client: u8,
        number: u64,
        request: Request,
    },
    ToClient {
        client: u8,
        number: u64,
        back: Back,
    },
    /// Unless something else has woken the client since.
    Wake {
        client: u8,
        wakes: u64,
    },
    /// The time of a parked request is over.
    ParkOver,
    Fault,
    Operator,
    Stranger,
    Resume {
        client: u8,
    },
    ComeBack {
        client: u8,
    },
    Start,
    Collect,
    Reachable {
        client: u8,
    },
}

/// A client, and what the world knows of it.
struct Place {
    client: Client,
    is_alive: bool,
    is_paused: bool,
    is_cut_off: bool,
    /// What came while it was paused.
    mail: Vec<(u64, Back)>,
    wakes: u64,
    /// Of the request that has arrived of those that were sent last.
    latest_number: u64,
    parked: BTreeSet<u64>,
}

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    clients: u8,
    limited: Limited,
    /// The longest lease of a client.
    lease: u64,
    /// One message in so many is lost, and one in so many comes twice.
    loss: u64,
    /// Time between two faults, on the average; the same for operators and strangers. 0 for none.
    faults: u64,
    operators: u64,
    strangers: u64,
    is_killable: bool,
}

impl Scenario {
    fn draw(chance: &mut Chance) -> Self {
        let lease = chance.pick(&[300, 900, 2_000]);
        // No lease of a client is longer, so whoever held something has come back by then.
        let window = if chance.one_in(2) { lease } else { 0 };
        Scenario {
            clients: chance.between(2, 7) as u8,
            lease,
            limited: Limited {
                window,
                max_peers: if chance.one_in(4) { 6 } else { 60 },
                max_waiters: if chance.one_in(4) { 2 } else { 60 },
                max_expires_in: 10_000,
            },
            loss: chance.pick(&[1_000_000, 60, 25]),
            faults: chance.pick(&[0, 2_000, 5_000]),
            operators: chance.pick(&[0, 1_500]),
            strangers: chance.pick(&[0, 400, 1_500]),
            is_killable: !chance.one_in(4),
        }
    }
}

/// How a run ended.
pub struct Ended {
    pub events: u64,
    pub coverage: Coverage,
    pub broken: Option<Broken>,
    /// The decisions that were taken.
    pub taken: Vec<Decision>,
    /// What happened, if that was wanted.
    pub history: Vec<String>,
}

/// One run.
pub struct World {
    scenario: Scenario,
    dice: Dice,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    scheduled: u64,
    places: Vec<Place>,
    server: Option<Server>,
    /// By its number: whose a parked request is, and its number there.
    tickets: BTreeMap<u64, (u8, u64)>,
    instances: u64,
    latest_token: u64,
    /// What the wall clock shows at the beginning, and how far it was set forward.
    wall_clock: u64,
    /// As the server is configured at its next start.
    next_maxes: Maxes,
    strange: u64,
    beliefs: Beliefs,
    /// Peers of the dead, and when they have to be gone.
    dead: Vec<(u64, u64)>,
    is_peace: bool,
    coverage: Coverage,
    steps: u64,
    history: Option<Vec<String>>,
}

thread_local! {
    /// What is left of the last run, also where it ended in a panic.
    static LEFT: RefCell<Option<Ended>> = const { RefCell::new(None) };
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// So many events, at least.
    pub events: u64,
    /// Afterwards it goes on until all is quiet.
    pub ends_in_peace: bool,
}

/// Runs a script.
pub fn run(script: &Script, length: Length, with_history: bool) -> Ended {
    let live = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async { World::new(script, with_history).live(length).await })
    };
    let broken = match panic::catch_unwind(AssertUnwindSafe(live)) {
        Ok(kept) => kept.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Some(Broken { promise: INVARIANTS, how: text.unwrap_or("no text").to_owned() })
        }
    };
    let left = LEFT.take().expect("each world leaves something");
    Ended { broken, ..left }
}

impl Drop for World {
    fn drop(&mut self) {
        LEFT.set(Some(Ended {
            events: self.steps,
            broken: None,
            taken: std::mem::take(&mut self.dice.taken),
            history: self.history.take().unwrap_or_default(),
            coverage: std::mem::take(&mut self.coverage),
        }));
    }
}

impl World {
    fn new(script: &Script, with_history: bool) -> Self {
        let dice = Dice::new(script.seed, script.kept.clone());
        let mut chance = dice.scenario();
        let scenario = Scenario::draw(&mut chance);
        let places = (0..scenario.clients)
            .map(|ix| {
                // Two clocks may run apart by a hundredth, and this one leaves a little to spare.
                let ppm = chance.between(0, 18_000) as i64 - 9_000;
                let lease = chance.pick(&[scenario.lease, scenario.lease / 2]);
                Place {
                    client: Client::new(ix, ppm, lease, chance.one_in(4), 0),
                    is_alive: true,
                    is_paused: false,
                    is_cut_off: false,
                    mail: Vec::new(),
                    wakes: 0,
                    latest_number: 0,
                    parked: BTreeSet::new(),
                }
            })
            .collect();
        World {
            beliefs: Beliefs::new(scenario.limited.window > 0, scenario.operators == 0),
            scenario,
            dice,
            now: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            scheduled: 0,
            places,
            server: None,
            tickets: BTreeMap::new(),
            instances: 0,
            latest_token: 0,
            wall_clock: 1_700_000_000_000,
            next_maxes: SEMAPHORES.map(|(_, max, _)| Some(max)),
            strange: 0,
            dead: Vec::new(),
            is_peace: false,
            coverage: Coverage::default(),
            steps: 0,
            history: with_history.then(Vec::new),
        }
    }

    async fn live(&mut self, length: Length) -> Kept {
        let scenario = self.scenario;
        self.note(|_| format!("{scenario:?}"));
        self.start().await;
        for client in 0..self.scenario.clients {
            self.wake(client);
        }
        for (event, every) in [
            (Event::Fault, self.scenario.faults),
            (Event::Operator, self.scenario.operators),
            (Event::Stranger, self.scenario.strangers),
        ] {
            if every > 0 {
                self.after(every / 2, event);
            }
        }
        while self.steps < length.events {
            if !self.step().await? {
                break;
            }
        }
        if length.ends_in_peace { self.make_peace().await } else { Ok(()) }
    }

    /// From here on nothing breaks, and nobody asks for more. Everybody gets what they asked for,
    /// and in the end nothing is left.
    async fn make_peace(&mut self) -> Kept {
        self.is_peace = true;
        self.note(|_| "peace".to_owned());
        if self.server.is_none() {
            self.start().await;
        }
        let now = self.now;
        self.served(Server::let_collect).await?;
        for ix in 0..SEMAPHORES.len() {
            self.server.as_mut().map_or(Ok(()), |server| server.adjust(now, ix, None))?;
            self.served(|_| ()).await?;
        }
        let maxes = SEMAPHORES.map(|(_, max, _)| Some(max));
        self.served(|server| server.configure(now, maxes)).await?;
        for client in 0..self.scenario.clients {
            self.places[usize::from(client)].is_cut_off = false;
            if self.places[usize::from(client)].is_paused {
                self.resume(client)?;
            }
        }
        let until = self.now + PEACE;
        while self.now < until && self.step().await? {}
        for place in self.places.iter().filter(|place| place.is_alive) {
            promise(PROGRESS, place.client.is_retired(), || format!("{:?}", place.client))?;
        }
        if let Some(server) = &self.server {
            server.check_is_empty()?;
            server.check_metrics()?;
        }
        self.coverage.count("runs that ended in peace");
        Ok(())
    }

    /// What happens next happens. Returns whether there was anything.
    async fn step(&mut self) -> Kept<bool> {
        let next = self.queue.peek().map(|Reverse((at, _))| *at);
        let deadline = self.server.as_ref().and_then(Server::next_deadline);
        let Some(at) = next.into_iter().chain(deadline).min() else { return Ok(false) };
        self.steps += 1;
        if at > self.now {
            tokio::time::advance(Duration::from_millis(at - self.now)).await;
            self.now = at;
        }
        if deadline == Some(at) {
            // A lease ends, or a recovery window: the litter collection sees to that.
            self.coverage.count("deadlines");
            self.served(|_| ()).await?;
        } else if let Some(Reverse((_, number))) = self.queue.pop()
            && let Some(event) = self.events.remove(&number)
        {
            self.happen(event).await?;
        }
        self.check()?;
        Ok(true)
    }

    async fn happen(&mut self, event: Event) -> Kept {
        match event {
            Event::ToServer { client, number, request } => {
                self.serve(client, number, request).await?;
            }
            Event::ToClient { client, number, back } => self.receive(client, number, back),
            Event::Wake { client, wakes } => {
                let place = &self.places[usize::from(client)];
                if place.is_alive && !place.is_paused && place.wakes == wakes {
                    self.wake(client);
                }
            }
            Event::ParkOver => self.served(|_| ()).await?,
            Event::Fault => {
                self.fault().await?;
                self.again(Event::Fault, self.scenario.faults);
            }
            Event::Operator => {
                self.operate().await?;
                self.again(Event::Operator, self.scenario.operators);
            }
            Event::Stranger => {
                self.stray();
                self.again(Event::Stranger, self.scenario.strangers);
            }
            Event::Resume { client } => self.resume(client)?,
            Event::ComeBack { client } => self.come_back(client),
            Event::Reachable { client } => self.places[usize::from(client)].is_cut_off = false,
            Event::Start if self.server.is_none() => self.start().await,
            Event::Start => {}
            Event::Collect => {
                self.served(Server::let_collect).await?;
            }
        }
        Ok(())
    }

    // Messages.

    /// Serves a request, and looks what has come of it for everybody.
    async fn serve(&mut self, client: u8, number: u64, request: Request) -> Kept {
        let now = self.now;
        self.catch_up().await?;
        if let Some(place) = self.places.get_mut(usize::from(client)) {
            if number < place.latest_number {
                self.coverage.count("messages reordered");
            }
            place.latest_number = number.max(place.latest_number);
        }
        let Some(server) = &mut self.server else {
            self.send_back(client, number, Back::Failed);
            return Ok(());
        };
        let applied = server.apply(now, &request, &mut self.coverage)?;
        self.note(|_| format!("{} asks: {request:?}", called(client)));
        match applied {
            Applied::Answer(answer) => self.send_back(client, number, Back::Answer(answer)),
            Applied::Parked { ticket, until } => {
                self.coverage.count("parked");
                self.tickets.insert(ticket, (client, number));
                if let Some(place) = self.places.get_mut(usize::from(client)) {
                    place.parked.insert(ticket);
                }
                self.after(until - now, Event::ParkOver);
            }
        }
        self.served(|_| ()).await
    }

    /// Where the litter collection is stalled, one request clears away no more than a little.
    async fn catch_up(&mut self) -> Kept {
        if let Some(server) = &mut self.server
            && server.is_behind(self.now)
        {
            server.remove_expired(self.now).await?;
            self.served(|_| ()).await?;
        }
        Ok(())
    }

    /// Does something to the server, if it is there, and looks what has come of it.
    async fn served(&mut self, act: impl FnOnce(&mut Server)) -> Kept {
        let Some(server) = &mut self.server else { return Ok(()) };
        act(server);
        let answers = server.settle(self.now, &mut self.coverage).await?;
        for (ticket, answer) in answers {
            let Some((client, number)) = self.tickets.remove(&ticket) else { continue };
            if let Some(place) = self.places.get_mut(usize::from(client)) {
                place.parked.remove(&ticket);
            }
            self.send_back(client, number, Back::Answer(answer));
        }
        Ok(())
    }

    /// Sends what a client has to say.
    fn post(&mut self, client: u8) {
        let place = &mut self.places[usize::from(client)];
        for note in std::mem::take(&mut place.client.notes) {
            self.coverage.count(note);
        }
        let left_behind = std::mem::take(&mut place.client.left_behind);
        let gone_by = self.now + LATEST_MESSAGE + self.scenario.lease + 1;
        self.dead.extend(left_behind.into_iter().map(|peer| (peer, gone_by)));
        for (number, request) in std::mem::take(&mut self.places[usize::from(client)].client.outbox)
        {
            self.note(|_| format!("{} sends {number}: {request:?}", called(client)));
            for delay in self.fate(client) {
                let request = request.clone();
                self.after(delay, Event::ToServer { client, number, request });
            }
        }
    }

    fn send_back(&mut self, client: u8, number: u64, back: Back) {
        if client == NOBODY {
            return;
        }
        if let Back::Answer(Answer { result, .. }) = &back {
            self.note(|_| format!("{} is answered {number}: {result:?}", called(client)));
        }
        for delay in self.fate(client) {
            self.after(delay, Event::ToClient { client, number, back: back.clone() });
        }
    }

    /// After which time a message arrives, how often.
    fn fate(&mut self, client: u8) -> Vec<u64> {
        let place = &self.places[usize::from(client)];
        if !place.is_alive || place.is_cut_off {
            return Vec::new();
        }
        if self.is_peace {
            return vec![1];
        }
        let Some(mut chance) = self.dice.decide(Who::Link(client)) else { return vec![1] };
        if chance.one_in(self.scenario.loss) {
            self.coverage.count("messages lost");
            return Vec::new();
        }
        let delay = |chance: &mut Chance| match chance.one_in(40) {
            true => chance.between(50, LATEST_MESSAGE),
            false => chance.between(0, 12),
        };
        let mut delays = vec![delay(&mut chance)];
        if chance.one_in(self.scenario.loss) {
            self.coverage.count("messages doubled");
            delays.push(delay(&mut chance));
        }
        if delays.iter().any(|delay| *delay >= 50) {
            self.coverage.count("messages delayed");
        }
        delays
    }

    fn receive(&mut self, client: u8, number: u64, back: Back) {
        let place = &mut self.places[usize::from(client)];
        if !place.is_alive {
            return;
        }
        if place.is_paused {
            place.mail.push((number, back));
            return;
        }
        let now = place.client.local(self.now);
        let mut chance = Chance::of(number ^ self.now);
        place.client.receive(number, &back, now, &mut chance);
        self.wake(client);
    }

    /// Lets a client do what is to be done now.
    fn wake(&mut self, client: u8) {
        let place = &mut self.places[usize::from(client)];
        let now = place.client.local(self.now);
        place.client.look(now, &mut self.dice, self.is_peace);
        place.wakes += 1;
        let wakes = place.wakes;
        let next = place.client.wakes_at().map(|at| place.client.world(at));
        self.post(client);
        if let Some(next) = next {
            self.after(next.saturating_sub(self.now), Event::Wake { client, wakes });
        }
    }

    // Whatever goes wrong.

    async fn start(&mut self) {
        self.instances += 1;
        self.note(|world| format!("server {} starts", world.instances));
        let wall_clock = self.wall_clock + self.now;
        let (limited, latest) = (self.scenario.limited, self.latest_token);
        let maxes = std::mem::replace(&mut self.next_maxes, SEMAPHORES.map(|it| Some(it.1)));
        let (now, instance) = (self.now, self.instances);
        self.server = Some(Server::start(now, wall_clock, instance, limited, maxes, latest).await);
    }

    // What always holds.

    fn check(&mut self) -> Kept {
        let Some(server) = &self.server else { return Ok(()) };
        let beliefs = self.places.iter().filter(|place| place.is_alive).flat_map(|place| {
            let paused = place.is_paused;
            let is_over = paused && !place.client.is_good(self.now);
            place.client.beliefs(self.now, paused).map(move |belief| (belief, is_over))
        });
        self.beliefs.check(beliefs, server, &mut self.coverage)?;
        let peers = &server.model.peers;
        self.dead.retain(|(peer, gone_by)| *gone_by >= self.now || peers.contains_key(peer));
        let is_collecting = server.is_collecting();
        let ghost = self.dead.iter().find(|(_, gone_by)| *gone_by < self.now && is_collecting);
        promise(GHOSTS, ghost.is_none(), || format!("{ghost:?} is still there at {}", self.now))?;
        if let Some(circle) = super::circles::find(&server.model, &mut self.coverage) {
            let how = format!("{circle:?} of {:?}", server.model.peers);
            return Err(Broken { promise: LEVELS, how });
        }
        // Who looks at metrics clears away what has ended; that is not for those who only check.
        if is_collecting && self.steps.is_multiple_of(512) {
            server.check_metrics()?;
        }
        Ok(())
    }

    // Time.

    fn after(&mut self, time: u64, event: Event) {
        self.scheduled += 1;
        self.queue.push(Reverse((self.now + time, self.scheduled)));
        self.events.insert(self.scheduled, event);
    }

    fn again(&mut self, event: Event, every: u64) {
        if !self.is_peace {
            let mut chance = Chance::of(self.now ^ every);
            self.after(chance.between(1, 2 * every), event);
        }
    }

    fn note(&mut self, text: impl FnOnce(&World) -> String) {
        if self.history.is_some() {
            let line = format!("{:>7} ms  {}", self.now, text(self));
            self.history.iter_mut().for_each(|history| history.push(line.clone()));
        }
    }
}

fn called(client: u8) -> String {
    if client == NOBODY { "somebody".to_owned() } else { format!("client {client}") }
}
