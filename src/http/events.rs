//! `GET /events`: what happens, as server-sent events, for the page and for programs.
//!
//! Each listener fetches at its own pace. After each batch it pauses for a moment, so that a busy
//! server does not spend its time on those who look on; whoever wants to know more than that brings
//! misses something.

use std::{
    convert::Infallible,
    fmt::Write,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    body::{BodySize, MessageBody},
    dev::ServiceRequest,
    http::{Method, header},
    web::Bytes,
};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{
    Answer, Api, duration,
    error::Refusal,
    openapi::{refusals, values},
    path, reload,
    shown::{self, Who},
};
use crate::{
    clock::Stopwatch,
    feed::{Batch, Entry, Listener, MOST_LISTENERS, News},
    semaphore::{Event, Happening, PeerId},
};

/// A listener is told so often that nothing happens: otherwise neither it nor what lies between
/// would know that the connection still stands.
const QUIET: Duration = Duration::from_secs(15);

/// Between two batches.
const PAUSE: Duration = Duration::from_millis(100);

/// Browsers try again after so long.
const RETRY_MS: u32 = 2_000;

/// Something that happened to a lock.
#[derive(Serialize, ToSchema)]
#[schema(as = LockEvent)]
pub struct ShownLock<'a> {
    #[schema(value_type = values::Time)]
    at: String,
    #[serde(flatten)]
    who: Who,
    semaphore: &'a str,
    /// Of a lock that shrinks: by how much.
    #[schema(value_type = values::Count)]
    count: i64,
    #[schema(required, value_type = Option<values::Token>)]
    token: Option<u64>,
    /// How long it had waited or been held before.
    #[schema(value_type = values::Milliseconds)]
    after: String,
}

/// A semaphore was resized, paused or resumed by hand.
#[derive(Serialize, ToSchema)]
#[schema(as = ResizedEvent)]
pub struct ShownResized<'a> {
    #[schema(value_type = values::Time)]
    at: String,
    semaphore: &'a str,
    /// Its max from now on.
    max: i64,
    /// Whether it grants nothing from now on.
    paused: bool,
    /// The address of whoever asked for it.
    by: &'a str,
}

/// The configuration was read again.
#[derive(Serialize, ToSchema)]
#[schema(as = ReloadedEvent)]
pub struct ShownReloaded<'a> {
    #[schema(value_type = values::Time)]
    at: String,
    /// The address of whoever asked for it, or `SIGHUP`.
    by: &'a str,
    #[serde(flatten)]
    changes: reload::Shown,
}

/// Tells what happens, as server-sent events.
///
/// From now on, or from `Last-Event-ID` on. Each event has an `id`, which means nothing by itself,
/// and JSON as its `data`:
///
/// - `granted`, `released`, `pending`, `cancelled`, `expired`, `restored`: `LockEvent`, one a lock.
/// - `resized`: `ResizedEvent`, also where a semaphore was paused or resumed.
/// - `reloaded`: `ReloadedEvent`.
/// - `missed`: `{}`. Some events are lost, for more has happened than is kept, or the server was
///   restarted: look at everything anew.
///
/// When nothing happens, an `id` alone comes every 15 seconds. On a busy server, events come in
/// batches.
#[utoipa::path(
    get, path = "/events", operation_id = "events", tag = "monitoring",
    params(
        ("semaphore" = Option<String>, Query, description = "Leaves out events about other semaphores."),
        ("peer" = Option<values::PeerId>, Query, description = "Leaves out events about other peers."),
        (
            "Last-Event-ID" = Option<String>, Header,
            description = "The `id` of the last event that was seen: what came after it is sent \
                           first, as far as it is kept.",
        ),
        (
            "last_event_id" = Option<String>, Query,
            description = "As `Last-Event-ID`, for those who cannot set headers.",
        ),
    ),
    responses(
        (
            status = 200,
            description = "A stream that ends when the server shuts down.",
            body = String, content_type = "text/event-stream",
        ),
        refusals::Events,
    ),
)]
pub fn listen(api: &Rc<Api>, request: &ServiceRequest) -> Result<Answer, Refusal> {
    let known = ["semaphore", "peer", "last_event_id"];
    let [semaphore, peer, last] = path::query(request.query_string(), known)?;
    // What is no text is no id of ours.
    let header = request.headers().get("last-event-id").map(|id| id.to_str().unwrap_or("?"));
    let seen = header.or(last.as_deref()).filter(|id| !id.is_empty()).map(|id| number(api, id));
    let filter = Filter {
        peer: peer.map(|id| path::peer_id(&id)).transpose()?,
        semaphore: semaphore.map(|name| name.into_owned()),
    };
    let refused = Refusal::TooManyListeners { max: MOST_LISTENERS };
    let listener = api.state.feed().listen(seen).ok_or(refused)?;
    let stream = Stream::new(listener, api.clone(), filter);
    // actix would send none of it, but wait for its end.
    let has_body = request.method() != Method::HEAD;
    let next = has_body.then(|| -> Step { Box::pin(stream.next()) });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Some proxies would wait for the end of the answer.
        .insert_header(("X-Accel-Buffering", "no"))
        .body(Body { next })
        .into())
}

