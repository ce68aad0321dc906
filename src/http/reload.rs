//! `POST /reload`: reads the configuration again. For administrators.

use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Api, admin, answer, error::Refusal, openapi::refusals, path};
use crate::{
    feed::Reloaded,
    semaphore::{Changes, Kept},
};

/// What a new configuration changed, by the names of semaphores.
#[derive(Serialize, ToSchema)]
#[schema(as = Reloaded)]
pub struct Shown {
    /// Those that are new, or were on their way out.
    added: Vec<String>,
    /// Those that have another max or level now, or come from elsewhere.
    changed: Vec<String>,
    /// Those that left the configuration: they serve who holds or waits, and go.
    removed: Vec<String>,
    /// Those that are not as the configuration has them.
    kept: Vec<ShownKept>,
    /// Tables and keys of the configuration that take effect after a restart only.
    needs_restart: Vec<String>,
}

/// A semaphore that is not as the configuration has it.
#[derive(Serialize, ToSchema)]
#[schema(as = Kept)]
struct ShownKept {
    semaphore: String,
    /// Why not, for people.
    reason: String,
}

/// Reads the configuration again.
///
/// What it says of semaphores takes effect at once. What was set by hand stays, and so do the
/// levels of semaphores that are in use. A bad configuration changes nothing.
#[utoipa::path(
    post, path = "/reload", operation_id = "reload", tag = "administration",
    responses(
        (status = 200, description = "What has changed.", body = Shown),
        refusals::Reload,
    ),
    security((), ("token" = [])),
)]
pub fn reload(api: &Api, request: &ServiceRequest) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let by = admin::check(&api.admin, request)?;
    let reloader = api.reloader.clone();
    Ok(Answer::Later(Box::pin(async move {
        match reloader.reload(by).await {
            Ok(reloaded) => Ok(answer::json(&Shown::from(&*reloaded))),
            Err(error) => Err(Refusal::BadConfiguration { reason: format!("{error:#}") }),
        }
    })))
}

impl From<&Reloaded> for Shown {
    fn from(reloaded: &Reloaded) -> Self {
        let Changes { added, changed, removed, kept } = &reloaded.changes;
        let names = |names: &[Arc<str>]| names.iter().map(|name| name.to_string()).collect();
        let kept = kept.iter().map(|Kept { semaphore, reason }| ShownKept {
            semaphore: semaphore.to_string(),
            reason: reason.to_string(),
        });
        Shown {
            added: names(added),
            changed: names(changed),
            removed: names(removed),
            kept: kept.collect(),
            needs_restart: reloaded.needs_restart.iter().map(|key| (*key).to_owned()).collect(),
        }
    }
}
