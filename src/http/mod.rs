//! HTTP: requests are translated here, once, and decided elsewhere.
//!
//! `route` is the table of all routes. It is a plain `match` on the segments of the path, behind
//! the one default service of the actix app: actix's own path matching would cost as much as all
//! the rest of a request. Handlers take a request apart, make one call to [`State`], and shape the
//! answer; the one place that shapes refusals is `error`.

mod answer;
mod body;
mod duration;
mod error;
mod health;
mod locks;
mod metrics;
mod pages;
mod path;
mod peers;
mod remainder;
mod restore;

use std::{pin::Pin, rc::Rc, sync::Arc};

use actix_web::{
    Error, HttpResponse,
    dev::{ServiceRequest, ServiceResponse, Url},
    http::{ConnectionType, Method, Uri, header::HeaderMap},
};
use smallvec::SmallVec;

use self::error::{Asker, Refusal};
use crate::{in_flight::InFlight, metrics::Metrics, state::State};

/// What all workers of one server share.
#[derive(Clone)]
pub struct Api {
    /// The books.
    pub state: Arc<State>,
    /// The metrics of this server.
    pub metrics: Arc<Metrics>,
    /// Counts the requests that are being answered.
    pub in_flight: InFlight,
}

type LaterAnswer = Pin<Box<dyn Future<Output = Result<HttpResponse, Refusal>>>>;

/// What a handler comes back with.
enum Answer {
    /// The answer itself.
    Now(HttpResponse),
    /// The answer is still to come; the request is parked.
    Later(LaterAnswer),
}

/// Answers one request.
///
/// # Errors
/// None: refusals are answers too. The signature is actix's.
pub async fn serve(api: Rc<Api>, mut request: ServiceRequest) -> Result<ServiceResponse, Error> {
    let body = body::read(&mut request).await;
    // Only now: a request that is sent by halves shall not hold up a shutdown.
    let entered = api.in_flight.enter();
    let mut response = match body.and_then(|body| route(&api, &request, &body)) {
        Ok(Answer::Now(response)) => response,
        Ok(Answer::Later(answer)) => {
            let asker = Asker::of(&request);
            let_go_of_head(&mut request);
            answer.await.unwrap_or_else(|refusal| refusal.respond(&asker))
        }
        Err(refusal) => {
            if matches!(refusal, Refusal::NotFound) {
                api.metrics.count_404();
            }
            refusal.respond(&Asker::of(&request))
        }
    };
    if api.in_flight.is_draining() {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(request.into_response(answer::count_until_written(response, entered)))
}

/// The table of routes.
fn route(api: &Api, request: &ServiceRequest, body: &[u8]) -> Result<Answer, Refusal> {
    let state = &api.state;
    let segments = segments(request.path());
    let method = match *request.method() {
        // actix leaves out the body where the method is HEAD.
        Method::HEAD => &Method::GET,
        ref method => method,
    };
    match (method, segments.as_slice()) {
        (&Method::PUT, ["peers" | "peer", id, name]) => {
            locks::acquire(state, request, id, name, body)
        }
        (&Method::DELETE, ["peers" | "peer", id, name]) => locks::release(state, request, id, name),
        (&Method::GET, ["peers" | "peer", id, "is_acquired"]) => peers::is_acquired(state, id),
        (&Method::GET, ["peers" | "peer"] | ["peers" | "peer", ""]) => Ok(peers::list(state)),
        (&Method::PUT, ["peers" | "peer", id]) if !id.is_empty() => {
            peers::renew(state, request, id, body)
        }
        (&Method::DELETE, ["peers" | "peer", id]) if !id.is_empty() => {
            peers::release(state, request, id)
        }
        (&Method::POST, ["new_peer"]) => peers::create(state, request, body),
        (&Method::POST, ["remove_expired"]) => peers::remove_expired(state, request),
        (&Method::POST, ["restore"]) => restore::restore(state, request, body),
        (&Method::GET, ["remainder"]) => remainder::remainder(state, request),
        (&Method::GET, ["metrics"]) => Ok(metrics::metrics(api)),
        (&Method::GET, ["health"]) => Ok(health::alive()),
        (&Method::GET, ["health", "ready"]) => Ok(health::ready(state)),
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
        ["peers" | "peer", _] => "DELETE, PUT",
        ["peers" | "peer", _, "is_acquired"] => "DELETE, GET, HEAD, PUT",
        ["peers" | "peer", _, _] => "DELETE, PUT",
        ["new_peer" | "remove_expired" | "restore"] => "POST",
        ["remainder" | "metrics" | "health" | "version" | "favicon.ico" | ""] => "GET, HEAD",
        ["health", "ready"] => "GET, HEAD",
        _ => return None,
    })
}

/// The first two parts of a path and all the rest of it, not decoded.
///
/// A semaphore's name may thus hold slashes, which some published clients do not escape; and a base
/// URL that ends with a slash, which leads to paths with two in front, does no harm.
fn segments(path: &str) -> SmallVec<[&str; 3]> {
    path.trim_start_matches('/').splitn(3, '/').collect()
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
