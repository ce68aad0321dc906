//! HTTP: requests are translated here, once, and decided elsewhere.
//!
//! `route` is the table of all routes. It is a plain `match` on the segments of the path, behind
//! the one default service of the actix app: actix's own path matching would cost as much as all
//! the rest of a request. Handlers take a request apart, make one call to [`State`], and shape the
//! answer; the one place that shapes refusals is `error`.

mod admin;
mod answer;
mod asks;
mod body;
mod duration;
mod entries;
mod error;
mod health;
mod locks;
mod metrics;
mod pages;
mod path;
mod peers;
mod remainder;
mod restore;

use std::{pin::Pin, rc::Rc, sync::Arc, time::Duration};

use actix_web::{
    Error, HttpMessage, HttpResponse,
    dev::{ServiceRequest, ServiceResponse, Url},
    http::{
        ConnectionType, Method, Uri,
        header::{HeaderMap, HeaderValue},
    },
    web::Bytes,
};
use smallvec::SmallVec;

use self::error::{Asker, Refusal};
use crate::{in_flight::InFlight, logging::Log, metrics::Metrics, state::State, watch::Connection};

/// What all workers of one server share.
#[derive(Clone)]
pub struct Api {
    /// The books.
    pub state: Arc<State>,
    /// The metrics of this server.
    pub metrics: Arc<Metrics>,
    /// Counts the requests that are being answered.
    pub in_flight: InFlight,
    /// Knows what could not be logged.
    pub log: Log,
    /// How much of a request is accepted, and for how long.
    pub limits: Limits,
    /// The token for administrative routes; without one they are for this machine alone.
    pub admin: Option<Box<str>>,
    /// Tells this start of the server from others.
    pub instance: HeaderValue,
}

/// What bounds a single request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// No request is parked for longer. Whoever means to wait for longer asks again, and keeps its
    /// place in the queue.
    pub max_block_for: Duration,
    /// No body is longer, in bytes.
    pub max_body: usize,
    /// A body must have arrived by then, counted from the end of the head.
    pub body_timeout: Duration,
}

type LaterAnswer = Pin<Box<dyn Future<Output = Result<HttpResponse, Refusal>>>>;

/// What a handler comes back with.
enum Answer {
    /// The answer itself.
    Now(HttpResponse),
    /// The answer is still to come; the request is parked.
    Later(LaterAnswer),
}

/// How far a request has come.
enum Begun {
    /// It is answered.
    Answered(HttpResponse),
    /// It is parked, and may still be refused.
    Parked(LaterAnswer, Asker),
}

