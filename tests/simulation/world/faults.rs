//! What goes wrong: machines die, stop and come back; operators change their mind; strangers keep to
//! no rule.

use super::{Event, LATEST_MESSAGE, NOBODY, Place, World, called};
use crate::{
    dice::{Chance, Who},
    naive::{Maxes, SEMAPHORES},
    program::strange_request,
    promises::Kept,
    server::Server,
    wire::{Back, Request},
};

impl World {
    pub(super) async fn fault(&mut self) -> Kept {
        if self.is_peace {
            return Ok(());
        }
        let Some(mut chance) = self.dice.decide(Who::Fault) else { return Ok(()) };
        let client = chance.between(0, u64::from(self.scenario.clients) - 1) as u8;
        let place = &mut self.places[usize::from(client)];
        let is_free = place.is_alive && !place.is_paused;
        let lease = self.scenario.lease;
        match chance.between(0, 9) {
            0 if self.scenario.is_killable => self.kill(chance),
            1 if self.scenario.is_killable => self.shut_down(chance).await?,
            2 | 3 if is_free => {
                self.coverage.count("clients paused");
                self.note(|_| format!("{} is paused", called(client)));
                place_of(&mut self.places, client).is_paused = true;
                let time = chance.between(1, 3 * lease);
                self.after(time, Event::Resume { client });
            }
            4 | 5 if is_free => self.crash(client, chance).await?,
            6 if is_free && !place.is_cut_off => {
                self.coverage.count("clients cut off");
                place.is_cut_off = true;
                self.note(|_| format!("{} is cut off", called(client)));
                self.after(chance.between(1, 2 * lease), Event::Reachable { client });
            }
            7 if is_free => self.fork(client),
            8 if self.server.as_ref().is_some_and(Server::is_collecting) => {
                self.coverage.count("litter collection stalled");
                self.note(|_| "the litter collection stalls".to_owned());
                self.served(Server::stall_collector).await?;
                self.after(chance.between(1, 2 * lease), Event::Collect);
            }
            9 => {
                self.coverage.count("wall clock set forward");
                self.wall_clock += chance.between(1, 3_600_000);
            }
            _ => {}
        }
        Ok(())
    }

    fn kill(&mut self, mut chance: Chance) {
        let Some(server) = self.server.take() else { return };
        self.coverage.count("server killed");
        self.note(|_| "the server is killed".to_owned());
        self.latest_token = server.ledger.latest_token();
        for ticket in server.kill() {
            let Some((client, number)) = self.tickets.remove(&ticket) else { continue };
            self.send_back(client, number, Back::Failed);
        }
        self.is_down(&mut chance);
    }

    async fn shut_down(&mut self, mut chance: Chance) -> Kept {
        self.served(Server::shut_down).await?;
        let Some(server) = self.server.take() else { return Ok(()) };
        self.coverage.count("server shut down");
        self.note(|_| "the server is shut down".to_owned());
        self.latest_token = server.ledger.latest_token();
        self.is_down(&mut chance);
        Ok(())
    }

    fn is_down(&mut self, chance: &mut Chance) {
        self.places.iter_mut().for_each(|place| place.parked.clear());
        self.tickets.clear();
        if self.scenario.operators > 0 && chance.one_in(2) {
            self.coverage.count("restarts with another configuration");
            self.next_maxes = maxes(chance);
        }
        let time = if chance.one_in(3) { chance.between(1, 3_000) } else { chance.between(1, 200) };
        self.after(time, Event::Start);
    }

    async fn crash(&mut self, client: u8, mut chance: Chance) -> Kept {
        self.coverage.count("clients crashed");
        self.note(|_| format!("{} crashes", called(client)));
        let gone_by = self.now + LATEST_MESSAGE + self.scenario.lease + 1;
        let place = place_of(&mut self.places, client);
        place.is_alive = false;
        self.dead.extend(place.client.peer().map(|peer| (peer, gone_by)));
        let parked = std::mem::take(&mut place.parked);
        if chance.one_in(2) {
            self.served(|server| parked.iter().for_each(|ticket| server.hang_up(*ticket))).await?;
            self.tickets.retain(|ticket, _| !parked.contains(ticket));
        }
        if !chance.one_in(8) {
            self.after(chance.between(1, 4_000), Event::ComeBack { client });
        }
        Ok(())
    }

