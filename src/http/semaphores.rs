//! Semaphores: list, look at, and, for administrators, resize, pause, and undo that.

use actix_web::dev::ServiceRequest;
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use super::{
    Answer, Api, admin, answer, body, duration,
    error::Refusal,
    openapi::{parameters, refusals, values},
    path,
    shown::{self, Locks, Map, Who},
};
use crate::{
    fields::Integer,
    semaphore::{
        Adjustment, Holding, Page, PendingLock, SemaphoreConfig, SemaphoreSnapshot, SemaphoreView,
        Source,
    },
};

const EXAMPLE: &str = "an object such as `{\"max\": 5}` or `{\"paused\": true}`";

/// Unless another one is asked for.
const FIRST_PAGE: Page = Page { offset: 0, limit: 100 };

/// What is to be changed by hand. One of them must be there.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Adjustment, min_properties = 1)]
struct Change {
    /// How many permits there shall be. A smaller max revokes nothing.
    #[serde(default, deserialize_with = "max")]
    #[schema(nullable = false, minimum = 0)]
    max: Option<i64>,
    /// Whether nothing shall be granted.
    #[serde(default, deserialize_with = "paused")]
    #[schema(nullable = false)]
    paused: Option<bool>,
}

/// A semaphore, and how full it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Semaphore)]
struct Shown {
    name: String,
    /// How many permits there are. It differs from that of the configuration while it is resized by
    /// hand.
    #[schema(minimum = 0)]
    max: i64,
    /// Its rank in the lock hierarchy.
    level: i32,
    /// How many permits are held. Above max, it is over-committed.
    #[schema(minimum = 0)]
    acquired: i64,
    /// How many permits are waited for.
    #[schema(minimum = 0)]
    pending: i128,
    /// How many peers wait.
    waiting: usize,
    /// How many peers hold.
    holders: usize,
    /// How long the first of those who wait has waited.
    #[schema(value_type = values::Milliseconds)]
    longest_pending: String,
    /// Whether nothing is granted.
    paused: bool,
    /// Where it comes from: it is named in the configuration, was made by a template of it, or has
    /// left it, and goes once nobody holds or waits.
    source: ShownSource,
    /// What the configuration says, if it says anything.
    #[schema(required)]
    configured: Option<Configured>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Source)]
enum ShownSource {
    File,
    Template,
    Removed,
}

/// A semaphore as the configuration has it.
#[derive(Serialize, ToSchema)]
struct Configured {
    max: i64,
    level: i32,
}

/// A semaphore, who holds it, and who waits.
#[derive(Serialize, ToSchema)]
#[schema(as = SemaphoreView)]
struct View {
    #[serde(flatten)]
    semaphore: Shown,
    /// Oldest first.
    held_by: Vec<Holder>,
    /// In the order in which they are served.
    queue: Vec<Waiting>,
}

/// An acquired lock.
#[derive(Serialize, ToSchema)]
struct Holder {
    #[serde(flatten)]
    who: Who,
    #[schema(value_type = values::Count)]
    count: i64,
    /// None where the lock was restored without it.
    #[schema(required, value_type = Option<values::Token>)]
    token: Option<u64>,
    #[schema(value_type = values::Time)]
    since: String,
    #[schema(value_type = values::Milliseconds)]
    held_for: String,
    /// What is left of the peer's lease.
    #[schema(value_type = values::Milliseconds)]
    expires_in: String,
}

/// A pending lock.
#[derive(Serialize, ToSchema)]
struct Waiting {
    /// Counted from 1.
    #[schema(minimum = 1)]
    position: usize,
    #[serde(flatten)]
    who: Who,
    #[schema(value_type = values::Count)]
    count: i64,
    #[schema(value_type = values::Time)]
    since: String,
    #[schema(value_type = values::Milliseconds)]
    pending_for: String,
    /// What of its ask is not reserved for it yet.
    #[schema(value_type = values::Locks)]
    waits_for: Locks,
    /// What is left of the peer's lease.
    #[schema(value_type = values::Milliseconds)]
    expires_in: String,
}

/// Lists all semaphores, in the order of their names.
#[utoipa::path(
    get, path = "/semaphores", operation_id = "list_semaphores", tag = "semaphores",
    responses((status = 200, description = "The semaphores.", body = Vec<Shown>)),
)]
pub fn list(api: &Api) -> Answer {
    let semaphores = api.state.overview().semaphores;
    answer::json(&semaphores.into_iter().map(Shown::from).collect::<Vec<_>>()).into()
}

