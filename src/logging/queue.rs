//! Carries log lines to a slow reader, and never makes a request wait for it.
//!
//! Whoever logs puts a line into a bounded queue, and a thread of its own writes them. Where the
//! queue is full, lines are dropped and counted, and the next line that is written is followed by
//! their number.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

/// So many lines may wait to be written.
const LINES: usize = 4_096;

/// The end of the process waits no longer for lines to be written.
const PATIENCE: Duration = Duration::from_secs(1);

enum Message {
    Line(Vec<u8>),
    /// Answered once all lines before it are written.
    Flush(SyncSender<()>),
}

/// Where lines are put in: one `write` a line.
#[derive(Clone, Debug)]
pub struct Queue {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// A queue whose lines are written to `sink`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = dropped.clone();
        thread::Builder::new()
            .name("logging".to_owned())
            .spawn(move || write_all(&receiver, sink, &count))?;
        Ok(Queue { sender, dropped })
    }

    /// Waits until all lines are written that were put in before, but not for long: it may be that
    /// nobody reads them.
    pub fn drain(&self) {
        let (done, is_done) = mpsc::sync_channel(1);
        if self.sender.try_send(Message::Flush(done)).is_ok() {
            // Either way the process ends now.
            let _ = is_done.recv_timeout(PATIENCE);
        }
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Message::Line(line.to_owned())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(lines: &Receiver<Message>, mut sink: impl Write, dropped: &AtomicU64) {
    for message in lines {
        // Where nobody reads any more there is nobody to tell.
        match message {
            Message::Line(line) => drop(sink.write_all(&line)),
            Message::Flush(done) => drop(done.try_send(())),
        }
        let dropped = dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ =
                writeln!(sink, "{dropped} log lines were dropped, for they were not read in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A reader that reads nothing while the lock is held.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order() {
        let sink = Slow::default();
        let mut queue = Queue::to(sink.clone()).unwrap();

        queue.write_all(b"one\n").unwrap();
        queue.write_all(b"two\n").unwrap();
        queue.drain();

        assert_eq!(b"one\ntwo\n", &**sink.0.lock().unwrap());
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted() {
        let sink = Slow::default();
        let mut queue = Queue::to(sink.clone()).unwrap();
        let reader = sink.0.lock().unwrap();

        for _ in 0..LINES + 100 {
            queue.write_all(b"line\n").unwrap();
        }
        drop(reader);
        while sink.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count() < LINES {}
        queue.drain();

        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let dropped: usize = (text.lines())
            .filter_map(|line| {
                line.strip_suffix(" log lines were dropped, for they were not read in time")
            })
            .map(|count| count.parse::<usize>().unwrap())
            .sum();
        assert!(dropped >= 99, "{dropped}");
        assert_eq!(LINES + 100, dropped + text.lines().filter(|line| *line == "line").count());
    }
}
