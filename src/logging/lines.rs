//! The sink of standard error: lines of text, as they are.

use std::io::Write;

use super::queue::Sink;

/// Writes each line as it is.
pub struct Lines<W>(pub W);

impl<W: Write + Send + 'static> Sink for Lines<W> {
    fn write(&mut self, line: &[u8]) -> u64 {
        u64::from(self.0.write_all(line).is_err())
    }

    fn notice(&self, dropped: u64) -> Vec<u8> {
        format!("{dropped} log lines were dropped, for they were not read in time\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_that_cannot_be_written_is_lost() {
        let mut sink = Lines(std::io::Cursor::new([0_u8; 10]));

        assert_eq!(0, sink.write(b"one line\n"));
        assert_eq!(1, sink.write(b"another\n"));
    }

    #[test]
    fn notice_is_a_line() {
        let notice = Lines(Vec::new()).notice(3);

        assert_eq!(b"3 log lines were dropped, for they were not read in time\n", &*notice);
    }
}
