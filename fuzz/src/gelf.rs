//! Log records as messages for Graylog: names of peers and of semaphores in them are what clients
//! have sent.
//!
//! The bytes are text. In its first line stand the level, the name of the server, a target, and how
//! often the text is repeated, with tabs between; then lines with a key, a tab and a value; and
//! behind a blank line, the text that is logged.

use std::{io::Read, time::Duration};

use flate2::read::GzDecoder;
use log::{
    Level, Record,
    kv::{ToValue, Value as Logged},
};
use serde_json::{Map, Value};
use throttle::logging::gelf::{datagrams::datagrams, message};

/// What GELF allows for one datagram, and for their number.
const LONGEST_DATAGRAM: usize = 8_192;
const MOST_CHUNKS: usize = 128;

/// What is long is treated in another way, and takes its time.
const MOST_BYTES: usize = 2_000_000;

/// Makes datagrams of it; who listens reads one message of GELF 1.1 out of them.
pub fn run(bytes: &[u8]) {
    let input = String::from_utf8_lossy(bytes);
    let (head, text) = input.split_once("\n\n").unwrap_or((&input, ""));
    let mut lines = head.split('\n');
    let mut first = lines.next().unwrap_or_default().split('\t');
    let level = first.next().and_then(|level| level.parse().ok()).unwrap_or(Level::Info);
    let [name, target] = [(); 2].map(|()| first.next().unwrap_or_default());
    let times = first.next().and_then(|times| times.parse::<usize>().ok()).unwrap_or(1);
    let text = text.repeat(times.min(MOST_BYTES / (text.len() + 1)));
    let fields: Vec<_> = lines.filter_map(|line| line.split_once('\t')).collect();
    let values: Vec<_> = fields.iter().map(|(key, value)| (*key, Field::of(value))).collect();
    let key_values: Vec<_> = values.iter().map(|(key, field)| (*key, field.logged())).collect();
    let args = format_args!("{text}");
    let record =
        Record::builder().level(level).target(target).key_values(&key_values).args(args).build();

    let json = message::encode(name, &record, Duration::from_millis(1_700_000_000_123));

    assert!(json.len() <= message::LONGEST, "{}", json.len());
    let message: Map<String, Value> = serde_json::from_slice(&json).unwrap();
    let given = values.iter().filter(|(_, field)| !matches!(field, Field::Nothing)).count();
    check_message(&message, name, given);
    check_datagrams(&json);
}

/// A value, of the narrowest kind that it can be.
enum Field<'a> {
    Signed(i64),
    Unsigned(u64),
    Wide(i128),
    Fraction(f64),
    Truth(bool),
    Nothing,
    Text(&'a str),
}

impl<'a> Field<'a> {
    fn of(text: &'a str) -> Self {
        let signed = || text.parse().ok().map(Field::Signed);
        let unsigned = || text.parse().ok().map(Field::Unsigned);
        let wide = || text.parse().ok().map(Field::Wide);
        let fraction = || text.parse().ok().map(Field::Fraction);
        let truth = || text.parse().ok().map(Field::Truth);
        let nothing = || (text == "null").then_some(Field::Nothing);
        signed()
            .or_else(unsigned)
            .or_else(wide)
            .or_else(fraction)
            .or_else(truth)
            .or_else(nothing)
            .unwrap_or(Field::Text(text))
    }

    fn logged(&self) -> Logged<'_> {
        match self {
            Field::Signed(number) => number.to_value(),
            Field::Unsigned(number) => number.to_value(),
            Field::Wide(number) => number.to_value(),
            Field::Fraction(number) => number.to_value(),
            Field::Truth(truth) => truth.to_value(),
            Field::Nothing => Logged::null(),
            Field::Text(text) => text.to_value(),
        }
    }
}

/// What GELF wants of a message, and what this one says.
fn check_message(message: &Map<String, Value>, name: &str, given: usize) {
    assert_eq!("1.1", message["version"]);
    assert!(message["host"] == name || message["host"].as_str().unwrap().ends_with('…'));
    assert!(!message["short_message"].as_str().unwrap().trim().is_empty());
    assert!(message["timestamp"].is_number());
    assert!(message["level"].as_u64().is_some_and(|level| level <= 7));
    let own = ["version", "host", "short_message", "full_message", "timestamp", "level"];
    for (key, value) in message {
        let is_named_well =
            key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        assert!(is_named_well && key != "_id", "{key}");
        assert!(key.starts_with('_') || own.contains(&key.as_str()), "{key}");
        assert!(value.is_string() || value.is_number(), "{key}: {value}");
    }
    let ours = ["_target", "_module", "_file", "_line", "_pid"];
    let others = message.keys().filter(|key| ![&own[..], &ours].concat().contains(&key.as_str()));
    // All of them, under names of their own; or none, where the message would be too long.
    assert!([0, given].contains(&others.count()), "{:?}", message.keys());
}

/// Put together again, the datagrams are the message.
fn check_datagrams(json: &[u8]) {
    const ID: u64 = 0x0102_0304_0506_0708;
    let datagrams = datagrams(json, ID).unwrap();
    assert!(datagrams.len() <= MOST_CHUNKS);
    assert!(datagrams.iter().all(|datagram| datagram.len() <= LONGEST_DATAGRAM));
    let payload = match &*datagrams {
        [whole] => whole.clone(),
        chunks => {
            let head = |number| {
                let numbers = [number as u8, chunks.len() as u8];
                [&[0x1e, 0x0f][..], &ID.to_be_bytes(), &numbers].concat()
            };
            let pieces = chunks.iter().enumerate();
            let pieces = pieces.map(|(number, chunk)| chunk.strip_prefix(&*head(number)).unwrap());
            pieces.collect::<Vec<_>>().concat()
        }
    };
    let mut text = Vec::new();
    GzDecoder::new(&*payload).read_to_end(&mut text).unwrap();
    assert!(json == text);
}