/// Answers one request.
///
/// # Errors
/// None: refusals are answers too. The signature is actix's.
#[expect(
    clippy::manual_async_fn,
    reason = "that would keep its arguments twice, also while parked"
)]
pub fn serve(
    api: Rc<Api>,
    mut request: ServiceRequest,
) -> impl Future<Output = Result<ServiceResponse, Error>> {
    async move {
        let connection = request.request().conn_data::<Rc<Connection>>();
        let answering = connection.map(Connection::answer);
        let body = body::read(&mut request, &api.limits).await;
        // Only now: a request that is sent by halves shall not hold up a shutdown.
        let entered = api.in_flight.enter();
        let mut response = match begin(&api, &mut request, body) {
            Begun::Answered(response) => response,
            Begun::Parked(answer, asker) => {
                answer.await.unwrap_or_else(|refusal| refusal.respond(&asker, &api.metrics))
            }
        };
        response.headers_mut().append(answer::INSTANCE, api.instance.clone());
        if api.in_flight.is_draining() {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        Ok(request.into_response(answer::in_flight_until_written(response, &entered, answering)))
    }
}

/// Decides about a request whose body has arrived or was refused.
fn begin(api: &Rc<Api>, request: &mut ServiceRequest, body: Result<Bytes, Refusal>) -> Begun {
    match body.and_then(|body| route(api, request, &body)) {
        Ok(Answer::Now(response)) => Begun::Answered(response),
        Ok(Answer::Later(answer)) => {
            let asker = Asker::of(request);
            let_go_of_head(request);
            Begun::Parked(answer, asker)
        }
        Err(refusal) => {
            let response = refusal.respond(&Asker::of(request), &api.metrics);
            // Were a body that was left unread dropped before, actix would wait for the rest of it,
            // however long that takes, instead of closing the connection.
            Begun::Answered(answer::keep_until_written(response, request.take_payload()))
        }
    }
}

/// The table of routes.
fn route(api: &Rc<Api>, request: &ServiceRequest, body: &[u8]) -> Result<Answer, Refusal> {
    let segments = segments(request.path());
    let method = match *request.method() {
        // actix leaves out the body where the method is HEAD.
        Method::HEAD => &Method::GET,
        ref method => method,
    };
    match (method, segments.as_slice()) {
        (&Method::PUT, ["peers" | "peer", id, name]) => {
            locks::acquire(api, request, id, name, body)
        }
        (&Method::DELETE, ["peers" | "peer", id, name]) => locks::release(api, request, id, name),
        (&Method::GET, ["peers" | "peer", id, "is_acquired"]) => peers::is_acquired(api, id),
        (&Method::GET, ["peers" | "peer"] | ["peers" | "peer", ""]) => Ok(peers::list(api)),
        (&Method::GET, ["peers" | "peer", id]) => peers::show(api, id),
        (&Method::PUT, ["peers" | "peer", id]) if !id.is_empty() => {
            peers::renew(api, request, id, body)
        }
        (&Method::DELETE, ["peers" | "peer", id]) if !id.is_empty() => {
            peers::release(api, request, id)
        }
        (&Method::POST, ["new_peer"]) => peers::create(api, request, body),
        (&Method::POST, ["remove_expired"]) => peers::remove_expired(api, request),
        (&Method::POST, ["restore"]) => restore::restore(api, request, body),
        (&Method::GET, ["remainder"]) => remainder::remainder(api, request),
        (&Method::GET, ["metrics"]) => Ok(metrics::metrics(api)),
        (&Method::GET, ["health"]) => Ok(health::alive()),
        (&Method::GET, ["health", "ready"]) => Ok(health::ready(api)),
        (&Method::GET, ["health", "granting"]) => Ok(health::granting(api)),
        (&Method::GET, ["version"]) => Ok(pages::version()),
        (&Method::GET, ["favicon.ico"]) => Ok(pages::favicon()),
        (&Method::GET, [""]) => Ok(pages::greeting()),
        (_, segments) => Err(match allowed_methods(segments) {
            Some(allow) => Refusal::MethodNotAllowed { allow },
            None => Refusal::NotFound,
        }),
    }
}

/// The methods of each path that exists. A test holds this against `route`.
fn allowed_methods(segments: &[&str]) -> Option<&'static str> {
    Some(match segments {
        ["peers" | "peer"] | ["peers" | "peer", ""] => "GET, HEAD",
        ["peers" | "peer", _] => "DELETE, GET, HEAD, PUT",
        ["peers" | "peer", _, "is_acquired"] => "DELETE, GET, HEAD, PUT",
        ["peers" | "peer", _, _] => "DELETE, PUT",
        ["new_peer" | "remove_expired" | "restore"] => "POST",
        ["remainder" | "metrics" | "health" | "version" | "favicon.ico" | ""] => "GET, HEAD",
        ["health", "ready" | "granting"] => "GET, HEAD",
        _ => return None,
    })
}

/// The first two parts of a path and all the rest of it, not decoded.
///
/// A semaphore's name may thus hold slashes, which some published clients do not escape; and a base
/// URL that ends with a slash, which leads to paths with two in front, does no harm.
fn segments(path: &str) -> SmallVec<[&str; 3]> {
    let mut rest = path.trim_start_matches('/');
    let mut segments = SmallVec::new();
    // By bytes: on so short texts a search costs more than it saves.
    while segments.len() < 2
        && let Some(end) = rest.bytes().position(|byte| byte == b'/')
    {
        segments.push(&rest[..end]);
        rest = &rest[end + 1..];
    }
    segments.push(rest);
    segments
}

/// Frees what actix keeps of a request while it is parked: ten times as much as the waiter itself.
fn let_go_of_head(request: &mut ServiceRequest) {
    *request.match_info_mut() = actix_web::dev::Path::new(Url::default());
    let head = request.head_mut();
    head.headers = HeaderMap::new();
    head.uri = Uri::default();
}

impl From<HttpResponse> for Answer {
    fn from(response: HttpResponse) -> Self {
        Answer::Now(response)
    }
}
