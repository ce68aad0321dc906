//! HTTP: requests are translated here, once, and decided elsewhere.
//!
//! `routes` has the table of all paths, `answer_to` that of all handlers. It is a plain `match`
//! behind the one default service of the actix app. Handlers take a request apart, make one call to
//! [`State`], and shape the answer; the one place that shapes refusals is `error`.

mod admin;
mod answer;
mod asks;
mod body;
pub mod duration;
mod entries;
mod error;
mod events;
mod health;
mod history;
mod labels;
mod locks;
mod metrics;
mod openapi;
mod pages;
mod path;
mod peers;
mod reload;
mod remainder;
mod restore;
mod routes;
mod semaphores;
mod shown;

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

pub use self::routes::PATTERNS;
use self::{
    error::{Asker, Refusal},
    routes::{Resource, Route},
};
use crate::{
    clock::Stopwatch,
    in_flight::InFlight,
    logging::Log,
    metrics::{Metrics, Traffic},
    reload::Reloader,
    samples::Sampler,
    state::State,
    watch::Connection,
};

/// What all workers of one server share.
#[derive(Clone)]
pub struct Api {
    /// The books.
    pub state: Arc<State>,
    /// The metrics of this server.
    pub metrics: Arc<Metrics>,
    /// Where this worker counts its requests.
    pub traffic: Arc<Traffic>,
    /// Reads the configuration again.
    pub reloader: Arc<Reloader>,
    /// Has the last fifteen minutes.
    pub sampler: Arc<Sampler>,
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
        let stopwatch = Stopwatch::start();
        let connection = request.request().conn_data::<Rc<Connection>>();
        let answering = connection.map(Connection::answer);
        let body = body::read(&mut request, &api.limits).await;
        // Only now: a request that is sent by halves shall not hold up a shutdown.
        let entered = api.in_flight.enter();
        let (resource, begun) = begin(&api, &mut request, body);
        let mut response = match begun {
            Begun::Answered(response) => response,
            Begun::Parked(answer, asker) => {
                answer.await.unwrap_or_else(|refusal| refusal.respond(&asker, &api.metrics))
            }
        };
        response.headers_mut().append(answer::INSTANCE, api.instance.clone());
        if api.in_flight.is_draining() {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        let (method, status) = (request.method().as_str(), response.status().as_u16());
        api.traffic.count(resource as usize, method, status, stopwatch.elapsed());
        Ok(request.into_response(answer::in_flight_until_written(response, &entered, answering)))
    }
}

/// Decides about a request whose body has arrived or was refused.
fn begin(
    api: &Rc<Api>,
    request: &mut ServiceRequest,
    body: Result<Bytes, Refusal>,
) -> (Resource, Begun) {
    let route = Route::of(request.method(), request.path());
    let resource = route.resource;
    let begun = match body.and_then(|body| answer_to(api, request, route, &body)) {
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
    };
    (resource, begun)
}

/// The table of handlers.
fn answer_to(
    api: &Rc<Api>,
    request: &ServiceRequest,
    Route { resource, id, name }: Route<'_>,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let method = match *request.method() {
        // actix leaves out the body where the method is HEAD.
        Method::HEAD => &Method::GET,
        ref method => method,
    };
    match (method, resource) {
        (&Method::PUT, Resource::Lock) => locks::acquire(api, request, id, name, body),
        (&Method::DELETE, Resource::Lock) => locks::release(api, request, id, name),
        (&Method::GET, Resource::IsAcquired) => peers::is_acquired(api, id),
        (&Method::GET, Resource::Peers) => peers::list(api, request),
        (&Method::GET, Resource::Peer) => peers::show(api, id),
        (&Method::PUT, Resource::Peer) => peers::renew(api, request, id, body),
        (&Method::DELETE, Resource::Peer) => peers::release(api, request, id),
        (&Method::POST, Resource::NewPeer) => peers::create(api, request, body),
        (&Method::POST, Resource::RemoveExpired) => peers::remove_expired(api, request),
        (&Method::POST, Resource::Restore) => restore::restore(api, request, body),
        (&Method::GET, Resource::Remainder) => remainder::remainder(api, request),
        (&Method::GET, Resource::Semaphores) => Ok(semaphores::list(api)),
        (&Method::GET, Resource::Semaphore) => semaphores::show(api, request, name),
        (&Method::PUT, Resource::Semaphore) => semaphores::adjust(api, request, name, body),
        (&Method::DELETE, Resource::Semaphore) => semaphores::reset(api, request, name),
        (&Method::POST, Resource::Reload) => reload::reload(api, request),
        (&Method::GET, Resource::Events) => events::listen(api, request),
        (&Method::GET, Resource::History) => Ok(history::history(api)),
        (&Method::GET, Resource::Metrics) => Ok(metrics::metrics(api)),
        (&Method::GET, Resource::Health) => Ok(health::alive()),
        (&Method::GET, Resource::Ready) => Ok(health::ready(api)),
        (&Method::GET, Resource::Granting) => Ok(health::granting(api)),
        (&Method::GET, Resource::Version) => Ok(pages::version()),
        (&Method::GET, Resource::OpenApi) => Ok(openapi::openapi()),
        (&Method::GET, Resource::Index) => Ok(pages::index(request)),
        (&Method::GET, Resource::Part) => pages::part(name),
        (&Method::GET, Resource::Favicon) => Ok(pages::favicon()),
        (_, Resource::Nothing) => Err(Refusal::NotFound),
        _ => Err(Refusal::MethodNotAllowed { allow: resource.methods() }),
    }
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
