//! Which routes there are: their paths, and the methods of each.
//!
//! Paths are taken apart by hand: actix's own path matching would cost as much as all the rest of a
//! request. A semaphore's name is all the rest of its path, so it may hold slashes, which some
//! published clients do not escape; and a base URL that ends with a slash, which leads to paths
//! with two in front, does no harm.

use actix_web::http::Method;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Peers,
    Peer,
    IsAcquired,
    Lock,
    NewPeer,
    RemoveExpired,
    Restore,
    Remainder,
    Semaphores,
    Semaphore,
    Reload,
    Events,
    History,
    Metrics,
    Health,
    Ready,
    Granting,
    Version,
    OpenApi,
    Index,
    Part,
    Favicon,
    /// There is no such path.
    Nothing,
}

/// A resource, and the parts of the path that name one of its kind, not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    pub resource: Resource,
    /// A peer's id.
    pub id: &'a str,
    /// The name of a semaphore, or of a file that belongs to the page.
    pub name: &'a str,
}

/// The pattern of each resource, in their order.
pub const PATTERNS: [&str; Resource::Nothing as usize + 1] = [
    "/peers/",
    "/peers/{id}",
    "/peers/{id}/is_acquired",
    "/peers/{id}/{semaphore}",
    "/new_peer",
    "/remove_expired",
    "/restore",
    "/remainder",
    "/semaphores",
    "/semaphores/{semaphore}",
    "/reload",
    "/events",
    "/history",
    "/metrics",
    "/health",
    "/health/ready",
    "/health/granting",
    "/version",
    "/openapi.json",
    "/",
    "/dashboard/{file}",
    "/favicon.ico",
    "other",
];

impl Resource {
    /// The methods that it has, as the header `Allow` shows them. A test holds this against the
    /// table of handlers.
    pub fn methods(self) -> &'static str {
        match self {
            Resource::Peer | Resource::IsAcquired => "DELETE, GET, HEAD, PUT",
            Resource::Semaphore => "DELETE, GET, HEAD, PUT",
            Resource::Lock => "DELETE, PUT",
            Resource::NewPeer | Resource::RemoveExpired => "POST",
            Resource::Restore | Resource::Reload => "POST",
            _ => "GET, HEAD",
        }
    }
}

impl<'a> Route<'a> {
    /// The route of a path. `is_acquired` is a resource of its own for those who look; whoever acts
    /// means a semaphore of that name.
    pub fn of(method: &Method, path: &'a str) -> Self {
        let path = path.trim_start_matches('/');
        let plain = |resource| Route { resource, id: "", name: "" };
        match split(path) {
            ("peers" | "peer", None | Some("")) => plain(Resource::Peers),
            ("peers" | "peer", Some(rest)) => match split(rest) {
                (id, None) => Route { resource: Resource::Peer, id, name: "" },
                (id, Some(name)) => {
                    let acts = matches!(*method, Method::PUT | Method::DELETE);
                    let is_acquired = name == "is_acquired" && !acts;
                    let resource = if is_acquired { Resource::IsAcquired } else { Resource::Lock };
                    Route { resource, id, name }
                }
            },
            ("semaphores", None | Some("")) => plain(Resource::Semaphores),
            ("semaphores", Some(name)) => Route { name, ..plain(Resource::Semaphore) },
            ("dashboard", Some(name)) => Route { name, ..plain(Resource::Part) },
            _ => plain(match path {
                "new_peer" => Resource::NewPeer,
                "remove_expired" => Resource::RemoveExpired,
                "restore" => Resource::Restore,
                "remainder" => Resource::Remainder,
                "reload" => Resource::Reload,
                "events" => Resource::Events,
                "history" => Resource::History,
                "metrics" => Resource::Metrics,
                "health" => Resource::Health,
                "health/ready" => Resource::Ready,
                "health/granting" => Resource::Granting,
                "version" => Resource::Version,
                "openapi.json" => Resource::OpenApi,
                "" => Resource::Index,
                "favicon.ico" => Resource::Favicon,
                _ => Resource::Nothing,
            }),
        }
    }
}

/// The part before the first slash, and all behind it.
fn split(path: &str) -> (&str, Option<&str>) {
    // By bytes: on so short texts a search costs more than it saves.
    match path.bytes().position(|byte| byte == b'/') {
        Some(end) => (&path[..end], Some(&path[end + 1..])),
        None => (path, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_in_the_order_of_their_resources() {
        for (ix, pattern) in PATTERNS.iter().enumerate() {
            let path = pattern.replace("{id}", "5").replace("{semaphore}", "A");
            let path = path.replace("{file}", "words.js");

            assert_eq!(ix, Route::of(&Method::GET, &path).resource as usize, "{pattern}");
        }
    }

    #[test]
    fn paths_lead_to_their_resources() {
        for (path, resource, id, name) in [
            ("/", Resource::Index, "", ""),
            ("/peers", Resource::Peers, "", ""),
            ("//peer/", Resource::Peers, "", ""),
            ("/peers/5", Resource::Peer, "5", ""),
            ("/peer/5/a/b%2F", Resource::Lock, "5", "a/b%2F"),
            ("/peers/5/", Resource::Lock, "5", ""),
            ("/peers/5/is_acquired", Resource::IsAcquired, "5", "is_acquired"),
            ("/semaphores/", Resource::Semaphores, "", ""),
            ("/semaphores/a/b", Resource::Semaphore, "", "a/b"),
            ("/semaphores//", Resource::Semaphore, "", "/"),
            ("/dashboard", Resource::Nothing, "", ""),
            ("/dashboard/words.js", Resource::Part, "", "words.js"),
            ("/health/ready", Resource::Ready, "", ""),
            ("/health/ready/", Resource::Nothing, "", ""),
            ("/new_peer/", Resource::Nothing, "", ""),
        ] {
            assert_eq!(Route { resource, id, name }, Route::of(&Method::GET, path), "{path}");
        }
        let acted_on = Route::of(&Method::PUT, "/peers/5/is_acquired");
        assert_eq!(Route { resource: Resource::Lock, id: "5", name: "is_acquired" }, acted_on);
    }
}
