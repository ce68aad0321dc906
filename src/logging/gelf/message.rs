//! A log record as a GELF 1.1 message: one JSON object.
//!
//! GELF knows texts and numbers only; the names of fields that are not its own begin with `_`.

use std::{process, time::Duration};

use log::{
    Level, Record,
    kv::{self, Key, VisitSource, VisitValue},
};
use serde_json::{Map, Number, Value};

/// No message is longer, in bytes before compression. What cannot be compressed becomes hardly
/// longer by it, and still fits into the chunks that GELF allows.
pub const LONGEST: usize = 1_000_000;

/// Texts of a message that would be longer are cut to this, in characters. Each takes at most six
/// bytes in JSON, so all fields of our own fit.
const LONGEST_TEXT: usize = 20_000;

/// The fields that a message has by itself; those that it may lack are kept free for it as well.
const OWN: [&str; 11] = [
    "version",
    "host",
    "short_message",
    "full_message",
    "timestamp",
    "level",
    "_target",
    "_module",
    "_file",
    "_line",
    "_pid",
];

/// GELF keeps this name for itself.
const RESERVED: &str = "_id";

/// The JSON text of a record. `name` says who logs, `since_1970` when.
pub fn encode(name: &str, record: &Record<'_>, since_1970: Duration) -> Vec<u8> {
    let text = record.args().to_string();
    let mut fields = Map::new();
    let mut set = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    set("version", "1.1".into());
    set("host", name.into());
    set("short_message", first_line(&text).into());
    // Milliseconds, as a fraction of the seconds that GELF counts.
    set("timestamp", (since_1970.as_millis() as f64 / 1_000.0).into());
    set("level", syslog(record.level()).into());
    set("_target", record.target().into());
    set("_pid", process::id().into());
    let optional = [
        ("_module", record.module_path().map(Value::from)),
        ("_file", record.file().map(Value::from)),
        ("_line", record.line().map(Value::from)),
    ];
    for (key, value) in optional {
        value.and_then(|value| set(key, value));
    }
    if text.lines().nth(1).is_some() {
        set("full_message", text.into());
    }
    // Neither visitor below fails; a source that did would keep what it has shown so far.
    let _ = record.key_values().visit(&mut Fields(&mut fields));
    fitting(fields)
}

/// Whoever listens refuses a message whose short text is blank.
fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("(an empty message)")
}

/// The severity as syslog numbers it.
fn syslog(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Adds the key-values of a record.
struct Fields<'a>(&'a mut Map<String, Value>);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let mut json = Json(Value::Null);
        value.visit(&mut json)?;
        if json.0 != Value::Null {
            self.0.insert(free_name(key.as_str(), self.0), json.0);
        }
        Ok(())
    }
}

/// A name for this key that GELF accepts, and that no field has.
fn free_name(key: &str, fields: &Map<String, Value>) -> String {
    let is_accepted = |c: char| c.is_ascii_alphanumeric() || ['_', '.', '-'].contains(&c);
    let mut name = "_".to_owned();
    name.extend(key.chars().map(|c| if is_accepted(c) { c } else { '_' }));
    while name == RESERVED || OWN.contains(&name.as_str()) || fields.contains_key(&name) {
        name.push('_');
    }
    name
}

/// Numbers stay numbers, and all else becomes text. What is not there stays null, for which GELF
/// has no word.
struct Json(Value);

impl VisitValue<'_> for Json {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), kv::Error> {
        self.0 = u64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from);
        Ok(())
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), kv::Error> {
        self.0 = i64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        // JSON has no infinity.
        self.0 = Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::from);
        Ok(())
    }
}

/// The text of the fields. Where it would be too long, texts are cut; and if that is not enough,
/// key-values are left out, for the message says it in words.
fn fitting(mut fields: Map<String, Value>) -> Vec<u8> {
    let json = serialized(&fields);
    if json.len() <= LONGEST {
        return json;
    }
    fields.values_mut().for_each(shorten);
    let json = serialized(&fields);
    if json.len() <= LONGEST {
        return json;
    }
    fields.retain(|key, _| OWN.contains(&key.as_str()));
    serialized(&fields)
}

fn serialized(fields: &Map<String, Value>) -> Vec<u8> {
    // Maps of names to texts and numbers can always be serialized; the default is never used.
    serde_json::to_vec(fields).unwrap_or_default()
}

