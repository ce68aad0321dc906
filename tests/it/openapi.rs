//! `GET /openapi.json`, held against the running server: the operations, and how the document hangs
//! together. `tests/openapi` holds the shapes of answers against it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use throttle::http::PATTERNS;

use crate::{
    client::{Client, Response},
    listener::Listener,
    server::Server,
};

fn document(client: &Client) -> Value {
    let response = client.get("/openapi.json");
    assert_eq!(200, response.status);
    serde_json::from_str(&response.body).unwrap()
}

/// Paths and the methods that the document has for them, in upper case.
fn operations(document: &Value) -> Vec<(&str, BTreeSet<String>)> {
    let methods = |item: &Value| object(item).keys().map(|method| method.to_uppercase()).collect();
    object(&document["paths"]).iter().map(|(path, item)| (&**path, methods(item))).collect()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// A path of that pattern.
fn example(pattern: &str) -> String {
    pattern.replace("{id}", "1").replace("{semaphore}", "A").replace("{file}", "dashboard.css")
}

/// The methods of a path, as the server itself names them.
fn allowed(server: &Server, path: &str) -> BTreeSet<String> {
    let Response { status, headers, .. } = server.send("PATCH", path, &[], "");
    assert_eq!(405, status, "{path}");
    headers["allow"].to_str().unwrap().split(", ").map(str::to_owned).collect()
}

#[test]
fn document_names_itself_and_its_version() {
    let server = Server::with_max(1);

    let response = server.get("/openapi.json");
    let document = document(&server);

    assert_eq!(Some("application/json"), response.header("content-type"));
    assert_eq!("3.1.0", document["openapi"]);
    assert_eq!("Throttle", document["info"]["title"]);
    assert_eq!(server.get("/version").body, document["info"]["version"]);
    assert_eq!("MIT", document["info"]["license"]["identifier"]);
    // Relative, for behind a proxy the server does not know its own address.
    assert_eq!(".", document["servers"][0]["url"]);
}

#[test]
fn all_paths_of_the_server_are_described_with_all_their_methods() {
    let server = Server::with_max(1);
    let document = document(&server);
    let operations = operations(&document);
    let paths = PATTERNS.iter().copied().filter(|pattern| pattern.starts_with('/'));

    assert_eq!(paths.collect::<BTreeSet<_>>(), operations.iter().map(|(path, _)| *path).collect());
    for (pattern, described) in operations {
        let mut expected = allowed(&server, &example(pattern));
        // It is said once that it is as GET.
        expected.remove("HEAD");
        if pattern.ends_with("/is_acquired") {
            // To those who act, it is the name of a semaphore.
            expected.retain(|method| method == "GET");
        }
        assert_eq!(expected, described, "{pattern}");
    }
}

#[test]
fn all_that_is_described_exists() {
    let server = Server::with_max(1);
    let document = document(&server);

    for (pattern, methods) in operations(&document) {
        for method in methods {
            let path = example(pattern);
            let status = match pattern {
                "/events" => Listener::at(&server, &path).status,
                _ => server.send(&method, &path, &[], "").status,
            };

            assert!(![404, 405].contains(&status), "{method} {path}: {status}");
            let described = &document["paths"][pattern][method.to_lowercase()];
            let answers = object(&described["responses"]);
            assert!(answers.contains_key(&status.to_string()), "{method} {path}: {status}");
        }
    }
}

#[test]
fn operations_are_told_apart_and_belong_to_tags_that_are_described() {
    let server = Server::with_max(1);
    let document = document(&server);
    let tags = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]);
    let tags: Vec<_> = tags.collect();
    let mut names = BTreeSet::new();

    for operation in object(&document["paths"]).values().flat_map(|item| object(item).values()) {
        let name = operation["operationId"].as_str().unwrap();

        assert!(names.insert(name), "`{name}` is there twice");
        assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{name}");
        assert!(tags.contains(&&operation["tags"][0]), "{name}");
    }
}

#[test]
fn references_lead_somewhere_and_components_are_referred_to() {
    fn collect<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| collect(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let server = Server::with_max(1);
    let document = document(&server);
    let mut references = BTreeSet::new();
    collect(&document, &mut references);

    for reference in &references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let components = object(&document["components"]).iter().flat_map(|(kind, components)| {
        object(components).keys().map(move |name| format!("#/components/{kind}/{name}"))
    });
    let unused = components.filter(|component| !references.contains(&**component));
    // What no operation answers, what is said of events in words, and what is referred to by name.
    assert_eq!(
        [
            "#/components/responses/MethodNotAllowed",
            "#/components/schemas/LockEvent",
            "#/components/schemas/ReloadedEvent",
            "#/components/schemas/ResizedEvent",
            "#/components/securitySchemes/token",
        ],
        *unused.collect::<Vec<_>>()
    );
}
