//! Refusals in the document: all that there are, and those that an operation may answer with.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, PartialSchema, ToSchema,
    openapi::{
        ContentBuilder, Header, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type,
        schema::Schema,
    },
};

use super::super::error::PROBLEM_JSON;

/// All codes, each with its status and what it means. A test holds them against those of `error`.
const REASONS: [(u16, &str, &str); 34] = [
    (400, "unknown_peer", "the peer was never made, was released, or its lease has ended"),
    (400, "unknown_semaphore", "no such semaphore is configured, or not any more"),
    (400, "count_below_one", "a count is less than 1"),
    (400, "bad_names", "a semaphore is named twice"),
    (400, "lease_too_long", "`expires_in` is above `limits.max_expires_in`"),
    (400, "bad_token", "a token to be restored is none of an earlier start of the server"),
    (400, "token_without_lock", "`tokens` names a semaphore that `acquired` does not"),
    (400, "bad_peer_id", "the id is no integer from 0 to 2^64 - 1"),
    (400, "bad_encoding", "a text in the path or in the query is not percent-encoded UTF-8"),
    (400, "bad_query", "a parameter is unknown, wrong, missing, or there twice"),
    (400, "bad_body", "the body is not what is expected, or is framed wrongly"),
    (401, "unauthorized", "the token of the configuration is missing or wrong"),
    (403, "forbidden", "no token is configured, and the request is not from the server's machine"),
    (404, "not_found", "there is no such path"),
    (405, "method_not_allowed", "the path does not have this method"),
    (408, "body_too_slow", "the body did not arrive within `limits.body_timeout`, or broke off"),
    (409, "count_above_max", "max is less than that, so it could never be granted"),
    (409, "level_violation", "the peer holds a lock at this level or a lower one"),
    (409, "grow", "the peer has a lock of this semaphore with a smaller count"),
    (409, "partly_locked", "the peer has a lock of one of them, but not by this very ask"),
    (409, "already_pending", "the peer waits for another lock"),
    (409, "withdrawn", "the lock was cancelled or made smaller while the request waited for it"),
    (409, "would_wait", "not free at once, with `queue=false`"),
    (409, "peer_exists", "`peer_id` is another peer's, or this ask is no longer all as it was"),
    (409, "revoked", "the peer was released for good, and must not come back"),
    (409, "restore_conflict", "the peer exists, with other locks"),
    (409, "restore_overflow", "no 64-bit integer would hold the sum of all counts"),
    (409, "bad_configuration", "the configuration is missing or bad, and nothing has changed"),
    (413, "body_too_large", "the body is longer than `limits.max_body`"),
    (415, "not_json", "the body is not declared as JSON"),
    (503, "too_many_peers", "there are `limits.max_peers` already"),
    (503, "too_many_waiters", "`limits.max_waiters` requests wait already"),
    (503, "too_many_semaphores", "there are `limits.max_semaphores`, and it is none of them"),
    (503, "too_many_listeners", "there are as many listeners as there may be"),
];

/// Each status of a refusal: its component, what such an answer says, its header if it has one, and
/// the media type of its text.
const STATUSES: [(u16, &str, &str, Option<&str>); 10] = [
    (400, "BadRequest", "The request is wrong, or is about what is not there.", None),
    (401, "Unauthorized", "This is for administrators.", Some("WWW-Authenticate")),
    (403, "Forbidden", "This is for administrators.", None),
    (404, "NotFound", "The path is wrong.", None),
    (405, "MethodNotAllowed", "The method is wrong.", Some("Allow")),
    (408, "RequestTimeout", "The request came too slowly.", None),
    (409, "Conflict", "This does not go with how things stand.", None),
    (413, "ContentTooLarge", "The body is too long.", None),
    (415, "UnsupportedMediaType", "The body needs `Content-Type: application/json`.", None),
    (503, "ServiceUnavailable", "There is no room. Try again later.", Some("Retry-After")),
];

/// Whatever has a body, or might.
const BODY: [&str; 4] = ["bad_body", "body_too_slow", "body_too_large", "not_json"];

const QUERY: [&str; 2] = ["bad_query", "bad_encoding"];

const ADMIN: [&str; 2] = ["unauthorized", "forbidden"];

/// Whoever asks for locks.
const ASK: [&str; 9] = [
    "unknown_peer",
    "unknown_semaphore",
    "count_below_one",
    "lease_too_long",
    "count_above_max",
    "would_wait",
    "withdrawn",
    "too_many_waiters",
    "too_many_semaphores",
];

/// Whoever asks for locks, and may have some.
const NEXT_ASK: [&str; 3] = ["bad_peer_id", "level_violation", "already_pending"];

/// For each operation that refuses anything, a type that names what. Bodies that nobody wants are
/// left out, though they are refused as well.
macro_rules! refusals {
    ($($name:ident: $codes:expr;)+) => {$(
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> Responses {
                references(&$codes.concat())
            }
        }
    )+};
}

