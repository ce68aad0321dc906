//! RESP, as Redis speaks it: requests are arrays of strings, answers are values of any kind.

use anyhow::{Context, Result, bail, ensure};

use super::Framed;

/// A command with its arguments, as it is sent.
pub fn command(parts: &[&str]) -> Vec<u8> {
    let head = format!("*{}\r\n", parts.len());
    let part = |part: &&str| format!("${}\r\n{part}\r\n", part.len());
    (head + &parts.iter().map(part).collect::<String>()).into_bytes()
}

/// Finds the end of an answer. What it says is the whole of it, such as `:1`, but for the end of
/// its last line; an error has the code 500, nil has 204.
///
/// # Errors
/// Where the bytes are no answer.
pub fn frame(bytes: &[u8]) -> Result<Option<Framed>> {
    let (mut end, mut to_come) = (0, 1_usize);
    while to_come > 0 {
        let rest = &bytes[end..];
        let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        end += line + 2;
        to_come -= 1;
        match rest[0] {
            b'+' | b'-' | b':' => {}
            b'$' => {
                if let Some(length) = length(&rest[1..line])? {
                    end += length + 2;
                    let Some(whole) = bytes.get(..end) else { return Ok(None) };
                    ensure!(whole.ends_with(b"\r\n"), "a string is longer than it says");
                }
            }
            b'*' => to_come += length(&rest[1..line])?.unwrap_or(0),
            other => bail!("no answer begins with the byte {other}"),
        }
    }
    let body = 0..end - 2;
    let code = match &bytes[body.clone()] {
        [b'-', ..] => 500,
        b"$-1" | b"*-1" => 204,
        _ => 200,
    };
    Ok(Some(Framed { code, body, end }))
}

/// The length that stands in a first line; `None` is that of nil.
fn length(digits: &[u8]) -> Result<Option<usize>> {
    let text = std::str::from_utf8(digits)?;
    if text == "-1" {
        return Ok(None);
    }
    text.parse().map(Some).with_context(|| format!("no length: `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_framed(code: u16, answer: &str) {
        let bytes = format!("{answer}\r\n").into_bytes();

        for end in 0..bytes.len() {
            assert_eq!(None, frame(&bytes[..end]).unwrap(), "{answer:?} cut at {end}");
        }
        let framed = Framed { code, body: 0..answer.len(), end: bytes.len() };
        assert_eq!(Some(framed), frame(&bytes).unwrap(), "{answer:?}");
    }

    #[test]
    fn commands_are_arrays_of_strings() {
        let expected = b"*2\r\n$4\r\nDECR\r\n$5\r\ntaken\r\n";

        assert_eq!(&expected[..], command(&["DECR", "taken"]));
    }

    #[test]
    fn answers_of_one_line_end_with_it() {
        assert_framed(200, "+PONG");
        assert_framed(200, ":-12");
        assert_framed(500, "-NOSCRIPT No matching script.");
    }

    #[test]
    fn strings_end_where_their_length_says() {
        assert_framed(200, "$0\r\n");
        assert_framed(200, "$5\r\na\r\nb:");
        assert_framed(204, "$-1");
    }

    #[test]
    fn arrays_end_with_their_last_element() {
        assert_framed(200, "*0");
        assert_framed(200, "*2\r\n$6\r\nwake:7\r\n$1\r\n1");
        assert_framed(200, "*3\r\n*2\r\n:1\r\n$-1\r\n*0\r\n+Ok");
        assert_framed(204, "*-1");
    }

    #[test]
    fn what_follows_an_answer_is_not_part_of_it() {
        let framed = frame(b":1\r\n:2\r\n").unwrap().unwrap();

        assert_eq!(4, framed.end);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bytes in ["HTTP/1.1 400\r\n", "$x\r\n", "$-2\r\n", "*1.5\r\n", "$1\r\nabc\r\n"] {
            assert!(frame(bytes.as_bytes()).is_err(), "{bytes:?}");
        }
    }
}
