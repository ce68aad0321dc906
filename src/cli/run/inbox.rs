//! Where everything arrives that can happen: answers, signals, news of the command. One thread
//! decides; others only wait for something, and tell it.

use std::{
    io,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use super::place::Place;
use crate::{
    client::{Answer, Client, Request, Trouble},
    clock,
    process::{Group, Happening, Signal, listen},
};

/// The clock is looked at this often at least: waiting may stand still while the machine sleeps.
const NAP: Duration = Duration::from_secs(1);

/// What threads are called that send a request.
const REQUEST: &str = "request";

/// What was asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// For the locks.
    Ask,
    /// To renew the lease.
    Beat,
    /// To bring the peer back after a restart.
    Restore,
    /// To take the peer away.
    Release,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// There is an answer, or there is none.
    Answered(Errand, Result<Answer, Trouble>),
    /// Our place in the queue, if we have one.
    Place(Option<Place>),
    /// A signal came.
    Signal(Signal),
    /// News of the command.
    Command(Happening),
}

/// The one place where events arrive.
#[derive(Debug)]
pub struct Inbox {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

impl Inbox {
    /// Hears of signals from now on.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn open() -> io::Result<Self> {
        let (sender, receiver) = channel();
        let teller = sender.clone();
        // The library panics where there are no more threads, which is told in other words.
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if thread::current().name() != Some(REQUEST) {
                usual(panic);
            }
        }));
        // Nobody listens any more only where the process is about to end.
        listen(move |signal| drop(teller.send(Event::Signal(signal))))?;
        Ok(Inbox { sender, receiver })
    }

    /// Hears of a command from now on.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn hear_of(&self, group: &Group) -> io::Result<()> {
        let teller = self.sender.clone();
        group.watch(move |happening| drop(teller.send(Event::Command(happening))))
    }

    /// Sends a request, whose answer arrives later.
    pub fn send(&self, errand: Errand, client: &Client, request: Request, patience: Duration) {
        let (client, teller) = (client.clone(), self.sender.clone());
        let started = thread::Builder::new().name(REQUEST.to_owned()).spawn(move || {
            // Where there are no more threads, that is no answer to the library, but a panic.
            let send = AssertUnwindSafe(|| client.send(&request, patience));
            let answer = catch_unwind(send).unwrap_or_else(|_| {
                Err(Trouble::not_sent("a request failed, for want of threads or memory".to_owned()))
            });
            let _ = teller.send(Event::Answered(errand, answer));
        });
        if let Err(error) = started {
            let text = format!("no thread for a request: {error}");
            let trouble = Trouble::not_sent(text);
            let _ = self.sender.send(Event::Answered(errand, Err(trouble)));
        }
    }

    /// Has something happen once more, for whoever looks next.
    pub fn put_back(&self, event: Event) {
        // It holds a receiver itself, so this does not fail.
        let _ = self.sender.send(event);
    }

    /// Looks for a peer's place among those who wait, which arrives later.
    pub fn look_for_place(&self, client: &Client, peer: u64, names: Vec<String>) {
        let (client, teller) = (client.clone(), self.sender.clone());
        // Where no thread can be had, people are shown less.
        let _ = thread::Builder::new().name(REQUEST.to_owned()).spawn(move || {
            let find = AssertUnwindSafe(|| Place::find(&client, peer, &names));
            let _ = teller.send(Event::Place(catch_unwind(find).unwrap_or_default()));
        });
    }

    /// Waits; what happens meanwhile is kept for later.
    pub fn pause(&self, length: Duration) {
        let until = clock::since_boot() + length;
        let mut kept = Vec::new();
        while clock::since_boot() < until {
            let event = self.next(until);
            let is_urgent =
                matches!(event, Some(Event::Signal(signal)) if signal.asks_for_the_end());
            kept.extend(event);
            if is_urgent {
                break;
            }
        }
        kept.into_iter().for_each(|event| self.put_back(event));
    }

    /// The next thing that happens; `None` once it is `until`, and now and then before.
    pub fn next(&self, until: Duration) -> Option<Event> {
        let wait = until.saturating_sub(clock::since_boot()).min(NAP);
        // It holds a sender itself, so it is never disconnected.
        self.receiver.recv_timeout(wait).ok()
    }
}
