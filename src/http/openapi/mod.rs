//! `GET /openapi.json`: all that this server answers, for programs that make clients of it.
//!
//! Each handler has beside it what it answers, and each shape what it looks like. Here stands only
//! what they have in common; `docs/http_api.md` says more, to people.

pub mod parameters;
pub mod refusals;
pub mod values;

use std::sync::LazyLock;

use actix_web::{HttpResponse, web::Bytes};
use utoipa::{
    Modify, OpenApi, PartialSchema,
    openapi::{
        Header, Ref, RefOr, Response,
        header::HeaderBuilder,
        schema::Schema,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    Answer, answer, error, events, health, history, locks, metrics, pages, peers, reload,
    remainder, restore, semaphores,
};

/// What a program cannot find out elsewhere in the document.
const ABOUT: &str = "\
A peer asks for locks of semaphores, and has them until it gives them back or its lease ends.

- Bodies are JSON and must say so (`Content-Type: application/json`, or any `…+json`). Otherwise \
  the answer is 415, even where nobody wants the body.
- A semaphore's name in a path is percent-decoded once. A slash in it may also stand as it is.
- Unknown fields are refused, and so are unknown parameters on all routes that act.
- `/peer/…` answers as `/peers/…` does, and `HEAD` as `GET` does, without the body.
- A refusal changes nothing. Its body is plain text, or a problem document (RFC 9457) with a \
  `code` if the request accepts `application/problem+json`.
- A path that does not exist answers 404, as `NotFound` says, and a known path with another method \
  405, as `MethodNotAllowed` says.";

const ADMINISTRATION: &str = "The token of the configuration (`[admin] token`). Where none is \
    configured, administrative routes answer to requests from the server's own machine, and to no \
    others.";

/// A header of answers: its name, its schema, and what it says.
type Described = (&'static str, fn() -> RefOr<Schema>, &'static str);

const HEADERS: [Described; 6] = [
    (
        "Throttle-Instance",
        u64::schema,
        "Drawn at each start of the server. `Unknown peer` under the number you know: the lease \
         has ended, or the peer was released by hand. Under another: the server was restarted.",
    ),
    (
        "Throttle-Expires-In",
        values::Milliseconds::schema,
        "What is left of the peer's lease. In the answer to a request that waited: at the moment of \
         the grant.",
    ),
    (
        "Throttle-Token",
        values::Token::schema,
        "The token of the grant. A repetition of the ask answers the same again. Left out where \
         nothing was asked for, and where the locks were granted by different asks or restored \
         without tokens.",
    ),
    ("Retry-After", u64::schema, "After how many seconds to try again."),
    ("Allow", String::schema, "The methods that the path has."),
    ("WWW-Authenticate", String::schema, "`Bearer`: the token of the configuration is needed."),
];

/// The document; its parts are found by the macro.
#[derive(OpenApi)]
#[openapi(
    info(title = "Throttle", description = ABOUT, license(name = "MIT", identifier = "MIT")),
    servers((url = ".", description = "The server that this document comes from.")),
    tags(
        (name = "peers", description = "Who asks for locks, and expires as a whole."),
        (name = "locks", description = "A peer's claims on semaphores."),
        (name = "semaphores", description = "How full they are, and who holds and waits."),
        (name = "administration", description = "What only administrators may do."),
        (name = "monitoring", description = "What happens, and how the server is."),
        (name = "page", description = "What a visitor with a browser sees."),
    ),
    paths(
        peers::create, peers::list, peers::show, peers::renew, peers::release, peers::is_acquired,
        peers::remove_expired, restore::restore,
        locks::acquire, locks::release, remainder::remainder,
        semaphores::list, semaphores::show, semaphores::adjust, semaphores::reset,
        reload::reload, events::listen, history::history, metrics::metrics,
        health::alive, health::ready, health::granting,
        pages::version, pages::index, pages::part, pages::favicon, openapi,
    ),
    components(schemas(
        error::Problem, events::ShownLock, events::ShownResized, events::ShownReloaded,
        values::Count, values::Token, values::Time,
    )),
    modifiers(&Common),
)]
struct Document;

/// Describes all of this.
#[utoipa::path(
    get, path = "/openapi.json", tag = "monitoring",
    responses((status = 200, description = "This document.", body = Object)),
)]
pub fn openapi() -> Answer {
    // Made once, for it takes milliseconds. It is the same for all servers of a process.
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
        // What the macro has put together can always be written.
        serde_json::to_vec(&Document::openapi()).unwrap_or_default().into()
    });
    HttpResponse::Ok().content_type(answer::JSON).body(DOCUMENT.clone()).into()
}

/// What is the same wherever it occurs.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let token = token.description(Some(ADMINISTRATION)).build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        components.headers = headers().collect();
        components.responses.extend(refusals::components());

        let paths = document.paths.paths.values_mut();
        let operations =
            paths.flat_map(|path| [&mut path.get, &mut path.put, &mut path.post, &mut path.delete]);
        let responses =
            operations.flatten().flat_map(|operation| &mut operation.responses.responses);
        for (_, response) in responses.chain(&mut components.responses) {
            if let RefOr::T(response) = response {
                refer_to_headers(response);
            }
        }
    }
}

/// The headers as components.
fn headers() -> impl Iterator<Item = (String, RefOr<Header>)> {
    HEADERS.iter().map(|(name, schema, description)| {
        let header = HeaderBuilder::new().schema(Some(schema())).description(Some(*description));
        ((*name).to_owned(), header.build().into())
    })
}

/// Handlers only name the headers of their answers; all answers have one that they do not name.
fn refer_to_headers(response: &mut Response) {
    let names = response.headers.keys().cloned().chain(["Throttle-Instance".to_owned()]);
    let reference = |name: &str| Ref::new(format!("#/components/headers/{name}"));
    response.headers = names.map(|name| (name.clone(), RefOr::Ref(reference(&name)))).collect();
}
