//! `GET /history`: the last fifteen minutes, for the page.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Api, answer, duration, openapi::values, shown};
use crate::samples::{self, Curve, Samples};

/// Samples. Each list is as long as the others, and the newest sample comes last.
#[derive(Serialize, ToSchema)]
#[schema(as = History)]
struct Shown {
    /// When the newest sample was taken.
    #[schema(value_type = values::Time)]
    at: String,
    /// Between two samples.
    #[schema(value_type = values::Milliseconds)]
    interval: String,
    /// How many peers there were.
    #[schema(max_items = 90)]
    peers: Vec<usize>,
    /// How many requests were parked.
    #[schema(max_items = 90)]
    waiters: Vec<usize>,
    /// Semaphores that somebody held or waited for in that time.
    semaphores: BTreeMap<String, ShownCurve>,
}

/// How full a semaphore was.
#[derive(Serialize, ToSchema)]
#[schema(as = Curve)]
struct ShownCurve {
    /// How many permits were held.
    #[schema(max_items = 90)]
    acquired: Vec<i64>,
    /// How many permits were waited for.
    #[schema(max_items = 90)]
    pending: Vec<i64>,
}

/// Answers the last fifteen minutes in samples.
///
/// One is taken every ten seconds. After a start there are fewer.
#[utoipa::path(
    get, path = "/history", operation_id = "history", tag = "monitoring",
    responses((status = 200, description = "The samples.", body = Shown)),
)]
pub fn history(api: &Api) -> Answer {
    let Samples { at, peers, waiters, semaphores } = api.sampler.samples();
    let semaphores = semaphores.iter().map(|(name, curve)| (name.to_string(), shown_curve(curve)));
    answer::json(&Shown {
        at: shown::date(at),
        interval: duration::milliseconds(samples::INTERVAL),
        peers: peers.into(),
        waiters: waiters.into(),
        semaphores: semaphores.collect(),
    })
    .into()
}

fn shown_curve(curve: &Curve) -> ShownCurve {
    let (acquired, pending) = curve.iter().copied().unzip();
    ShownCurve { acquired, pending }
}
