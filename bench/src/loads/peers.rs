//! Single requests, and the same one for many peers: what goes before and after a measurement.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::expect_ok;
use crate::{
    api::{self, PeerRequest},
    engine::{Connections, Load, Reply, Turn},
};

/// So long it may take to make them all. A server that looks at every peer at each request needs
/// some minutes for a hundred thousand.
const AT_MOST: Duration = Duration::from_secs(30 * 60);

/// Peers that are to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// How many.
    pub count: usize,
    /// The length of their leases, or the moment at which all of them shall end.
    pub lease: Lease,
    /// The semaphore of which some take a permit, and the share of those: every n-th.
    pub holding: Option<(&'a str, usize)>,
}

impl Wanted<'_> {
    /// Peers without locks that last.
    pub fn idle(count: usize) -> Self {
        Wanted { count, lease: Lease::LONG, holding: None }
    }
}

/// When leases end.
#[derive(Clone, Copy, Debug)]
pub enum Lease {
    /// So long after each peer was made.
    For(Duration),
    /// All at once.
    Until(Instant),
}

impl Lease {
    /// Long enough never to matter.
    pub const LONG: Lease = Lease::For(Duration::from_secs(12 * 60 * 60));
}

/// Makes peers, and returns their ids.
///
/// # Errors
/// Where the server refuses.
pub fn make(connections: &mut Connections, wanted: Wanted<'_>) -> Result<Vec<u64>> {
    let address = connections.address();
    let mut load = Make {
        address,
        wanted,
        asked: 0,
        ids: Vec::with_capacity(wanted.count),
        acquire: wanted.holding.map(|(name, _)| PeerRequest::acquire(address, name, None)),
        to_acquire: vec![None; connections.count()],
        is_acquiring: vec![false; connections.count()],
    };
    connections.finish(&mut load, AT_MOST)?;
    Ok(load.ids)
}

struct Make<'a> {
    address: SocketAddr,
    wanted: Wanted<'a>,
    asked: usize,
    ids: Vec<u64>,
    acquire: Option<PeerRequest>,
    /// The peer that each connection lets acquire next.
    to_acquire: Vec<Option<u64>>,
    is_acquiring: Vec<bool>,
}

impl Load for Make<'_> {
    fn turn(&mut self, connection: usize, now: Instant, request: &mut Vec<u8>) -> Turn {
        if let (Some(id), Some(acquire)) = (self.to_acquire[connection].take(), &self.acquire) {
            self.is_acquiring[connection] = true;
            acquire.write(id, request);
            return Turn::Send;
        }
        if self.asked == self.wanted.count {
            return Turn::Rest;
        }
        self.asked += 1;
        let lease = match self.wanted.lease {
            Lease::For(lease) => lease,
            Lease::Until(end) => end.saturating_duration_since(now),
        };
        request.extend_from_slice(&api::new_peer(self.address, lease.as_millis() as u64));
        Turn::Send
    }

    fn reply(&mut self, connection: usize, reply: &Reply<'_>, _: Instant) -> Result<()> {
        expect_ok(reply)?;
        if std::mem::take(&mut self.is_acquiring[connection]) {
            return Ok(());
        }
        let id = std::str::from_utf8(reply.body)?.trim().parse().context("no peer id")?;
        self.ids.push(id);
        if self.wanted.holding.is_some_and(|(_, every)| self.ids.len().is_multiple_of(every)) {
            self.to_acquire[connection] = Some(id);
        }
        Ok(())
    }
}

/// Sends the same request for each of some peers.
///
/// # Errors
/// Where the server refuses one.
pub fn for_each(connections: &mut Connections, ids: &[u64], request: PeerRequest) -> Result<()> {
    connections.finish(&mut ForEach { ids: ids.iter(), request }, AT_MOST)
}

struct ForEach<'a> {
    ids: std::slice::Iter<'a, u64>,
    request: PeerRequest,
}

impl Load for ForEach<'_> {
    fn turn(&mut self, _: usize, _: Instant, request: &mut Vec<u8>) -> Turn {
        match self.ids.next() {
            None => Turn::Rest,
            Some(id) => {
                self.request.write(*id, request);
                Turn::Send
            }
        }
    }

    fn reply(&mut self, _: usize, reply: &Reply<'_>, _: Instant) -> Result<()> {
        expect_ok(reply)
    }
}

/// One request, and what is answered.
///
/// # Errors
/// Where that is not 200.
pub fn once(connections: &mut Connections, request: Vec<u8>) -> Result<Vec<u8>> {
    let mut load = Once { request: Some(request), answer: Vec::new() };
    connections.finish(&mut load, AT_MOST)?;
    Ok(load.answer)
}

struct Once {
    request: Option<Vec<u8>>,
    answer: Vec<u8>,
}

impl Load for Once {
    fn turn(&mut self, _: usize, _: Instant, request: &mut Vec<u8>) -> Turn {
        match self.request.take() {
            None => Turn::Rest,
            Some(bytes) => {
                request.extend_from_slice(&bytes);
                Turn::Send
            }
        }
    }

    fn reply(&mut self, _: usize, reply: &Reply<'_>, _: Instant) -> Result<()> {
        expect_ok(reply)?;
        self.answer = reply.body.to_vec();
        Ok(())
    }
}
