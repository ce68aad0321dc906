//! What goes to standard output.

use std::io::{self, ErrorKind, Write};

/// Prints a text. Whoever reads it may stop reading at any time, as `head` does.
///
/// # Errors
/// Where it cannot be written, for instance since the disk is full.
pub fn print(text: &str) -> io::Result<()> {
    try_print(text).map(drop)
}

/// Prints a text, and says whether somebody still reads, for who would go on otherwise.
///
/// # Errors
/// As [`print`].
pub fn try_print(text: &str) -> io::Result<bool> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}
