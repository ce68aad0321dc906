//! Each client takes what nobody else wants and gives it back, again and again. What is counted is
//! requests. How a client asks and releases is for a [`Dialect`].

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{
    Counting, Tally,
    hand_off::{Dialect, Meaning},
};
use crate::engine::{Connections, Load, Reply, Turn};

/// The clients, one a connection.
#[derive(Debug)]
pub struct Alone<D> {
    dialect: D,
    is_holding: Vec<bool>,
    is_ending: bool,
    tally: Tally,
}

impl<D: Dialect> Alone<D> {
    /// So many clients.
    pub fn new(dialect: D, clients: usize) -> Self {
        let (is_holding, tally) = (vec![false; clients], Tally::default());
        Alone { dialect, is_holding, is_ending: false, tally }
    }

    /// Lets the last answers come in.
    ///
    /// # Errors
    /// As [`Connections::finish`].
    pub fn end(&mut self, connections: &mut Connections) -> Result<()> {
        self.is_ending = true;
        connections.finish(self, Duration::from_secs(30))?;
        self.is_ending = false;
        Ok(())
    }
}

impl<D: Dialect> Load for Alone<D> {
    fn turn(&mut self, client: usize, _: Instant, request: &mut Vec<u8>) -> Turn {
        if self.is_ending {
            return Turn::Rest;
        }
        if self.is_holding[client] {
            self.dialect.release(client, request);
        } else {
            self.dialect.ask(client, request);
        }
        Turn::Send
    }

    fn reply(&mut self, client: usize, reply: &Reply<'_>, _: Instant) -> Result<()> {
        self.tally.add(reply.waited);
        self.is_holding[client] = match (self.is_holding[client], self.dialect.read(client, reply)?)
        {
            (false, Meaning::Granted) => true,
            (true, Meaning::Released) => false,
            (_, meaning) => bail!("{meaning:?}, though nobody else wants it"),
        };
        Ok(())
    }
}

impl<D: Dialect> Counting for Alone<D> {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
