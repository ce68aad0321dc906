//! Carries log lines to a slow reader, and never makes a request wait for it.
//!
//! Whoever logs puts a line into a bounded queue, and a thread of its own hands them to a sink.
//! Lines that find the queue full, and those that the sink loses, are counted, and the next line
//! that is written is followed by their number.

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

/// Where lines end up. The thread of its queue alone calls it, so it may take its time.
pub trait Sink: Send + 'static {
    /// Writes a line, and answers how many are lost, as far as it knows by now: this one, or an
    /// earlier one that seemed to be written.
    fn write(&mut self, line: &[u8]) -> u64;

    /// The line which says that so many lines were dropped.
    fn notice(&self, dropped: u64) -> Vec<u8>;
}

enum Message {
    Line(Vec<u8>),
    /// Answered once all lines before it are written.
    Flush(SyncSender<()>),
}

/// Where lines are put in: one `put` or `write` a line.
#[derive(Clone, Debug)]
pub struct Queue {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// A queue whose lines are written to `sink`, by a thread of this name.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn to(thread: &str, sink: impl Sink) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = dropped.clone();
        thread::Builder::new()
            .name(thread.to_owned())
            .spawn(move || write_all(&receiver, sink, &count))?;
        Ok(Queue { sender, dropped })
    }

    /// Puts in a line, or counts it where there is no room.
    pub fn put(&self, line: Vec<u8>) {
        if self.sender.try_send(Message::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
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
        self.put(line.to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(messages: &Receiver<Message>, mut sink: impl Sink, dropped: &AtomicU64) {
    let mut reported = 0;
    for message in messages {
        match message {
            Message::Line(line) => {
                let mut lost = sink.write(&line);
                let total = dropped.load(Ordering::Relaxed);
                // A sink that has lost this line would lose the notice as well.
                if lost == 0 && total > reported {
                    lost = sink.write(&sink.notice(total - reported));
                    if lost == 0 {
                        reported = total;
                    }
                }
                dropped.fetch_add(lost, Ordering::Relaxed);
            }
            // Who has stopped waiting needs no answer.
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// A reader that reads nothing while the lock is held, and loses what says so.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<String>>>);

    impl Slow {
        fn lines(&self) -> Vec<String> {
            self.0.lock().clone()
        }
    }

    impl Sink for Slow {
        fn write(&mut self, line: &[u8]) -> u64 {
            let line = String::from_utf8(line.to_owned()).unwrap();
            let mut lines = self.0.lock();
            match line.strip_prefix("lost ") {
                Some(count) => count.parse().unwrap(),
                None => {
                    lines.push(line);
                    0
                }
            }
        }

        fn notice(&self, dropped: u64) -> Vec<u8> {
            format!("dropped {dropped}").into_bytes()
        }
    }

    fn queue(sink: &Slow) -> Queue {
        Queue::to("test", sink.clone()).unwrap()
    }

    #[test]
    fn lines_are_written_in_order() {
        let sink = Slow::default();
        let mut queue = queue(&sink);

        queue.put(b"one".to_vec());
        queue.write_all(b"two").unwrap();
        queue.drain();

        assert_eq!(["one", "two"], *sink.lines());
        assert_eq!(0, queue.dropped());
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted() {
        let sink = Slow::default();
        let queue = queue(&sink);
        let reader = sink.0.lock();

        for _ in 0..LINES + 100 {
            queue.put(b"line".to_vec());
        }
        let dropped = queue.dropped();
        drop(reader);
        while sink.lines().len() < LINES {}
        queue.drain();

        // One line may be with the thread that writes.
        assert!((99..=100).contains(&dropped), "{dropped}");
        let lines = sink.lines();
        assert_eq!(1, lines.iter().filter(|line| **line == format!("dropped {dropped}")).count());
        let written = lines.iter().filter(|line| *line == "line").count();
        assert_eq!(LINES + 100, written + usize::try_from(dropped).unwrap());
    }

    #[test]
    fn lines_that_the_sink_loses_are_reported_once_it_writes_again() {
        let sink = Slow::default();
        let queue = queue(&sink);

        for line in ["lost 1", "lost 2", "three", "four"] {
            queue.put(line.into());
        }
        queue.drain();

        assert_eq!(["three", "dropped 3", "four"], *sink.lines());
        assert_eq!(3, queue.dropped());
    }

    /// Loses all notices but the third.
    struct Forgetful(Slow, u64);

    impl Sink for Forgetful {
        fn write(&mut self, line: &[u8]) -> u64 {
            if line.starts_with(b"dropped") {
                self.1 += 1;
                if self.1 < 3 {
                    return 1;
                }
            }
            self.0.write(line)
        }

        fn notice(&self, dropped: u64) -> Vec<u8> {
            self.0.notice(dropped)
        }
    }

    #[test]
    fn notice_that_is_lost_counts_and_is_made_up_for() {
        let sink = Slow::default();
        let queue = Queue::to("test", Forgetful(sink.clone(), 0)).unwrap();

        for line in ["lost 5", "one", "two", "three", "four"] {
            queue.put(line.into());
        }
        queue.drain();

        assert_eq!(["one", "two", "three", "dropped 7", "four"], *sink.lines());
        assert_eq!(7, queue.dropped());
    }
}
