//! A fair semaphore in Redis: a counter and a queue, changed by scripts.
//!
//! In its favour: nothing is written to disk, scripts are sent once and then named, and what a
//! production setting cannot do without is left out: no permit of a client that died ever comes
//! back, no wait has an end, and a wake-up that nobody receives is lost with its permit.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{Running, Setting, unexpected};
use crate::{
    engine::{Connections, Reply},
    loads::{
        hand_off::{Dialect, Meaning},
        peers,
    },
    process::{Process, free_address},
    wire::{Protocol, redis::command},
};

/// How a client learns that it is its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Whoever releases passes the permit to the first in the queue, and pushes to a list on which
    /// that one blocks.
    Woken,
    /// It asks again and again. This is what most libraries do.
    Polling,
}

/// As often as is usual; more often costs the server more, and is no faster with many clients.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Takes a permit (1) or a place in the queue (0). Those who wait are passed permits, so that there
/// is no free one while there is a queue.
const ACQUIRE_OR_QUEUE: &str = "\
local taken = tonumber(redis.call('GET', KEYS[1]) or '0')
if taken < tonumber(ARGV[1]) and redis.call('LLEN', KEYS[2]) == 0 then
  redis.call('INCR', KEYS[1])
  return 1
end
redis.call('RPUSH', KEYS[2], ARGV[2])
return 0";

/// Passes the permit on (1), or puts it back (0). The list of whom it wakes is not among the keys,
/// which is good only for a server that is no cluster.
const RELEASE_AND_WAKE: &str = "\
local next = redis.call('LPOP', KEYS[2])
if next then
  redis.call('LPUSH', 'wake:' .. next, '1')
  return 1
end
redis.call('DECR', KEYS[1])
return 0";

/// Takes a permit if there is one for the first in the queue and this is it (1); else sees to it
/// that this client is in the queue (0).
const ACQUIRE_IN_TURN: &str = "\
if redis.call('SADD', KEYS[3], ARGV[2]) == 1 then
  redis.call('RPUSH', KEYS[2], ARGV[2])
end
local taken = tonumber(redis.call('GET', KEYS[1]) or '0')
if taken >= tonumber(ARGV[1]) or redis.call('LINDEX', KEYS[2], 0) ~= ARGV[2] then
  return 0
end
redis.call('LPOP', KEYS[2])
redis.call('SREM', KEYS[3], ARGV[2])
redis.call('INCR', KEYS[1])
return 1";

/// Starts a server, teaches it the scripts, and connects the clients.
///
/// # Errors
/// As [`super::Found::start`].
pub fn start(program: &Path, wait: Wait, setting: Setting) -> Result<Running> {
    let folder = TempDir::new()?;
    let address = free_address()?;
    let mut server = Command::new(program);
    server.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    server.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
    server.arg("--dir").arg(folder.path());
    let process = Process::start(&mut server, address, setting.placement)?;
    let mut connections = Connections::open(address, Protocol::Redis, setting.clients)?;
    let clients = clients(&mut connections, wait, setting)?;
    Ok(Running { process, connections, dialect: Box::new(Redis { clients }), folder })
}

/// One client: what it sends, and how far it is.
struct Client {
    acquire: Vec<u8>,
    /// What it sends once it is in the queue and what that is answered with, if it is woken.
    wait: Option<(Vec<u8>, Vec<u8>)>,
    release: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asks,
    Waits,
    Releases,
}

fn clients(connections: &mut Connections, wait: Wait, setting: Setting) -> Result<Vec<Client>> {
    let mut load = |script: &str| -> Result<String> {
        let answer = peers::once(connections, command(&["SCRIPT", "LOAD", script]))?;
        let answer = String::from_utf8(answer)?;
        Ok(answer.lines().last().context("no name for a script")?.to_owned())
    };
    let max = setting.max.unwrap_or(setting.clients + 1).to_string();
    let client = |acquire: &str, client: usize| {
        let (name, keys) = (client.to_string(), ["taken", "queue", "queued"]);
        let parts = ["EVALSHA", acquire, "3", keys[0], keys[1], keys[2], &max, &name];
        Client { acquire: command(&parts), wait: None, release: Vec::new(), state: State::Asks }
    };
    match wait {
        Wait::Polling => {
            let acquire = load(ACQUIRE_IN_TURN)?;
            let release = command(&["DECR", "taken"]);
            let polls = |index| Client { release: release.clone(), ..client(&acquire, index) };
            Ok((0..setting.clients).map(polls).collect())
        }
        Wait::Woken => {
            let (acquire, release) = (load(ACQUIRE_OR_QUEUE)?, load(RELEASE_AND_WAKE)?);
            let release = command(&["EVALSHA", &release, "2", "taken", "queue"]);
            let is_woken = |index: usize| {
                let list = format!("wake:{index}");
                let mut woken = command(&[&list, "1"]);
                woken.truncate(woken.len() - 2);
                let wait = Some((command(&["BLPOP", &list, "0"]), woken));
                Client { wait, release: release.clone(), ..client(&acquire, index) }
            };
            Ok((0..setting.clients).map(is_woken).collect())
        }
    }
}

struct Redis {
    clients: Vec<Client>,
}

impl Dialect for Redis {
    fn ask(&mut self, client: usize, request: &mut Vec<u8>) {
        let client = &self.clients[client];
        let wait = client.wait.as_ref().filter(|_| client.state == State::Waits);
        request.extend_from_slice(wait.map_or(&client.acquire, |(wait, _)| wait));
    }

    fn release(&mut self, client: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.clients[client].release);
    }

    fn read(&mut self, client: usize, reply: &Reply<'_>) -> Result<Meaning> {
        let client = &mut self.clients[client];
        let woken = client.wait.as_ref().map(|(_, woken)| &woken[..]);
        let (state, meaning) = match (client.state, reply.body) {
            (State::Asks, b":1") => (State::Releases, Meaning::Granted),
            (State::Asks, b":0") if woken.is_some() => (State::Waits, Meaning::NotYet),
            (State::Asks, b":0") => (State::Asks, Meaning::TryAfter(POLL_EVERY)),
            (State::Waits, body) if Some(body) == woken => (State::Releases, Meaning::Granted),
            // A negative number would be that of permits that were given back twice.
            (State::Releases, [b':', b'0'..=b'9', ..]) => (State::Asks, Meaning::Released),
            (state, _) => return Err(unexpected(&format!("{state:?}"), reply)),
        };
        client.state = state;
        Ok(meaning)
    }
}