refusals! {
    NewPeer: [&BODY[..], &QUERY, &ASK, &["bad_names", "peer_exists", "revoked", "too_many_peers"]];
    ListPeers: [QUERY];
    ShowPeer: [["unknown_peer", "bad_peer_id"]];
    RenewPeer: [&BODY[..], &QUERY, &ASK, &NEXT_ASK, &["bad_names", "partly_locked"]];
    ReleasePeer: [&QUERY[..], &ADMIN, &["bad_peer_id"]];
    RemoveExpired: [["bad_query"]];
    Restore: [
        &BODY[..],
        &["bad_query", "unknown_semaphore", "count_below_one", "bad_names", "lease_too_long"],
        &["bad_token", "token_without_lock", "revoked", "restore_conflict", "restore_overflow"],
        &["too_many_peers", "too_many_semaphores"],
    ];
    Acquire: [&BODY[..], &QUERY, &ASK, &NEXT_ASK, &["grow"]];
    Release: [&QUERY[..], &["unknown_peer", "unknown_semaphore", "bad_peer_id"]];
    Remainder: [&QUERY[..], &["unknown_semaphore"]];
    ShowSemaphore: [&QUERY[..], &["unknown_semaphore", "too_many_semaphores"]];
    AdjustSemaphore: [&BODY[..], &QUERY, &ADMIN, &["unknown_semaphore", "too_many_semaphores"]];
    ResetSemaphore: [&QUERY[..], &ADMIN, &["unknown_semaphore", "too_many_semaphores"]];
    Reload: [&ADMIN[..], &["bad_query", "bad_configuration"]];
    Events: [&QUERY[..], &["bad_peer_id", "too_many_listeners"]];
    Part: [["not_found"]];
}

type Responses = BTreeMap<String, RefOr<Response>>;

/// The answers for these codes: the components, each with those of its codes that are among them.
fn references(codes: &[&str]) -> Responses {
    let is_known = |code: &&str| REASONS.iter().any(|(_, known, _)| known == code);
    debug_assert!(codes.iter().all(is_known), "{codes:?}");
    let references = STATUSES.iter().map(|(status, name, summary, _)| {
        let codes = listed(*status, |code| codes.contains(&code))?;
        let mut reference = Ref::from_response_name(*name);
        reference.description = format!("{summary}\n{codes}");
        Some((status.to_string(), reference.into()))
    });
    references.flatten().collect()
}

/// The answers that [`references`] lead to.
pub fn components() -> impl Iterator<Item = (String, RefOr<Response>)> {
    STATUSES.iter().map(|(status, name, summary, header)| {
        let codes = listed(*status, |_| true).unwrap_or_default();
        let text = ContentBuilder::new().schema(Some(String::schema()));
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
        let media_type = if *status == 404 { "text/html" } else { "text/plain" };
        let mut response = ResponseBuilder::new()
            .description(format!("{summary}\n{codes}"))
            .content(media_type, text.build())
            .content(PROBLEM_JSON, problem.build());
        if let Some(header) = header {
            response = response.header(*header, Header::default());
        }
        ((*name).to_owned(), response.build().into())
    })
}

/// The codes of a status that are wanted, as a list in Markdown.
fn listed(status: u16, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    let wanted = REASONS.iter().filter(|(of, code, _)| *of == status && is_wanted(code));
    let lines: String = wanted.map(|(_, code, why)| format!("\n- `{code}`: {why}.")).collect();
    (!lines.is_empty()).then_some(lines)
}

/// The codes as a schema.
pub struct Code;

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("Names the reason of a refusal for programs."))
            .enum_values(Some(REASONS.map(|(_, code, _)| code)))
            .into()
    }
}

impl ToSchema for Code {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// All that stands in the source of `error` as a status and a code.
    #[test]
    fn codes_are_those_of_the_refusals() {
        let source = include_str!("../error.rs");
        let joined = source.split_whitespace().collect::<Vec<_>>().join(" ");
        let found = joined.split("(StatusCode::").skip(1).filter_map(|rest| {
            let (status, rest) = rest.split_once(", \"")?;
            let (code, _) = rest.split_once("\")")?;
            Some((status, code))
        });
        let numbers = [
            ("BAD_REQUEST", 400),
            ("UNAUTHORIZED", 401),
            ("FORBIDDEN", 403),
            ("NOT_FOUND", 404),
            ("METHOD_NOT_ALLOWED", 405),
            ("REQUEST_TIMEOUT", 408),
            ("CONFLICT", 409),
            ("PAYLOAD_TOO_LARGE", 413),
            ("UNSUPPORTED_MEDIA_TYPE", 415),
            ("SERVICE_UNAVAILABLE", 503),
        ];
        let number = |name: &str| numbers.iter().find(|(known, _)| *known == name).map(|(_, n)| *n);

        let found: BTreeSet<_> = found.map(|(status, code)| (number(status), code)).collect();

        let documented = REASONS.iter().map(|(status, code, _)| (Some(*status), *code));
        assert_eq!(found, documented.collect());
    }
}
