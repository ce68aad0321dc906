//! `GET /` as a browser gets it, what belongs to the page, and `GET /history`.

use serde_json::json;

use crate::{client::eventually, server::Server};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

#[test]
fn browsers_get_the_page_and_others_the_greeting() {
    let server = Server::with_max(1);

    for (accept, is_page) in [
        // Firefox, Chromium, Safari.
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            true,
        ),
        ("text/html", true),
        ("TEXT/HTML;level=1", true),
        ("text/html;q=0.5,text/plain;q=0.4", true),
        // curl, and what programs send.
        ("*/*", false),
        ("text/plain", false),
        ("text/plain, text/html", false),
        ("text/html;q=0.4, text/plain;q=0.5", false),
        ("text/html;q=0", false),
        ("application/json, text/plain, */*", false),
        ("text/*", false),
        ("", false),
        ("nonsense", false),
    ] {
        let response = server.send("GET", "/", &[("Accept", accept)], "");

        assert_eq!(200, response.status, "{accept}");
        let content_type = if is_page { HTML } else { "text/plain; charset=utf-8" };
        assert_eq!(Some(content_type), response.header("content-type"), "{accept}");
        assert_eq!(Some("accept"), response.header("vary"), "{accept}");
        assert_eq!(!is_page, response.body == "Hello from Throttle!", "{accept}");
        assert_eq!(is_page, response.body.starts_with("<!DOCTYPE html>"), "{accept}");
    }
}

#[test]
fn all_parts_of_the_page_are_served_under_a_strict_policy() {
    let server = Server::with_max(1);

    for (path, content_type) in [
        ("/", HTML),
        ("/dashboard/dashboard.css", "text/css; charset=utf-8"),
        ("/dashboard/dashboard.js", SCRIPT),
        ("/dashboard/drawer.js", SCRIPT),
        ("/dashboard/list.js", SCRIPT),
        ("/dashboard/server.js", SCRIPT),
        ("/dashboard/words.js", SCRIPT),
    ] {
        let response = server.send("GET", path, &[("Accept", "text/html")], "");

        assert_eq!(200, response.status, "{path}");
        for (name, value) in [
            ("content-type", content_type),
            ("content-security-policy", POLICY),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(Some(value), response.header(name), "{path}: {name}");
        }
        for elsewhere in ["http://", "https://", "url(", "@import", "eval("] {
            let is_svg = |line: &str| line.contains("http://www.w3.org/2000/svg");
            let found =
                response.body.lines().find(|line| line.contains(elsewhere) && !is_svg(line));
            assert_eq!(None, found, "{path} loads nothing from elsewhere");
        }
    }
}

/// It is found below whatever a reverse proxy puts before its path, and keeps to its policy.
#[test]
fn page_names_its_parts_by_relative_paths_and_has_none_inline() {
    let server = Server::with_max(1);

    let page = server.send("GET", "/", &[("Accept", "text/html")], "").body;

    let paths: Vec<_> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|path| !path.starts_with('#'))
        .collect();
    for part in ["dashboard/dashboard.css", "dashboard/dashboard.js"] {
        assert!(paths.contains(&part), "{paths:?}");
    }
    for path in paths {
        assert!(!path.starts_with('/') && !path.contains(':'), "{path}");
        assert_eq!(200, server.get(&format!("/{path}")).status, "{path}");
    }
    for inline in [" style=\"", " onclick=", " onload=", "<style", "javascript:"] {
        assert!(!page.contains(inline), "{inline}");
    }
    let scripts = page.split("<script").skip(1).map(|rest| rest.split_once('>').unwrap());
    assert!(scripts.into_iter().all(|(_, rest)| rest.starts_with("</script>")), "none inline");
}

#[test]
fn scripts_import_one_another_by_relative_paths_and_all_are_reached() {
    let server = Server::with_max(1);
    let mut reached = vec!["dashboard.js".to_owned()];

    let mut next = 0;
    while let Some(file) = reached.get(next).cloned() {
        next += 1;
        let response = server.get(&format!("/dashboard/{file}"));
        assert_eq!((200, Some(SCRIPT)), (response.status, response.header("content-type")));
        for rest in response.body.split(" from \"").skip(1) {
            let path = rest.split('"').next().unwrap();
            let imported = path.strip_prefix("./").expect("a relative path").to_owned();
            if !reached.contains(&imported) {
                reached.push(imported);
            }
        }
    }

    reached.sort();
    assert_eq!(["dashboard.js", "drawer.js", "list.js", "server.js", "words.js"], *reached);
}

#[test]
fn other_files_do_not_belong_to_the_page() {
    let server = Server::with_max(1);

    for file in ["", "/", "index.html", "none.js", "words.js/", "../pages.rs", "%2E%2E/pages.rs"] {
        let response = server.get(&format!("/dashboard/{file}"));

        assert_eq!((404, Some(HTML)), (response.status, response.header("content-type")), "{file}");
    }
}

#[test]
fn first_sample_of_the_history_is_there_from_the_start() {
    let server = Server::with_max(1);

    eventually("the first sample", || server.json("/history")["peers"] == json!([0]));

    let history = server.json("/history");
    let expected = json!({
        "at": history["at"], "interval": "10000ms", "peers": [0], "waiters": [0], "semaphores": {},
    });
    assert_eq!(expected, history);
    let at = humantime::parse_rfc3339(history["at"].as_str().unwrap()).unwrap();
    assert!(at.elapsed().unwrap_or_default().as_secs() < 60, "{history}");
}
