//! What people call a peer: its name and labels, given when it is made or restored.

use serde_json::{Value, json};

use crate::{
    client::{Response, eventually},
    server::Server,
};

const ETL: &str = r#""name":"etl@node7","labels":{"pid":"311","host":"node7"}"#;

/// Makes a peer with these fields.
fn make(server: &Server, fields: &str) -> Response {
    server.post("/new_peer", &format!(r#"{{"expires_in":"1h",{fields}}}"#))
}

fn restore(server: &Server, id: u64, fields: &str) -> Response {
    let body = format!(r#"{{"expires_in":"1h","peer_id":{id},"acquired":{{"A":1}},{fields}}}"#);
    server.post("/restore", &body)
}

#[test]
fn name_and_labels_are_shown_wherever_a_peer_is() {
    let server = Server::with_max(1);
    let holder = make(&server, &format!(r#"{ETL},"acquire":{{"A":1}}"#)).body;
    let waiting = make(&server, &format!(r#"{ETL},"acquire":{{"A":1}}"#)).body;

    let view = server.json("/semaphores/A");
    let list = server.json("/peers/");
    let shown = [
        &view["held_by"][0],
        &view["queue"][0],
        &list[0],
        &list[1],
        &server.json(&format!("/peers/{holder}")),
        &server.json(&format!("/peers/{waiting}")),
    ];

    for shown in shown {
        assert_eq!("etl@node7", shown["name"]);
        assert_eq!(json!({"pid": "311", "host": "node7"}), shown["labels"]);
    }
    let body = server.get(&format!("/peers/{holder}")).body;
    assert!(body.contains(r#""labels":{"pid":"311","host":"node7"}"#), "in their order: {body}");
}

#[test]
fn peer_without_any_shows_none() {
    let server = Server::with_max(1);

    for fields in [r#""labels":{}"#, r#""name":"""#, r#""name":"","labels":{}"#] {
        let made = make(&server, fields);
        let shown = server.json(&format!("/peers/{}", made.body));
        assert_eq!((&Value::Null, &json!({})), (&shown["name"], &shown["labels"]), "{fields}");
    }
    let labelled = make(&server, r#""labels":{"host":""}"#).body;
    let shown = server.json(&format!("/peers/{labelled}"));
    assert_eq!((&Value::Null, &json!({"host": ""})), (&shown["name"], &shown["labels"]));
}

#[test]
fn most_and_longest_are_accepted() {
    let server = Server::with_max(1);
    // Sixteen keys of 32 characters; with their values a thousand, the first one as long as can be.
    let key = |number: usize| format!("{}{number:02}", "k".repeat(30));
    let labels = |rest: usize| {
        let lengths = [128].into_iter().chain([24; 14]).chain([rest]);
        let label = |(number, length)| format!("\"{}\":\"{}\"", key(number), "ä".repeat(length));
        let labels: Vec<_> = lengths.enumerate().map(label).collect();
        format!("\"labels\":{{{}}}", labels.join(","))
    };

    let made = make(&server, &labels(24));

    assert_eq!(200, made.status, "{}", made.body);
    let shown = server.json(&format!("/peers/{}", made.body))["labels"].clone();
    assert_eq!(16, shown.as_object().unwrap().len());
    assert_eq!(("ä".repeat(128), "ä".repeat(24)), (text(&shown[&key(0)]), text(&shown[&key(15)])));
    let more = make(&server, &labels(25));
    assert_eq!(400, more.status);
    let complaint = "the labels have 1001 characters together, expected at most 1000";
    assert!(more.body.contains(complaint), "{}", more.body);
    let odd = r#""labels":{"a b":"\"quoted\" \\ <b>","日本":"名前"}"#;
    assert_eq!(200, make(&server, odd).status);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// By both routes, and with the same complaints.
#[test]
fn bad_labels_are_refused_and_make_no_peer() {
    let server = Server::with_max(1);
    let many: Vec<_> = (0..17).map(|number| format!("\"k{number}\":\"\"")).collect();
    let labels = |labels: &str| format!("\"labels\":{labels}");

    for (fields, text) in [
        (labels(&format!("{{{}}}", many.join(","))), "more than 16 labels"),
        (
            labels(&format!("{{\"{}\":\"\"}}", "ä".repeat(33))),
            "the key of a label has 33 characters, expected at most 32",
        ),
        (
            labels(&format!("{{\"host\":\"{}\"}}", "ä".repeat(129))),
            "label `host` has 129 characters, expected at most 128",
        ),
        (labels(r#"{"host":"a\nb"}"#), "label `host` contains a control character"),
        (labels(r#"{"host":"\u0000"}"#), "label `host` contains a control character"),
        (labels(r#"{"host":"\u001b[31m"}"#), "label `host` contains a control character"),
        (labels(r#"{"host":"\u2028"}"#), "label `host` contains a control character"),
        (labels(r#"{"host":"\u202e"}"#), "label `host` contains a control character"),
        (labels(r#"{"a\tb":""}"#), "the key of a label contains a control character"),
        (labels(r#"{"":"x"}"#), "the key of a label is empty"),
        (labels(r#"{"host":"a","pid":"1","host":"b"}"#), "label `host` stands there twice"),
        (labels(r#"{"pid":311}"#), "invalid type: integer `311`, expected a string"),
        (labels(r#"{"pid":null}"#), "invalid type: null, expected a string"),
        (labels(r#"{"pid":{"a":"b"}}"#), "expected a string"),
        (labels(r#"["host","node7"]"#), "expected an object with strings such as"),
        (labels("null"), "expected an object with strings such as"),
        (labels("\"host=node7\""), "expected an object with strings such as"),
        (format!("\"name\":\"{}\"", "a".repeat(129)), "`name` has 129 characters"),
        (r#""name":"a\u0007""#.to_owned(), "`name` contains a control character"),
        (r#""name":5"#.to_owned(), "invalid type: integer `5`, expected a string"),
        (r#""label":{}"#.to_owned(), "did you mean `labels`?"),
    ] {
        for refused in [make(&server, &fields), restore(&server, 7, &fields)] {
            assert_eq!(400, refused.status, "{fields}");
            assert!(refused.body.starts_with("invalid body: "), "{fields}: {}", refused.body);
            assert!(refused.body.contains(text), "{fields}: {}", refused.body);
        }
    }
    assert_eq!(json!([]), server.json("/peers/"));
    assert_eq!(1, server.remainder("A"));
}

#[test]
fn restored_peer_has_the_name_and_labels_that_it_comes_with() {
    let server = Server::with_max(1);

    assert_eq!((200, "Ok"), restore(&server, 7, ETL).pair());

    let shown = server.json("/peers/7");
    assert_eq!("etl@node7", shown["name"]);
    assert_eq!(json!({"pid": "311", "host": "node7"}), shown["labels"]);
    assert_eq!((200, "Ok"), restore(&server, 7, r#""name":"another""#).pair(), "it is as it was");
    assert_eq!("etl@node7", server.json("/peers/7")["name"]);
    server.delete("/peers/7");
    assert_eq!((200, "Ok"), restore(&server, 7, r#""labels":{}"#).pair());
    assert_eq!(Value::Null, server.json("/peers/7")["name"], "nothing is left of the earlier one");
}

#[test]
fn repetition_keeps_what_the_first_request_has_said() {
    let server = Server::with_max(1);
    let make = |name: &str| {
        let fields = format!(r#""peer_id":{},"acquire":{{"A":1}},{name}"#, 1_u64 << 40);
        make(&server, &fields)
    };

    assert_eq!(200, make(ETL).status);
    assert_eq!(200, make(r#""name":"another""#).status);

    assert_eq!("etl@node7", server.json(&format!("/peers/{}", 1_u64 << 40))["name"]);
}

#[test]
fn peer_is_named_in_the_log_when_it_expires() {
    let server = Server::start("[semaphores]\nA = 1\ndb = { max = 3, level = 1 }");
    let fields = format!(r#"{ETL},"acquire":{{"db":3}}"#);
    let named = make(&server, &fields).body;
    assert_eq!(200, server.put(&format!("/peers/{named}/A"), "1").status);
    let labelled = make(&server, r#""labels":{"host":"node8","job":"a b"}"#).body;
    restore(&server, 7, r#""name":"x""#);

    for (peer, expected) in [
        (named, "`etl@node7` pid 311, held 3 of `db` for 0s, 1 of `A` for 0s"),
        ("7".to_owned(), "`x`, held 1 of `A` for 0s"),
    ] {
        server.put(&format!("/peers/{peer}"), r#"{"expires_in":"1ms"}"#);
        let start = format!("WARN  throttle] expired peer {peer} ");
        eventually(&start, || server.stderr().contains(&start));
        let log = server.stderr();
        let line = log.split(&start).nth(1).unwrap().lines().next().unwrap();
        assert_eq!(expected, without_durations(line));
    }
    server.put(&format!("/peers/{labelled}"), r#"{"expires_in":"0s"}"#);
    eventually("it is gone", || server.json("/peers/") == json!([]));
    assert_eq!(2, server.stderr().matches("expired peer").count(), "the other held nothing");
}

/// The line with each duration replaced by none; they must be durations.
fn without_durations(line: &str) -> String {
    let mut parts = line.split(" for ");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (duration, rest) =
            part.split_once(',').map_or((part, None), |(it, rest)| (it, Some(rest)));
        assert!(humantime::parse_duration(duration).is_ok(), "{line}");
        text.push_str(" for 0s");
        text.extend(rest.map(|rest| format!(",{rest}")));
    }
    text
}
