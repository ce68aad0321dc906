//! What a server says of its semaphores: asked for, put together from its pages, and read.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Number, Value};

use crate::{
    cli::shown::time,
    client::{Client, REPLY, Request, Trouble},
};

/// No page of a server is longer.
pub const PAGE: usize = 1_000;

/// The lists of a semaphore that come in pages.
const LISTS: [&str; 2] = ["held_by", "queue"];

/// How many of those who hold and wait are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All, page by page.
    All,
    /// As many as one page has; a terminal shows no more.
    Some,
}

/// A semaphore, and how full it is. What a server does not say is nothing.
#[derive(Clone, Debug, Deserialize)]
pub struct Semaphore {
    pub name: String,
    pub max: i64,
    #[serde(default)]
    pub level: i32,
    pub acquired: i64,
    pub pending: Number,
    #[serde(default)]
    pub waiting: usize,
    #[serde(default)]
    pub holders: usize,
    #[serde(default, deserialize_with = "time")]
    pub longest_pending: Duration,
    #[serde(default)]
    pub paused: bool,
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub configured: Option<Configured>,
}

/// What the configuration says of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Configured {
    pub max: i64,
    #[serde(default)]
    pub level: i32,
}

/// A semaphore, who holds it and who waits.
#[derive(Clone, Debug, Deserialize)]
pub struct View {
    #[serde(flatten)]
    pub semaphore: Semaphore,
    #[serde(default)]
    pub held_by: Vec<Holder>,
    #[serde(default)]
    pub queue: Vec<Waiting>,
}

/// Whose lock it is.
#[derive(Clone, Debug, Deserialize)]
pub struct Who {
    pub peer: u64,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// An acquired lock.
#[derive(Clone, Debug, Deserialize)]
pub struct Holder {
    #[serde(flatten)]
    pub who: Who,
    pub count: i64,
    #[serde(default, deserialize_with = "time")]
    pub held_for: Duration,
    #[serde(default, deserialize_with = "time")]
    pub expires_in: Duration,
}

/// A pending lock.
#[derive(Clone, Debug, Deserialize)]
pub struct Waiting {
    #[serde(flatten)]
    pub who: Who,
    pub position: usize,
    pub count: i64,
    #[serde(default, deserialize_with = "time")]
    pub pending_for: Duration,
    #[serde(default)]
    pub waits_for: BTreeMap<String, i64>,
    #[serde(default, deserialize_with = "time")]
    pub expires_in: Duration,
}

impl Semaphore {
    /// All of a list; `None` where it is no such list.
    pub fn read_all(answer: &Value) -> Option<Vec<Self>> {
        Vec::deserialize(answer).ok()
    }
}

impl View {
    /// `None` where it is something else.
    pub fn read(answer: &Value) -> Option<Self> {
        View::deserialize(answer).ok()
    }
}

/// All semaphores, as the server has them.
pub fn at_all(client: &Client) -> Result<Value, Trouble> {
    ask(client, &Request::new("GET", ["semaphores"]))
}

/// One of them, as the server has it, with all pages of its lists in one. Who comes or goes while
/// they are asked for may be missed, but is never there twice.
pub fn at_one(client: &Client, name: &str, reach: Reach) -> Result<Value, Trouble> {
    let (mut view, mut lists) = page(client, name, 0)?;
    let mut known = lists.each_ref().map(|list| list.iter().map(peer).collect::<HashSet<_>>());
    let mut is_last = reach == Reach::Some || is_short(&lists);
    let mut offset = 0;
    while !is_last {
        offset += PAGE;
        let (_, next) = page(client, name, offset)?;
        is_last = is_short(&next);
        let mut is_news = false;
        for ((list, known), entries) in lists.iter_mut().zip(&mut known).zip(next) {
            let length = list.len();
            list.extend(entries.into_iter().filter(|entry| known.insert(peer(entry))));
            is_news |= list.len() > length;
        }
        // Whoever knows no pages would answer the same for ever.
        is_last |= !is_news;
    }
    for (name, list) in LISTS.iter().zip(lists) {
        view[name] = Value::Array(list);
    }
    Ok(view)
}

/// A page: what is said of the semaphore, and the entries of its lists.
fn page(
    client: &Client,
    name: &str,
    offset: usize,
) -> Result<(Value, [Vec<Value>; LISTS.len()]), Trouble> {
    let request = Request::new("GET", ["semaphores", name]);
    let mut view: Value = ask(client, &request.with("offset", offset).with("limit", PAGE))?;
    let mut lists = [const { Vec::new() }; LISTS.len()];
    for (name, list) in LISTS.iter().zip(&mut lists) {
        match view.get_mut(name).map(Value::take) {
            Some(Value::Array(entries)) => *list = entries,
            _ => return Err(Trouble::stranger(client.url(), &view.to_string())),
        }
    }
    Ok((view, lists))
}

/// Whether there cannot be another page.
fn is_short(lists: &[Vec<Value>]) -> bool {
    lists.iter().all(|list| list.len() < PAGE)
}

fn peer(entry: &Value) -> Option<u64> {
    entry.get("peer").and_then(Value::as_u64)
}

fn ask<T: DeserializeOwned>(client: &Client, request: &Request) -> Result<T, Trouble> {
    let answer = client.send(request, REPLY)?;
    answer.json().ok_or_else(|| Trouble::stranger(client.url(), &answer.body))
}
