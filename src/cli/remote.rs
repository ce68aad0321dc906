//! Which server a subcommand talks to.

use std::env;

use anyhow::Context;
use clap::Args;

use super::look::Semaphore;
use crate::{
    client::{Client, REPLY, Request, ServerUrl, Trouble},
    nearest::nearest,
};

/// The token for administrative requests. Not an option, for anybody can read the options of a
/// process.
const ADMIN_TOKEN: &str = "THROTTLE_ADMIN_TOKEN";

/// Where the server is, unless an option says it.
const URL: &str = "THROTTLE_URL";

/// Where it is, unless anybody says anything.
const DEFAULT_URL: &str = "http://localhost:8000";

/// Which server to talk to.
#[derive(Args, Clone, Debug)]
pub struct Remote {
    /// Where the server is. Without it: what THROTTLE_URL says, or http://localhost:8000.
    #[arg(long, value_name = "URL")]
    url: Option<ServerUrl>,
}

impl Remote {
    /// The way there. What is set to nothing in the environment is not set.
    ///
    /// # Errors
    /// Where the environment names no URL.
    pub fn client(&self) -> anyhow::Result<Client> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let url = match (&self.url, set(URL)) {
            (Some(url), _) => url.clone(),
            (None, Some(url)) => url.parse().with_context(|| format!("bad {URL}"))?,
            (None, None) => DEFAULT_URL.parse()?,
        };
        Ok(Client::new(url).with_admin_token(set(ADMIN_TOKEN)))
    }
}

/// Says more of a refusal for want of such a semaphore: which one the caller may have meant.
pub fn explain(client: &Client, trouble: Trouble, names: &[impl AsRef<str>]) -> anyhow::Error {
    if !trouble.is("unknown_semaphore") {
        return trouble.into();
    }
    let listed = client.send(&Request::new("GET", ["semaphores"]), REPLY).ok();
    let known: Vec<Semaphore> = listed.and_then(|answer| answer.json()).unwrap_or_default();
    let known: Vec<&str> = known.iter().map(|semaphore| semaphore.name.as_str()).collect();
    let unknown = names.iter().map(AsRef::as_ref).find(|name| !known.contains(name));
    // It may have come to exist meanwhile.
    let Some(unknown) = unknown else { return trouble.into() };
    let url = client.url();
    let remedy = match nearest(unknown, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`throttle ps` lists those that there are".to_owned(),
    };
    anyhow::anyhow!("unknown semaphore `{unknown}` at {url}; {remedy}")
}
