//! One peer: what it asks for, and the requests that it sends.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    about::About,
    inbox::{Errand, Inbox},
    locks::Locks,
};
use crate::{
    client::{Client, Request},
    ids::random_chosen_id,
};

/// One peer, from its first ask to the end. Its id is drawn here and not used again, so that a
/// release which reaches the server late hits nobody else.
#[derive(Debug)]
pub struct Peer {
    /// The way to the server.
    pub client: Client,
    /// Where answers arrive.
    pub inbox: Inbox,
    /// Its id at the server.
    pub id: u64,
    /// What it asks for, or holds.
    pub locks: Locks,
    /// The length of its lease.
    pub length: Duration,
    about: About,
}

impl Peer {
    /// One that the server does not know yet.
    pub fn new(client: Client, inbox: Inbox, locks: Locks, about: About, length: Duration) -> Self {
        Peer { client, inbox, id: random_chosen_id(), locks, length, about }
    }

    /// Becomes another one, that the server does not know yet.
    pub fn begin_anew(&mut self) {
        self.id = random_chosen_id();
    }

    /// Asks for its locks. The server may hold the answer back for `park`; without it, nothing is
    /// to wait in the queue. This can be repeated: nothing is taken twice, and the place is kept.
    pub fn ask(&self, park: Option<Duration>, patience: Duration) {
        let request = Request::new("POST", ["new_peer"]);
        let request = match park {
            None => request.with("queue", false),
            Some(park) => request.with("block_for", spell(park)),
        };
        let body = self.body(json!({"acquire": self.locks.json()}));
        self.send(Errand::Ask, request.body(body), patience);
    }

    /// Renews its lease.
    pub fn beat(&self, patience: Duration) {
        let request = Request::new("PUT", ["peers".to_owned(), self.id.to_string()]);
        let request = request.body(json!({"expires_in": spell(self.length)}));
        self.send(Errand::Beat, request, patience);
    }

    /// Comes back with all that it holds, after a restart of the server.
    pub fn restore(&self, token: Option<u64>, patience: Duration) {
        let mut body = self.body(json!({"acquired": self.locks.json()}));
        if let Some(token) = token {
            body["tokens"] = self.locks.each(token);
        }
        self.send(Errand::Restore, Request::new("POST", ["restore"]).body(body), patience);
    }

    /// Goes, with all that it holds or waits for.
    pub fn release(&self, patience: Duration) {
        let request = Request::new("DELETE", ["peers".to_owned(), self.id.to_string()]);
        self.send(Errand::Release, request, patience);
    }

    fn body(&self, mut body: Value) -> Value {
        body["expires_in"] = spell(self.length).into();
        body["peer_id"] = self.id.into();
        self.about.add_to(&mut body);
        body
    }

    fn send(&self, errand: Errand, request: Request, patience: Duration) {
        self.inbox.send(errand, &self.client, request, patience);
    }
}

/// A duration as the server reads it.
fn spell(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
