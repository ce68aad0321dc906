//! PostgreSQL's protocol, as far as simple queries with one row and one column need it.

use anyhow::{Result, bail, ensure};

use super::Framed;

/// What a client says first: its length, version 3.0, and as whom it connects to what.
pub const STARTUP: &[u8] = b"\0\0\0\x26\0\x03\0\0user\0bench\0database\0postgres\0\0";

/// The user that is named in [`STARTUP`].
pub const USER: &str = "bench";

/// No message that we ask for comes near to it.
const LONGEST: usize = 1 << 20;

/// A simple query, as it is sent.
pub fn query(sql: &str) -> Vec<u8> {
    let length = 4 + sql.len() as u32 + 1;
    [b"Q", &length.to_be_bytes()[..], sql.as_bytes(), b"\0"].concat()
}

/// A row with one column of text: what the answer to such a query says.
pub fn row(text: &str) -> Vec<u8> {
    [&1_u16.to_be_bytes()[..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

/// Finds the end of an answer: that is where the server is ready for the next query. What it says
/// is its last row, if it has any.
///
/// # Errors
/// Where the bytes are no answer; where they are an error, for none is ever asked for.
pub fn frame(bytes: &[u8]) -> Result<Option<Framed>> {
    let (mut at, mut body) = (0, 0..0);
    loop {
        let Some([kind, length @ ..]) = bytes[at..].first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        ensure!((4..LONGEST).contains(&length), "a message of {length} bytes");
        let (start, end) = (at + 5, at + 1 + length);
        let Some(message) = bytes.get(start..end) else { return Ok(None) };
        match kind {
            b'Z' => return Ok(Some(Framed { code: 200, body, end })),
            b'D' => body = start..end,
            b'E' => bail!("the server refuses: {}", error(message)),
            b'R' => ensure!(message == [0; 4], "the server wants to know who we are"),
            // Parameters, keys, notices; what columns there are, and how many rows there were.
            b'S' | b'K' | b'N' | b'T' | b'C' => {}
            other => bail!("no message has the kind {other}"),
        }
        at = end;
    }
}

/// What an error says: each of its fields is a letter and a text.
fn error(message: &[u8]) -> String {
    let field = |letter: u8| {
        let mut fields = message.split(|byte| *byte == 0);
        let field = fields.find_map(|field| field.strip_prefix(&[letter]));
        String::from_utf8_lossy(field.unwrap_or(b"?")).into_owned()
    };
    format!("{} {}: {}", field(b'V'), field(b'C'), field(b'M'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[kind][..], &(content.len() as u32 + 4).to_be_bytes(), content].concat()
    }

    fn assert_framed(says: &[u8], answer: &[u8]) {
        for end in 0..answer.len() {
            assert_eq!(None, frame(&answer[..end]).unwrap(), "cut at {end}");
        }
        let framed = frame(answer).unwrap().unwrap();
        assert_eq!((200, answer.len()), (framed.code, framed.end));
        assert_eq!(says, &answer[framed.body]);
    }

    #[test]
    fn startup_has_the_length_that_it_says() {
        let (length, rest) = STARTUP.split_first_chunk().unwrap();

        assert_eq!(STARTUP.len() as u32, u32::from_be_bytes(*length));
        assert!(rest[4..].starts_with(format!("user\0{USER}\0").as_bytes()));
    }

    #[test]
    fn a_query_is_framed_with_its_length() {
        assert_eq!(&b"Q\0\0\0\x0dSELECT 1\0"[..], query("SELECT 1"));
    }

    #[test]
    fn a_greeting_is_answered_once_the_server_is_ready() {
        let answer = [
            message(b'R', &[0; 4]),
            message(b'S', b"server_version\x0015\0"),
            message(b'K', &[7; 8]),
            message(b'Z', b"I"),
        ];

        assert_framed(b"", &answer.concat());
    }

    #[test]
    fn a_query_is_answered_with_its_row() {
        let columns = b"\0\x01pg_advisory_unlock\0\0\0\0\0\0\0\0\0\0\x10\0\x01\xff\xff\xff\xff\0\0";
        let answer = [
            message(b'N', b"SNOTICE\0\0"),
            message(b'T', columns),
            message(b'D', &row("t")),
            message(b'C', b"SELECT 1\0"),
            message(b'Z', b"I"),
        ];

        assert_framed(b"\0\x01\0\0\0\x01t", &answer.concat());
    }

    #[test]
    fn an_error_is_one_with_what_it_says() {
        let answer = message(b'E', b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0");

        for end in 0..answer.len() {
            assert_eq!(None, frame(&answer[..end]).unwrap(), "cut at {end}");
        }
        let error = frame(&answer).unwrap_err().to_string();
        assert_eq!("the server refuses: FATAL 53300: sorry, too many clients already", error);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let wants_a_password = message(b'R', &[0, 0, 0, 3]);

        for bytes in [&b"HTTP/1.1 400"[..], b"Z\0\0\0\x03", &message(b'?', b""), &wants_a_password]
        {
            assert!(frame(bytes).is_err(), "{bytes:?}");
        }
    }
}
