//! Each client takes what nobody else wants and gives it back, again and again. What is counted is
//! requests. How a client asks and releases is for a [`Dialect`].

use std::time::Instant;

use anyhow::{Result, bail};

use super::{
    Counting, Tally,
    hand_off::{Dialect, Meaning},
};
use crate::engine::{Load, Reply, Turn};

/// The clients, one a connection.
#[derive(Debug)]
pub struct Alone<D> {
    dialect: D,
    is_holding: Vec<bool>,
    tally: Tally,
}

impl<D: Dialect> Alone<D> {
    /// So many clients.
    pub fn new(dialect: D, clients: usize) -> Self {
        let (is_holding, tally) = (vec![false; clients], Tally::default());
        Alone { dialect, is_holding, tally }
    }
}

impl<D: Dialect> Load for Alone<D> {
    fn turn(&mut self, client: usize, _: Instant, request: &mut Vec<u8>) -> Turn {
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
