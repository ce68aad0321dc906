//! `throttle release`: take away what others hold.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::Args;
use serde::Deserialize;

use super::{
    Remote,
    print::print,
    shown::{duration, escaped, time},
};
use crate::client::{Client, REPLY, Request, Trouble};

/// Release peers, and all that they hold and wait for.
///
/// Their locks go to the next in the queue, whether or not those who held them know. Prints whose
/// locks went. A peer that does not exist is an error; the others are released all the same.
#[derive(Args, Clone, Debug)]
pub struct Release {
    /// Ids of peers, as `throttle ps SEMAPHORE` shows them.
    #[arg(required = true, value_name = "PEER", value_parser = peer_id)]
    pub peers: Vec<u64>,

    /// They must not come back: until their leases would have ended, they are refused. This is for
    /// administrators, see THROTTLE_ADMIN_TOKEN.
    #[arg(long)]
    pub revoke: bool,

    #[command(flatten)]
    remote: Remote,
}

/// A peer, as far as it is told of.
#[derive(Deserialize)]
struct Peer {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    acquired: BTreeMap<String, i64>,
    #[serde(default)]
    pending: BTreeMap<String, i64>,
    #[serde(default, deserialize_with = "time")]
    expires_in: Duration,
}

impl Release {
    /// Releases them.
    ///
    /// # Errors
    /// [`Trouble`], and peers that there are not.
    pub fn execute(&self) -> anyhow::Result<ExitCode> {
        let client = self.remote.client()?;
        let mut unknown = Vec::new();
        for peer in &self.peers {
            match self.release(&client, *peer)? {
                Some(line) => print(&line)?,
                None => unknown.push(peer.to_string()),
            }
        }
        if !unknown.is_empty() {
            let (s, url) = (if unknown.len() == 1 { "" } else { "s" }, client.url());
            let unknown = unknown.join(", ");
            bail!("no peer{s} {unknown} at {url}; `throttle ps SEMAPHORE` shows those that hold it")
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What is to be said of it; `None` where there is no such peer.
    fn release(&self, client: &Client, id: u64) -> Result<Option<String>, Trouble> {
        let looked_at = match client.send(&Request::new("GET", ["peers", &id.to_string()]), REPLY) {
            Err(trouble) if trouble.is("unknown_peer") => return Ok(None),
            looked_at => looked_at?,
        };
        let stranger = |body| Trouble::stranger(client.url(), body);
        let peer: Peer = looked_at.json().ok_or_else(|| stranger(&looked_at.body))?;
        let mut request = Request::new("DELETE", ["peers", &id.to_string()]);
        if self.revoke {
            request = request.with("revoke", true).administrative();
        }
        let released = client.send(&request, REPLY)?;
        match released.json::<String>().as_deref() {
            Some("Peer released") => Ok(Some(self.in_one_line(id, &peer))),
            Some("Peer not found") => Ok(None),
            _ => Err(stranger(&released.body)),
        }
    }

    /// Such as `released 42 etl@node7: 3 of A, waited for 2 of B`.
    fn in_one_line(&self, id: u64, peer: &Peer) -> String {
        let done = if self.revoke { "revoked" } else { "released" };
        let name = peer.name.as_deref().map(escaped).unwrap_or_default();
        let blank = if name.is_empty() { "" } else { " " };
        let locks = |locks: &BTreeMap<String, i64>| {
            let locks = locks.iter().map(|(name, count)| format!("{count} of {}", escaped(name)));
            locks.collect::<Vec<_>>().join(", ")
        };
        let what = match (locks(&peer.acquired), locks(&peer.pending)) {
            (held, waited) if held.is_empty() && waited.is_empty() => "it held nothing".to_owned(),
            (held, waited) if held.is_empty() => format!("it waited for {waited}"),
            (held, waited) if waited.is_empty() => held,
            (held, waited) => format!("{held}, and it waited for {waited}"),
        };
        let lease = duration(peer.expires_in);
        let until = if self.revoke { format!("; refused for {lease}") } else { String::new() };
        format!("{done} {id}{blank}{name}: {what}{until}\n")
    }
}

fn peer_id(text: &str) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(id) if is_number => Ok(id),
        _ if is_number => Err(format!("ids end at {}", u64::MAX)),
        _ => {
            Err("ids are whole numbers; `throttle ps SEMAPHORE` shows them beside the names"
                .to_owned())
        }
    }
}