/// Shows a semaphore, and a page of who holds it and of who waits for it.
///
/// `offset` and `limit` apply to both lists.
#[utoipa::path(
    get, path = "/semaphores/{semaphore}", operation_id = "show_semaphore", tag = "semaphores",
    params(parameters::Semaphore, parameters::Page),
    responses(
        (status = 200, description = "The semaphore.", body = View),
        refusals::ShowSemaphore,
    ),
)]
pub fn show(api: &Api, request: &ServiceRequest, name: &str) -> Result<Answer, Refusal> {
    let page = path::page(request)?.unwrap_or(FIRST_PAGE);
    let SemaphoreView { semaphore, holders, queue } =
        api.state.semaphore(&path::name(name)?, page)?;
    let view = View {
        semaphore: Shown::from(semaphore),
        held_by: holders.into_iter().map(|holding| holder(api, holding)).collect(),
        queue: queue.into_iter().map(|pending_lock| waiting(api, pending_lock)).collect(),
    };
    Ok(answer::json(&view).into())
}

/// Resizes or pauses a semaphore.
///
/// A smaller max revokes nothing; asks that could now never be granted are withdrawn.
#[utoipa::path(
    put, path = "/semaphores/{semaphore}", operation_id = "adjust_semaphore",
    tag = "administration",
    params(parameters::Semaphore),
    request_body = Change,
    responses(
        (status = 200, description = "The semaphore as it is now.", body = Shown),
        refusals::AdjustSemaphore,
    ),
    security((), ("token" = [])),
)]
pub fn adjust(
    api: &Api,
    request: &ServiceRequest,
    name: &str,
    body: &[u8],
) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let by = admin::check(&api.admin, request)?;
    let Change { max, paused } = body::parse(body, EXAMPLE)?;
    if max.is_none() && paused.is_none() {
        let reason = "neither `max` nor `paused` is there".to_owned();
        return Err(Refusal::BadBody { reason, expected: EXAMPLE });
    }
    let adjusted = api.state.adjust(&path::name(name)?, Adjustment { max, paused }, &by)?;
    Ok(answer::json(&Shown::from(adjusted)).into())
}

/// Undoes what was set of a semaphore by hand.
///
/// Its max is again that of the configuration, and it is not paused.
#[utoipa::path(
    delete, path = "/semaphores/{semaphore}", operation_id = "reset_semaphore",
    tag = "administration",
    params(parameters::Semaphore),
    responses(
        (status = 200, description = "The semaphore as it is now.", body = Shown),
        refusals::ResetSemaphore,
    ),
    security((), ("token" = [])),
)]
pub fn reset(api: &Api, request: &ServiceRequest, name: &str) -> Result<Answer, Refusal> {
    path::no_query(request)?;
    let by = admin::check(&api.admin, request)?;
    let reset = api.state.reset(&path::name(name)?, &by)?;
    Ok(answer::json(&Shown::from(reset)).into())
}

impl From<SemaphoreSnapshot> for Shown {
    fn from(semaphore: SemaphoreSnapshot) -> Self {
        let configured = |SemaphoreConfig { max, level }| Configured { max, level };
        Shown {
            name: semaphore.name.as_ref().to_owned(),
            max: semaphore.max,
            level: semaphore.level,
            acquired: semaphore.acquired,
            pending: semaphore.pending,
            waiting: semaphore.waiting,
            holders: semaphore.holders,
            longest_pending: duration::milliseconds(semaphore.longest_pending),
            paused: semaphore.is_paused,
            source: match semaphore.source {
                Source::File => ShownSource::File,
                Source::Template => ShownSource::Template,
                Source::Removed => ShownSource::Removed,
            },
            configured: semaphore.configured.map(configured),
        }
    }
}

fn holder(api: &Api, holding: Holding) -> Holder {
    Holder {
        who: Who::of(holding.peer, &holding.about),
        count: holding.count,
        token: holding.token.map(|token| token.number()),
        since: shown::time(api, holding.since),
        held_for: duration::milliseconds(holding.held_for),
        expires_in: duration::milliseconds(holding.expires_in),
    }
}

fn waiting(api: &Api, pending_lock: PendingLock) -> Waiting {
    Waiting {
        position: pending_lock.position,
        who: Who::of(pending_lock.peer, &pending_lock.about),
        count: pending_lock.count,
        since: shown::time(api, pending_lock.since),
        pending_for: duration::milliseconds(pending_lock.pending_for),
        waits_for: Map::of(pending_lock.waits_for),
        expires_in: duration::milliseconds(pending_lock.expires_in),
    }
}

fn max<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Integer(max) = Integer::deserialize(deserializer)?;
    match max {
        0.. => Ok(Some(max)),
        _ => Err(de::Error::custom(format!("`max` {max} is negative, expected 0 or more"))),
    }
}

/// Not `null`, which would look as if it were resumed.
fn paused<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    bool::deserialize(deserializer).map(Some)
}
