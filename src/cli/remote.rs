//! Which server a subcommand talks to.

use std::env;

use clap::Args;

use crate::{
    client::{Client, REPLY, Request, ServerUrl, Trouble},
    nearest::nearest,
};

/// The token for administrative requests. Not an option, for anybody can read the options of a
/// process.
const ADMIN_TOKEN: &str = "THROTTLE_ADMIN_TOKEN";

/// Which server to talk to.
#[derive(Args, Clone, Debug)]
pub struct Remote {
    /// Where the server is.
    #[arg(
        long,
        value_name = "URL",
        env = "THROTTLE_URL",
        hide_env_values = true,
        default_value = "http://localhost:8000"
    )]
    pub url: ServerUrl,
}

impl Remote {
    /// The way there.
    pub fn client(&self) -> Client {
        let token = env::var(ADMIN_TOKEN).ok().filter(|token| !token.is_empty());
        Client::new(self.url.clone()).with_admin_token(token)
    }
}

/// Says more of a refusal for want of such a semaphore: which one the caller may have meant.
pub fn explain(client: &Client, trouble: Trouble, names: &[impl AsRef<str>]) -> anyhow::Error {
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    if !trouble.is("unknown_semaphore") {
        return trouble.into();
    }
    let listed = client.send(&Request::new("GET", ["semaphores"]), REPLY).ok();
    let known: Vec<Named> = listed.and_then(|answer| answer.json()).unwrap_or_default();
    let known: Vec<&str> = known.iter().map(|named| named.name.as_str()).collect();
    let unknown = names.iter().map(AsRef::as_ref).find(|name| !known.contains(name));
    let unknown = unknown.unwrap_or_default();
    let url = client.url();
    let remedy = match nearest(unknown, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`throttle ps` lists those that there are".to_owned(),
    };
    anyhow::anyhow!("unknown semaphore `{unknown}` at {url}; {remedy}")
}