fn shorten(value: &mut Value) {
    if let Value::String(text) = value
        && let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT)
    {
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use log::kv::Source;

    use super::*;

    const TIME: Duration = Duration::from_micros(1_700_000_000_123_987);

    fn encoded(text: &str, key_values: &dyn Source) -> Map<String, Value> {
        let json = encode(
            "sample",
            &Record::builder()
                .level(Level::Info)
                .target("throttle")
                .key_values(&key_values)
                .args(format_args!("{text}"))
                .build(),
            TIME,
        );
        assert!(json.len() <= LONGEST, "{}", json.len());
        serde_json::from_slice(&json).unwrap()
    }

    /// The fields of a message with these key-values, without those that each message has.
    fn fields(key_values: &[(&str, kv::Value<'_>)]) -> Value {
        let mut fields = encoded("text", &key_values);
        fields.retain(|key, _| !OWN.contains(&key.as_str()));
        fields.into()
    }

    #[test]
    fn message_is_one_json_object() {
        let json = encode(
            "sample",
            &Record::builder()
                .level(Level::Warn)
                .target("throttle")
                .module_path(Some("throttle::state"))
                .file(Some("src/state.rs"))
                .line(Some(42))
                .args(format_args!("ä \"text\""))
                .build(),
            TIME,
        );

        let expected = format!(
            r#"{{"_file":"src/state.rs","_line":42,"_module":"throttle::state","_pid":{},"_target":"#,
            process::id()
        ) + r#""throttle","host":"sample","level":4,"short_message":"ä \"text\"","timestamp":"#
            + r#"1700000000.123,"version":"1.1"}"#;
        assert_eq!(expected, String::from_utf8(json).unwrap());
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let message = encoded("text", &[("a", Some(1)), ("b", None)]);

        let keys: Vec<_> = message.keys().collect();
        let expected =
            ["_a", "_pid", "_target", "host", "level", "short_message", "timestamp", "version"];
        assert_eq!(expected, *keys);
    }

    #[test]
    fn levels_are_those_of_syslog() {
        let levels = Level::iter().map(syslog);

        assert_eq!([3, 4, 6, 7, 7], *levels.collect::<Vec<_>>());
    }

    #[test]
    fn several_lines_have_a_short_and_a_full_text() {
        for (text, short, full) in [
            ("one", "one", None),
            ("one\n", "one", None),
            ("one\ntwo", "one", Some("one\ntwo")),
            ("one\r\ntwo", "one", Some("one\r\ntwo")),
            (" \n\n two\nthree", " two", Some(" \n\n two\nthree")),
            ("", "(an empty message)", None),
        ] {
            let message = encoded(text, &[("a", 1)]);

            assert_eq!(short, message["short_message"]);
            assert_eq!(full, message.get("full_message").and_then(Value::as_str));
        }
    }

    #[test]
    fn numbers_are_numbers_and_all_else_is_text() {
        use serde_json::json;
        for (value, expected) in [
            (kv::Value::from(i64::MIN), json!(i64::MIN)),
            (u64::MAX.into(), json!(u64::MAX)),
            (7_u8.into(), json!(7)),
            (0.5.into(), json!(0.5)),
            (f64::NAN.into(), json!("NaN")),
            (f64::NEG_INFINITY.into(), json!("-inf")),
            (kv::Value::from(&(1_u128 << 63)), json!(1_u64 << 63)),
            (kv::Value::from(&(1_u128 << 64)), json!("18446744073709551616")),
            (kv::Value::from(&-1_i128), json!(-1)),
            (kv::Value::from(&i128::MIN), json!(i128::MIN.to_string())),
            (true.into(), json!("true")),
            ("7".into(), json!("7")),
            ('x'.into(), json!("x")),
            (kv::Value::from_display(&TIME.as_secs()), json!("1700000000")),
            (kv::Value::from_debug(&Some(7)), json!("Some(7)")),
        ] {
            assert_eq!(json!({ "_key": expected }), fields(&[("key", value)]));
        }
    }

    #[test]
    fn names_of_fields_are_those_that_gelf_accepts() {
        for (key, expected) in [
            ("peer", "_peer"),
            ("A-b.c_9", "_A-b.c_9"),
            ("with space", "_with_space"),
            ("größe", "_gr__e"),
            ("a@b\"\n", "_a_b__"),
            ("", "_"),
            ("id", "_id_"),
            ("_id", "__id"),
            ("pid", "_pid_"),
            ("level", "_level"),
            // This message has none of its own, but others have.
            ("line", "_line_"),
        ] {
            assert_eq!(serde_json::json!({ expected: 1 }), fields(&[(key, 1.into())]));
        }
    }

    #[test]
    fn no_field_takes_the_place_of_another() {
        let fields = fields(&[
            ("a b", 1.into()),
            ("a_b", 2.into()),
            ("a_b", 3.into()),
            ("id_", 4.into()),
            ("id", 5.into()),
        ]);

        let expected = r#"{"_a_b":1,"_a_b_":2,"_a_b__":3,"_id_":4,"_id__":5}"#;
        assert_eq!(expected, fields.to_string());
    }

    #[test]
    fn long_text_is_kept_while_the_message_fits() {
        let text = "x".repeat(LONGEST - 1_000);

        assert_eq!(text, encoded(&text, &[("a", 1)])["short_message"]);
    }

    #[test]
    fn message_that_is_too_long_is_cut() {
        // Control characters take six bytes each in JSON.
        for character in ["x", "€", "\u{1}"] {
            let text = character.repeat(LONGEST);
            let cut = character.repeat(LONGEST_TEXT) + "…";

            let message = encoded(&format!("{text}\ntwo"), &[("key", text.as_str())]);

            for field in ["short_message", "full_message", "_key"] {
                assert!(cut == message[field], "{field} {}", message[field].to_string().len());
            }
        }
    }

    #[test]
    fn key_values_are_left_out_where_cutting_is_not_enough() {
        let key_values: Vec<_> = (0..100_000).map(|number| (format!("key{number}"), 1)).collect();

        let message = encoded("text", &key_values);

        assert_eq!("text", message["short_message"]);
        assert!(message.keys().all(|key| OWN.contains(&key.as_str())));
    }
}
