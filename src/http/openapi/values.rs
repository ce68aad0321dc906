//! What JSON values look like in the document, where the type in Rust does not tell.

use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr, SchemaFormat, Type,
        schema::{AdditionalProperties, KnownFormat, Schema},
    },
};

/// No token is greater, nor any id that the server draws: JavaScript holds them exactly.
const GREATEST: u64 = (1 << 53) - 1;

/// A number with one of the units that the server knows, as a regular expression.
macro_rules! part {
    () => {
        "[0-9]+([.][0-9]+)? ?(ns|nsec|nanos|us|µs|usec|ms|msec|millis|s|secs?|seconds?\
         |m|mins?|minutes?|h|hrs?|hours?|d|days?|w|wks?|weeks?|M|months?|y|yrs?|years?)"
    };
}

/// More blanks are taken, but nobody needs them.
const DURATION: &str = concat!("^(0|", part!(), "( ?", part!(), ")*)$");

/// Nothing that ends a line or turns its direction, for people read these texts in lists and logs.
const LINE: &str = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$";

/// Types that stand for nothing but their schema; the comment is its description.
macro_rules! values {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)+) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let description = [$($doc.trim()),+].join(" ");
                $schema.description(Some(description)).into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

values! {
    /// A duration: numbers with units, such as `30s`, `5m`, `12h`, `1500ms`, `1s 500ms` or `1.5s`.
    /// Only `0` needs no unit.
    Duration = text().pattern(Some(DURATION)).examples(["5m"]);

    /// A duration in whole milliseconds.
    Milliseconds = text().pattern(Some("^[0-9]+ms$")).examples(["299500ms"]);

    /// A point in time: RFC 3339, in UTC, with milliseconds.
    Time = text()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples(["2026-11-22T08:00:00.123Z"]);

    /// The id of a peer. Ids that the server draws lie in 1 ≤ id < 2^53.
    PeerId = integer("uint64", 0).examples([42]);

    /// The fencing token of a grant, greater than all before it.
    Token = integer("int64", 1).maximum(Some(GREATEST)).examples([7]);

    /// How many permits a lock claims.
    Count = integer("int64", 1).examples([1]);

    /// What people call a peer, in lists and in log lines; no control characters.
    Name = line(128).examples(["etl@node7"]);

    /// Words that tell peers apart, such as the host and the process. At most 16; keys have 1 to 32
    /// characters, values up to 128, all of them no more than 1,000, and none is a control
    /// character.
    Labels = map(line(128))
        .property_names(Some(line(32).min_length(Some(1))))
        .max_properties(Some(16))
        .examples([json!({"host": "node7", "pid": "311"})]);

    /// Locks: semaphores and counts.
    Locks = map(Ref::from_schema_name("Count")).examples([json!({"A": 1})]);

    /// Locks that are granted together: 1 to 100 semaphores, and counts.
    Ask = map(Ref::from_schema_name("Count"))
        .min_properties(Some(1))
        .max_properties(Some(100))
        .examples([json!({"database": 2, "A": 1})]);

    /// Semaphores, and the tokens of the locks.
    Tokens = map(Ref::from_schema_name("Token")).examples([json!({"A": 7})]);

    /// Semaphores, and since when their locks are as they are.
    Times = map(Ref::from_schema_name("Time"))
        .examples([json!({"A": "2026-11-22T08:00:00.123Z"})]);
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A text that keeps to its line.
fn line(max_length: usize) -> ObjectBuilder {
    text().max_length(Some(max_length)).pattern(Some(LINE))
}

fn integer(format: &str, minimum: u64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::Custom(format.to_owned())))
        .minimum(Some(minimum))
}

/// An object that has any names.
fn map(values: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    let values = AdditionalProperties::RefOr(values.into());
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(values))
}