/// The number of an event that was seen, by its id; one that never was for what is no id of this
/// start of the server.
fn number(api: &Api, id: &str) -> u64 {
    id.split_once('-')
        .filter(|(instance, _)| api.instance == *instance)
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(u64::MAX)
}

/// What a listener wants to know.
struct Filter {
    semaphore: Option<String>,
    peer: Option<PeerId>,
}

impl Filter {
    fn lets_through(&self, news: &News) -> bool {
        let is_wanted = |name: &str| self.semaphore.as_ref().is_none_or(|wanted| wanted == name);
        match news {
            News::Lock(event) => {
                is_wanted(&event.semaphore) && self.peer.is_none_or(|peer| peer == event.peer)
            }
            News::Resized { semaphore, .. } => is_wanted(semaphore),
            News::Reloaded(_) => true,
        }
    }
}

/// The events of one listener.
struct Stream {
    listener: Listener,
    api: Rc<Api>,
    filter: Filter,
    has_begun: bool,
    /// Whether something was just fetched, be it sent or not.
    must_pause: bool,
    /// Runs since something was sent last.
    quiet: Stopwatch,
}

impl Stream {
    fn new(listener: Listener, api: Rc<Api>, filter: Filter) -> Self {
        let quiet = Stopwatch::start();
        Stream { listener, api, filter, has_begun: false, must_pause: false, quiet }
    }

    /// The next piece of the answer, and the rest; `None` once the server shuts down.
    async fn next(mut self) -> Option<(Bytes, Stream)> {
        let mut text = String::new();
        if !self.has_begun {
            self.has_begun = true;
            self.put(&mut text, format_args!("retry: {RETRY_MS}\n"));
            self.put_id(&mut text, self.listener.seen());
        }
        while text.is_empty() {
            if std::mem::take(&mut self.must_pause) {
                self.listener.pause(PAUSE).await;
            }
            let left = QUIET.saturating_sub(self.quiet.elapsed());
            if let Ok(batch) = timeout(left, self.listener.next()).await {
                self.must_pause = true;
                self.write(&batch?, &mut text);
            }
            // Also where events come that it does not want to know.
            if text.is_empty() && self.quiet.elapsed() >= QUIET {
                self.put_id(&mut text, self.listener.seen());
            }
        }
        self.quiet = Stopwatch::start();
        Some((text.into(), self))
    }

    fn write(&self, batch: &Batch, text: &mut String) {
        if batch.has_missed {
            self.put(text, format_args!("event: missed\ndata: {{}}\n"));
            self.put_id(text, batch.seen);
        }
        for entry in batch.entries.iter().filter(|entry| self.filter.lets_through(&entry.news)) {
            let (name, data) = self.shown(entry);
            self.put(text, format_args!("event: {name}\ndata: {data}\n"));
            self.put_id(text, entry.number);
        }
    }

    /// The id up to which all was seen, and the end of a message; alone it is none.
    fn put_id(&self, text: &mut String, number: u64) {
        let instance = self.api.instance.to_str().unwrap_or_default();
        self.put(text, format_args!("id: {instance}-{number}\n\n"));
    }

    fn put(&self, text: &mut String, arguments: std::fmt::Arguments<'_>) {
        // A string takes all that is written to it.
        let _ = text.write_fmt(arguments);
    }

    /// The name of an event, and what is said of it.
    fn shown(&self, entry: &Entry) -> (&'static str, String) {
        let at = shown::time(&self.api, entry.at);
        match &entry.news {
            News::Lock(event) => (happening(event.happening), json(&shown_lock(at, event))),
            News::Resized { semaphore, max, is_paused, by } => {
                let (max, paused) = (*max, *is_paused);
                ("resized", json(&ShownResized { at, semaphore, max, paused, by }))
            }
            News::Reloaded(reloaded) => {
                let changes = reload::Shown::from(&**reloaded);
                ("reloaded", json(&ShownReloaded { at, by: &reloaded.by, changes }))
            }
        }
    }
}

fn happening(happening: Happening) -> &'static str {
    match happening {
        Happening::Granted => "granted",
        Happening::Released => "released",
        Happening::Pending => "pending",
        Happening::Cancelled => "cancelled",
        Happening::Expired => "expired",
        Happening::Restored => "restored",
    }
}

fn shown_lock(at: String, event: &Event) -> ShownLock<'_> {
    ShownLock {
        at,
        who: Who::of(event.peer, &event.about),
        semaphore: &event.semaphore,
        count: event.count,
        token: event.token.map(|token| token.number()),
        after: duration::milliseconds(event.after),
    }
}

/// On one line, as server-sent events want it.
fn json(value: &impl Serialize) -> String {
    // Texts, numbers and lists of them can always be written.
    serde_json::to_string(value).unwrap_or_default()
}

/// The next piece of an answer, and the rest.
type Step = Pin<Box<dyn Future<Output = Option<(Bytes, Stream)>>>>;

/// The stream as the body of an answer.
struct Body {
    next: Option<Step>,
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        loop {
            let Some(next) = &mut self.next else { return Poll::Ready(None) };
            let (bytes, stream) = match ready!(next.as_mut().poll(context)) {
                Some((bytes, stream)) => (bytes, Some(stream)),
                None => (Bytes::new(), None),
            };
            self.next = stream.map(|stream| Box::pin(stream.next()) as _);
            // An empty piece would be taken for the end.
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(bytes)));
            }
        }
    }
}
