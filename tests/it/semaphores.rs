//! `GET /semaphores` and `GET /semaphores/{name}`: who holds what, who waits, and since when.

use serde_json::{Value, json};

use crate::{client::Client, server::Server};

/// Makes a peer of that name, which asks for these locks.
fn named(client: &Client, name: &str, acquire: &str) -> u64 {
    let body = format!(
        r#"{{"expires_in":"1h","name":"{name}","labels":{{"host":"node7"}},"acquire":{acquire}}}"#
    );
    client.post("/new_peer", &body).body.parse().unwrap()
}

fn milliseconds(value: &Value) -> u64 {
    value.as_str().unwrap().strip_suffix("ms").unwrap().parse().unwrap()
}

/// Whether it is a time of the last minute, as people read it.
fn is_now(value: &Value) -> bool {
    let text = value.as_str().unwrap();
    let age = humantime::parse_rfc3339(text).unwrap().elapsed().unwrap_or_default();
    text.len() == "2026-11-22T08:00:00.123Z".len() && text.ends_with('Z') && age.as_secs() < 60
}

fn ids(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|it| it["peer"].as_u64().unwrap()).collect()
}

#[test]
fn all_semaphores_are_listed_in_the_order_of_their_names() {
    let server =
        Server::start("[semaphores]\nb = { max = 7, level = 1 }\nZ = 0\n\"ä/\" = 1\na = 3");

    let listed = server.json("/semaphores");

    let semaphore = |name: &str, max: i64, level: i32| {
        json!({
            "name": name, "max": max, "level": level, "acquired": 0, "pending": 0, "waiting": 0,
            "holders": 0, "longest_pending": "0ms", "paused": false, "source": "file",
            "configured": {"max": max, "level": level},
        })
    };
    let expected =
        [semaphore("Z", 0, 0), semaphore("a", 3, 0), semaphore("b", 7, 1), semaphore("ä/", 1, 0)];
    assert_eq!(json!(expected), listed);
    assert_eq!(json!([]), Server::start("").json("/semaphores"));
}

