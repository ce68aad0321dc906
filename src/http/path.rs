//! Paths and queries, taken apart by hand: names are percent-decoded exactly once.

use std::{borrow::Cow, ops::RangeInclusive};

use actix_web::dev::ServiceRequest;
use percent_encoding::percent_decode_str;

use super::error::Refusal;
use crate::{
    nearest::nearest,
    semaphore::{Page, PeerId},
};

/// No page of a list has more entries.
const LONGEST_PAGE: usize = 1_000;

/// Percent-decodes a path segment.
///
/// # Errors
/// [`Refusal::BadEncoding`] where the result is not UTF-8.
pub fn name(segment: &str) -> Result<Cow<'_, str>, Refusal> {
    percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| Refusal::BadEncoding { found: segment.to_owned() })
}

/// Reads a path segment as the id of a peer.
///
/// # Errors
/// [`Refusal::BadPeerId`].
pub fn peer_id(segment: &str) -> Result<PeerId, Refusal> {
    match segment.parse() {
        // Rust would take a plus sign.
        Ok(id) if !segment.starts_with('+') => Ok(PeerId(id)),
        _ => Err(Refusal::BadPeerId { found: segment.to_owned() }),
    }
}

/// Reads a query: the values of the parameters `known`, in that order. A plus sign is a blank.
///
/// # Errors
/// [`Refusal::BadQuery`] for a parameter that is unknown or stands there twice,
/// [`Refusal::BadEncoding`].
pub fn query<'a, const N: usize>(
    query: &'a str,
    known: [&str; N],
) -> Result<[Option<Cow<'a, str>>; N], Refusal> {
    let mut values = [const { None }; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode_form(key)?;
        let Some(position) = known.iter().position(|name| *name == key) else {
            let hint = match nearest(&key, known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("expected one of: {}", known.join(", ")),
            };
            return Err(Refusal::BadQuery { reason: format!("unknown parameter `{key}`; {hint}") });
        };
        if values[position].replace(decode_form(value)?).is_some() {
            let reason = format!("parameter `{key}` stands there twice, expected once");
            return Err(Refusal::BadQuery { reason });
        }
    }
    Ok(values)
}

/// Reads the query parameters `offset` and `limit`; `None` where neither is there.
///
/// # Errors
/// [`Refusal::BadQuery`].
pub fn page(request: &ServiceRequest) -> Result<Option<Page>, Refusal> {
    let [offset, limit] = query(request.query_string(), ["offset", "limit"])?;
    if offset.is_none() && limit.is_none() {
        return Ok(None);
    }
    let number = |name: &str, text: Option<Cow<'_, str>>, range: RangeInclusive<usize>| {
        let Some(text) = text else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            let (from, to) = range.into_inner();
            let reason = format!("`{name}`: `{text}` is no integer from {from} to {to}");
            Refusal::BadQuery { reason }
        })
    };
    let offset = number("offset", offset, 0..=u32::MAX as usize)?.unwrap_or(0);
    let limit = number("limit", limit, 1..=LONGEST_PAGE)?.unwrap_or(100);
    Ok(Some(Page { offset, limit }))
}

/// Reads the value of a query parameter that is `true` or `false`.
///
/// # Errors
/// [`Refusal::BadQuery`].
pub fn boolean(name: &str, text: &str) -> Result<bool, Refusal> {
    text.parse().map_err(|_| Refusal::BadQuery {
        reason: format!("`{name}`: `{text}` is neither `true` nor `false`"),
    })
}

/// Checks that a request has no query, where it would mean nothing.
///
/// # Errors
/// [`Refusal::BadQuery`].
pub fn no_query(request: &ServiceRequest) -> Result<(), Refusal> {
    match request.query_string() {
        "" => Ok(()),
        _ => Err(Refusal::BadQuery { reason: "expected none on this route".to_owned() }),
    }
}

fn decode_form(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if !text.contains('+') {
        return name(text);
    }
    match name(&text.replace('+', " ")) {
        Ok(decoded) => Ok(Cow::Owned(decoded.into_owned())),
        Err(_) => Err(Refusal::BadEncoding { found: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_exactly_once() {
        for (segment, expected) in [
            ("A", "A"),
            ("a%2Fb", "a/b"),
            ("%2541", "%41"),
            ("a%20b+c", "a b+c"),
            ("%C3%A4%22%26", "ä\"&"),
            ("%zz%4", "%zz%4"),
        ] {
            assert_eq!(expected, name(segment).unwrap());
        }
        assert!(matches!(name("%FF"), Err(Refusal::BadEncoding { found }) if found == "%FF"));
    }

    #[test]
    fn ids_are_whole_numbers_of_64_bits() {
        assert_eq!(PeerId(0), peer_id("0").unwrap());
        assert_eq!(PeerId(9_999_999_999_999_999_999), peer_id("9999999999999999999").unwrap());
        assert_eq!(PeerId(10_000_000_000_000_000_000), peer_id("10000000000000000000").unwrap());
        assert_eq!(PeerId(u64::MAX), peer_id("18446744073709551615").unwrap());
        for segment in ["", "+5", "-1", "1.0", "0x1", "18446744073709551616", "%31"] {
            assert!(matches!(peer_id(segment), Err(Refusal::BadPeerId { .. })), "{segment}");
        }
    }

    #[test]
    fn query_parameters_come_in_the_order_of_the_known_names() {
        let values = query("expires_in=5m&block_for=1s+500ms", ["block_for", "expires_in"]);

        assert_eq!([Some("1s 500ms".into()), Some("5m".into())], values.unwrap());
        assert_eq!([None], query("", ["block_for"]).unwrap());
        assert_eq!([Some("%41".into())], query("&semaphore=%2541&", ["semaphore"]).unwrap());
    }

    #[test]
    fn unknown_repeated_and_undecodable_parameters_are_refused() {
        for (text, expected) in [
            (
                "blockfor=1s",
                "invalid query: unknown parameter `blockfor`; did you mean `block_for`?",
            ),
            ("x=1", "invalid query: unknown parameter `x`; expected one of: block_for"),
            (
                "block_for=1s&block_for=1s",
                "invalid query: parameter `block_for` stands there twice, expected once",
            ),
            (
                "block_for=+%FF",
                "`+%FF` is not UTF-8 after percent-decoding, expected a name in UTF-8",
            ),
        ] {
            assert_eq!(expected, query(text, ["block_for"]).unwrap_err().to_string());
        }
    }
}