    pub(super) fn come_back(&mut self, client: u8) {
        let place = place_of(&mut self.places, client);
        if place.is_alive {
            return;
        }
        place.is_alive = true;
        place.mail.clear();
        place.client = place.client.reborn();
        self.wake(client);
    }

    pub(super) fn resume(&mut self, client: u8) -> Kept {
        let place = place_of(&mut self.places, client);
        if !std::mem::take(&mut place.is_paused) || !place.is_alive {
            return Ok(());
        }
        let mail = std::mem::take(&mut place.mail);
        // It looks at its clock first, and then at what has come.
        self.wake(client);
        for (number, back) in mail {
            self.receive(client, number, back);
        }
        Ok(())
    }

    /// A child process has the connections of its parent: what is on its way comes twice.
    fn fork(&mut self, client: u8) {
        self.coverage.count("clients forked");
        self.note(|_| format!("{} forks", called(client)));
        for request in self.places[usize::from(client)].client.on_their_way() {
            for delay in self.fate(client) {
                let request = request.clone();
                self.after(delay, Event::ToServer { client: NOBODY, number: 0, request });
            }
        }
    }

    pub(super) async fn operate(&mut self) -> Kept {
        let now = self.now;
        if self.is_peace || self.server.is_none() {
            return Ok(());
        }
        let Some(mut chance) = self.dice.decide(Who::Operator) else { return Ok(()) };
        let ix = chance.between(0, 3) as usize;
        let max = SEMAPHORES[ix].1 as u64;
        let peers: Vec<u64> =
            self.server.iter().flat_map(|server| server.model.peers.keys()).copied().collect();
        self.catch_up().await?;
        let Some(server) = &mut self.server else { return Ok(()) };
        let mut released = None;
        let what = match chance.between(0, 7) {
            0 | 1 => {
                let max = chance.one_in(2).then(|| chance.between(0, max + 2) as i64);
                server.adjust(now, ix, Some((max, chance.one_in(3))))?;
                "semaphores set by hand"
            }
            2 | 3 => {
                server.adjust(now, ix, None)?;
                "semaphores reset"
            }
            4 if !peers.is_empty() => {
                let peer = chance.pick(&peers);
                server.revoke(now, peer)?;
                released = Some(peer);
                "peers revoked"
            }
            5 if !peers.is_empty() => {
                let id = chance.pick(&peers);
                server.apply(now, &Request::RemovePeer { id }, &mut self.coverage)?;
                released = Some(id);
                "peers released by hand"
            }
            6 => {
                server.configure(now, maxes(&mut chance));
                "configurations read again"
            }
            _ => {
                server.remove_expired(now).await?;
                "expired by hand"
            }
        };
        self.note(|_| format!("operator: {what}, {}", SEMAPHORES[ix].0));
        self.coverage.count(what);
        self.served(|_| ()).await?;
        if let (Some(peer), Some(server)) = (released, &self.server) {
            self.beliefs.release(peer, server.ledger.latest_token());
        }
        Ok(())
    }

    pub(super) fn stray(&mut self) {
        let Some(chance) = self.dice.decide(Who::Stranger).filter(|_| !self.is_peace) else {
            return;
        };
        self.strange += 1;
        let peers: Vec<u64> = self.places.iter().filter_map(|it| it.client.peer()).collect();
        let request = strange_request(chance, self.strange / 2, &peers);
        self.coverage.count("strange requests");
        self.after(0, Event::ToServer { client: NOBODY, number: 0, request });
    }
}

fn place_of(places: &mut [Place], client: u8) -> &mut Place {
    &mut places[usize::from(client)]
}

/// A configuration; D and A may be missing from it (see the naive model).
fn maxes(chance: &mut Chance) -> Maxes {
    let mut maxes = SEMAPHORES.map(|(_, max, _)| Some(chance.between(0, max as u64 + 1) as i64));
    for ix in [0, 3] {
        if chance.one_in(3) {
            maxes[ix] = None;
        }
    }
    maxes
}