#[test]
fn list_counts_permits_asks_and_peers() {
    let server = Server::start("[semaphores]\nA = 5\nB = 1");
    let [first, second, third, fourth] = [(); 4].map(|()| server.new_peer());
    server.acquire(first, "A", 3);
    server.acquire(second, "A", 1);
    server.acquire(third, "A", 4);
    server.acquire(fourth, "A", 2);

    crate::client::eventually("the wait shows", || {
        milliseconds(&server.json("/semaphores")[0]["longest_pending"]) > 0
    });

    let listed = server.json("/semaphores");
    let counts = ["acquired", "pending", "waiting", "holders"];
    assert_eq!(json!([4, 6, 2, 2]), json!(counts.map(|key| &listed[0][key])));
    assert_eq!(json!([0, 0, 0, 0]), json!(counts.map(|key| &listed[1][key])));
    assert_eq!("0ms", listed[1]["longest_pending"]);
    assert_eq!(200, server.post("/restore", &restored(7, r#"{"A":4}"#)).status);
    assert_eq!(8, server.json("/semaphores")[0]["acquired"], "more than max");
}

fn restored(peer: u64, acquired: &str) -> String {
    format!(r#"{{"expires_in":"1h","peer_id":{peer},"acquired":{acquired}}}"#)
}

#[test]
fn view_shows_who_holds_and_who_waits() {
    let server = Server::with_max(2);
    let holder = named(&server, "etl@node7", r#"{"A":2}"#);
    let waiting = server.new_peer();
    server.acquire(waiting, "A", 1);

    let mut view = server.json("/semaphores/A");

    let [held_by, queue] =
        ["held_by", "queue"].map(|key| view.as_object_mut().unwrap().remove(key).unwrap());
    assert_eq!(server.json("/semaphores")[0]["configured"], view["configured"]);
    assert_eq!(11, view.as_object().unwrap().len(), "what the list shows, too: {view}");
    let token = &server.json(&format!("/peers/{holder}"))["tokens"]["A"];
    let expected = json!([{
        "peer": holder, "name": "etl@node7", "labels": {"host": "node7"}, "count": 2,
        "token": token, "since": held_by[0]["since"], "held_for": held_by[0]["held_for"],
        "expires_in": held_by[0]["expires_in"],
    }]);
    assert_eq!(expected, held_by);
    assert!(token.is_u64() && is_now(&held_by[0]["since"]), "{held_by}");
    assert!(milliseconds(&held_by[0]["held_for"]) < 60_000, "{held_by}");
    assert!((3_540_000..=3_600_000).contains(&milliseconds(&held_by[0]["expires_in"])));
    let expected = json!([{
        "position": 1, "peer": waiting, "name": null, "labels": {}, "count": 1,
        "since": queue[0]["since"], "pending_for": queue[0]["pending_for"],
        "waits_for": {"A": 1}, "expires_in": queue[0]["expires_in"],
    }]);
    assert_eq!(expected, queue);
    assert!(is_now(&queue[0]["since"]), "{queue}");
    assert!(milliseconds(&queue[0]["pending_for"]) < 60_000, "{queue}");
    assert!((3_540_000..=3_600_000).contains(&milliseconds(&queue[0]["expires_in"])));
}

#[test]
fn holders_come_oldest_first_and_the_queue_in_its_order() {
    let server = Server::with_max(3);
    let mut peers: Vec<u64> = (0..6).map(|_| server.new_peer()).collect();
    // Ids are drawn at random, and each lock is younger than the one before.
    for peer in &peers {
        server.acquire(*peer, "A", 1);
    }
    server.delete(&format!("/peers/{}", peers.remove(0)));

    let view = server.json("/semaphores/A");

    assert_eq!(peers[..3], *ids(&view["held_by"]), "the last one was granted last");
    assert_eq!(peers[3..], *ids(&view["queue"]));
    let positions: Vec<_> =
        view["queue"].as_array().unwrap().iter().map(|it| it["position"].clone()).collect();
    assert_eq!(json!([1, 2]), json!(positions));
}

/// An ask waits in all of its queues at its place, and shows what it still waits for.
#[test]
fn ask_for_several_shows_in_each_of_its_queues_what_it_still_waits_for() {
    let server = Server::start("[semaphores]\nhigh = { max = 2, level = 1 }\nlow = 1");
    let holder = server.new_peer();
    server.acquire(holder, "low", 1);
    let both = named(&server, "both", r#"{"low":1,"high":1}"#);
    let late = named(&server, "late", r#"{"high":2,"low":1}"#);

    let [high, low] = ["high", "low"].map(|name| server.json(&format!("/semaphores/{name}")));

    assert_eq!(vec![both, late], ids(&high["queue"]), "the first has reserved its permit there");
    assert_eq!(vec![both, late], ids(&low["queue"]), "the second only approaches");
    for (view, count) in [(&high, 2), (&low, 1)] {
        assert_eq!(json!({"low": 1}), view["queue"][0]["waits_for"]);
        assert_eq!(json!({"high": 2, "low": 1}), view["queue"][1]["waits_for"]);
        assert_eq!(count, view["queue"][1]["count"]);
    }
    assert_eq!(0, high["acquired"], "reserved is not acquired");
    assert_eq!(3, high["pending"]);
    assert_eq!(vec![holder], ids(&low["held_by"]));
}

#[test]
fn restored_lock_without_its_token_shows_none() {
    let server = Server::with_max(1);

    server.post("/restore", &restored(7, r#"{"A":1}"#));

    assert_eq!(json!(null), server.json("/semaphores/A")["held_by"][0]["token"]);
}

#[test]
fn lists_of_the_view_come_in_pages() {
    let server = Server::with_max(150);
    let peers: Vec<u64> = (0..300).map(|_| server.new_peer()).collect();
    for peer in &peers {
        server.acquire(*peer, "A", 1);
    }
    let view = |query: &str| {
        let view = server.json(&format!("/semaphores/A{query}"));
        (ids(&view["held_by"]), ids(&view["queue"]))
    };

    let page =
        |from: usize, to: usize| (peers[from..to].to_vec(), peers[150 + from..150 + to].to_vec());
    assert_eq!(page(0, 100), view(""), "the first hundred");
    assert_eq!(page(0, 100), view("?offset=0"));
    assert_eq!(page(100, 150), view("?offset=100"));
    assert_eq!(page(7, 10), view("?offset=7&limit=3"));
    assert_eq!(page(0, 150), view("?limit=1000"));
    assert_eq!((vec![], vec![]), view("?offset=4294967295&limit=1000"));
    let shown = server.json("/semaphores/A?offset=149&limit=1");
    assert_eq!(150, shown["queue"][0]["position"], "counted from the front");
    assert_eq!(
        (150, 150),
        (shown["holders"].as_u64().unwrap(), shown["waiting"].as_u64().unwrap())
    );
}

/// Of both lists that are paged.
#[test]
fn bad_pages_are_refused() {
    let server = Server::with_max(1);

    for path in ["/semaphores/A", "/peers/"] {
        for (query, text) in [
            ("offset=-1", "`offset`: `-1` is no integer from 0 to 4294967295"),
            ("offset=4294967296", "`offset`: `4294967296` is no integer from 0 to"),
            ("offset=", "`offset`: `` is no integer"),
            ("limit=0", "`limit`: `0` is no integer from 1 to 1000"),
            ("limit=1001", "`limit`: `1001` is no integer from 1 to 1000"),
            ("limit=1.5", "`limit`: `1.5` is no integer"),
            ("limit=18446744073709551616", "is no integer from 1 to 1000"),
            ("limit=1&limit=1", "parameter `limit` stands there twice"),
            ("ofset=1", "unknown parameter `ofset`; did you mean `offset`?"),
        ] {
            let refused = server.get(&format!("{path}?{query}"));

            assert_eq!(400, refused.status, "{path} {query}");
            assert!(refused.body.starts_with("invalid query: "), "{}", refused.body);
            assert!(refused.body.contains(text), "{path} {query}: {}", refused.body);
        }
    }
}

#[test]
fn unknown_semaphore_is_told_as_the_contract_has_it() {
    let server = Server::with_max(1);

    for path in ["/semaphores/B", "/semaphores/a", "/semaphores/A%20", "/semaphores/A/"] {
        let refused = server.get(path);

        assert_eq!((400, "Unknown semaphore"), refused.pair(), "{path}");
        assert_eq!(Some("text/plain; charset=utf-8"), refused.header("content-type"));
    }
    assert_eq!(400, server.get("/semaphores/%FF").status);
}

#[test]
fn any_name_can_be_looked_at_and_set() {
    let names = ["a/b", "/", "%41", "<script>\"&'", "ein zwei", "ä?#", "is_acquired", ".."];
    let lines: String = names.map(|name| format!("{} = 1\n", json!(name))).concat();
    let server = Server::start(&format!("[semaphores]\n{lines}"));
    let escape = |name: &str| name.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();

    for name in names {
        let path = format!("/semaphores/{}", escape(name));
        assert_eq!(name, server.json(&path)["name"]);
        let adjusted = server.put(&path, r#"{"max":2}"#);
        assert_eq!(200, adjusted.status, "{name}: {}", adjusted.body);
        assert_eq!(2, server.json(&path)["max"]);
        assert_eq!(200, server.delete(&path).status);
        assert_eq!(1, server.json(&path)["max"]);
    }
    // Some clients escape no slashes.
    assert_eq!("a/b", server.json("/semaphores/a/b")["name"]);
}

/// However many hold it: the order is given up then, nothing else.
#[test]
fn all_of_very_many_holders_are_shown() {
    let server = Server::with_max(2_000);
    for _ in 0..1_500 {
        assert_eq!(
            200,
            server.post("/new_peer", r#"{"expires_in":"1h","acquire":{"A":1}}"#).status
        );
    }

    let pages = ["?limit=1000", "?limit=1000&offset=1000"];
    let shown = pages.map(|query| ids(&server.json(&format!("/semaphores/A{query}"))["held_by"]));

    assert_eq!([1_000, 500], shown.each_ref().map(Vec::len));
    let different: std::collections::HashSet<_> = shown.iter().flatten().collect();
    assert_eq!(1_500, different.len());
}
