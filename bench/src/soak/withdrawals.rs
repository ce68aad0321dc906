//! Locks that are withdrawn by somebody else while a request waits for them, and peers that are
//! released meanwhile.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use super::{
    books::{Books, Stage},
    http::{self, Sent},
};
use crate::{
    engine::{Reply, Turn},
    loads::expect_ok,
};

/// How often it is looked for what is due.
const TICK: Duration = Duration::from_millis(40);

/// How the request that waited was answered.
#[derive(Clone, Copy, Debug)]
struct Waited {
    code: u16,
    token: Option<u64>,
}

#[derive(Debug)]
struct Withdrawal {
    place: usize,
    id: u64,
    path: String,
    /// The whole peer is released.
    is_removal: bool,
    due: Instant,
    is_sent: bool,
    is_answered: bool,
    waited: Option<Waited>,
}

/// Those that are planned or on their way, the oldest first.
#[derive(Debug, Default)]
pub struct Withdrawals {
    all: Vec<Withdrawal>,
    /// Whether the connection has sent its first request. One that is too long in coming counts as
    /// half-sent.
    is_opened: bool,
}

impl Withdrawals {
    /// Plans one, of what the peer at that place waits for.
    pub fn plan(&mut self, place: usize, id: u64, path: &str, is_removal: bool, due: Instant) {
        self.all.push(Withdrawal {
            place,
            id,
            path: path.to_owned(),
            is_removal,
            due,
            is_sent: false,
            is_answered: false,
            waited: None,
        });
    }

    /// What the connection does next that withdraws. When all shall come to rest, it does what is
    /// planned at once.
    pub fn turn(
        &mut self,
        books: &mut Books,
        address: SocketAddr,
        is_quiet: bool,
        now: Instant,
        request: &mut Vec<u8>,
    ) -> Turn {
        if !self.is_opened {
            request.extend_from_slice(&Sent::new("GET", "/health").bytes(address));
            return Turn::Send;
        }
        let is_due = |one: &&mut Withdrawal| !one.is_sent && (is_quiet || one.due <= now);
        let Some(one) = self.all.iter_mut().find(is_due) else {
            return match is_quiet {
                true => Turn::Rest,
                false => Turn::At(now + TICK),
            };
        };
        one.is_sent = true;
        // Nobody does anything else with this peer until both are through.
        books.peers[one.place].is_withdrawn_by_other = true;
        let target = match one.is_removal {
            true => {
                books.let_go_all(one.place);
                format!("/peers/{}", one.id)
            }
            false => format!("/peers/{}/{}", one.id, one.path),
        };
        request.extend_from_slice(&Sent::new("DELETE", &target).bytes(address));
        Turn::Send
    }

    /// A withdrawal was answered.
    ///
    /// # Errors
    /// Where the answer is not as it must be.
    pub fn reply(&mut self, books: &mut Books, reply: &Reply<'_>) -> Result<()> {
        expect_ok(reply)?;
        if !std::mem::replace(&mut self.is_opened, true) {
            return Ok(());
        }
        *books.done.entry("withdrawals by others").or_default() += 1;
        let Some(at) = self.all.iter().position(|one| one.is_sent && !one.is_answered) else {
            bail!("an answer to no withdrawal");
        };
        let expected = if self.all[at].is_removal { "\"Peer released\"" } else { "Ok" };
        ensure!(reply.body == expected.as_bytes(), "not {expected}: {}", reply.excerpt());
        self.all[at].is_answered = true;
        self.settle(at, books)
    }

    /// A request that waited was answered. Returns whether somebody else was withdrawing what it
    /// waited for: then this is dealt with.
    ///
    /// # Errors
    /// Where the answer is not as it must be.
    pub fn answered(&mut self, books: &mut Books, place: usize, reply: &Reply<'_>) -> Result<bool> {
        let Some(at) = self.all.iter().position(|one| one.place == place) else {
            return Ok(false);
        };
        if !self.all[at].is_sent {
            self.all.remove(at);
            return Ok(false);
        }
        self.all[at].waited = Some(Waited { code: reply.code, token: http::token(reply) });
        let is_withdrawn = reply.code == 409 && http::code(reply) == "withdrawn";
        let is_unknown = reply.code == 400 && http::code(reply) == "unknown_peer";
        ensure!(
            matches!(reply.code, 200 | 202)
                || (is_unknown && self.all[at].is_removal)
                || (is_withdrawn && !self.all[at].is_removal),
            "not one of the answers to a lock that is withdrawn meanwhile"
        );
        self.settle(at, books)?;
        Ok(true)
    }

    fn settle(&mut self, at: usize, books: &mut Books) -> Result<()> {
        let (Some(waited), true) = (self.all[at].waited, self.all[at].is_answered) else {
            return Ok(());
        };
        let Withdrawal { place, is_removal, .. } = self.all.remove(at);
        books.peers[place].is_withdrawn_by_other = false;
        match waited.code {
            200 => {
                ensure!(waited.token.is_some(), "a grant without a token");
                books.grant_briefly(place);
            }
            400 => books.refuse("unknown_peer"),
            409 => books.refuse("withdrawn"),
            _ => {}
        }
        if is_removal {
            books.leave(place, Stage::Absent);
            return Ok(());
        }
        // The withdrawal may have overtaken the request, which then asked anew.
        if waited.code != 409 {
            books.peers[place].maybe_asked = books.peers[place].pending.clone();
            books.peers[place].must_look = true;
        }
        books.end_pending(place);
        Ok(())
    }
}
