//! Log messages for Graylog, or whoever else takes GELF 1.1 over UDP.
//!
//! Whoever logs encodes the message and puts it into a queue; the thread behind it compresses and
//! sends. Only that thread ever waits for a name server or for the network.

pub mod datagrams;
pub mod message;
mod socket;

use std::{io, time::Duration};

use env_filter::Filter;
use log::{Level, LevelFilter, Log, Metadata, Record};

use self::{datagrams::datagrams, message::encode, socket::Socket};
use super::{
    NOT_OURS,
    queue::{Queue, Sink},
};
use crate::{
    clock::{self, Clock},
    config::Gelf,
    ids::random_message_id,
    semaphore::Timestamp,
};

/// Failures belong to one streak, of which the first alone is reported, until messages go through
/// again this long after the last one.
const QUIET: Duration = Duration::from_secs(60);

/// Hands log records to Graylog.
pub struct Logger {
    name: String,
    filter: Filter,
    queue: Queue,
}

impl Logger {
    /// Starts the thread that sends. It says on `stderr` if it cannot.
    ///
    /// # Errors
    /// If the thread cannot be started. That nobody takes the messages is no error.
    pub fn start(gelf: &Gelf, stderr: Queue) -> io::Result<Self> {
        let clock = Clock::new();
        let graylog = Graylog {
            name: gelf.name.clone(),
            place: format!("`{}`, port {}", gelf.host, gelf.port),
            socket: Socket::to(&gelf.host, gelf.port, clock),
            stderr,
            clock,
            last_failure: None,
        };
        let mut filter = env_filter::Builder::new();
        filter.filter_level(gelf.level).filter_module(NOT_OURS, LevelFilter::Off);
        Ok(Logger {
            name: gelf.name.clone(),
            filter: filter.build(),
            queue: Queue::to("log-gelf", graylog)?,
        })
    }

    /// Where messages wait to be sent.
    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// The most verbose level that is sent.
    pub fn level(&self) -> LevelFilter {
        self.filter.filter()
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.queue.put(encode(&self.name, record, clock::since_1970()));
        }
    }

    fn flush(&self) {}
}

/// The sink: sends what has been encoded. It must not log, or it would log about its own messages.
struct Graylog {
    name: String,
    place: String,
    socket: Socket,
    stderr: Queue,
    clock: Clock,
    /// Of the streak of failures that is not over.
    last_failure: Option<Timestamp>,
}

impl Graylog {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        // First of all, so that nothing is compressed for a host that is not there.
        self.socket.open()?;
        self.socket.send(&datagrams(message, random_message_id())?)
    }

    fn failed(&mut self, error: &io::Error) {
        if self.last_failure.is_none() {
            let line = format!(
                "cannot send log messages to Graylog at {}: {error}; they are dropped and counted \
                 until it can be reached\n",
                self.place
            );
            self.stderr.put(line.into_bytes());
        }
        self.last_failure = Some(self.clock.now());
    }

    fn succeeded(&mut self) {
        let now = self.clock.now();
        self.last_failure = self.last_failure.filter(|then| now.since(*then) < QUIET);
    }
}

impl Sink for Graylog {
    fn write(&mut self, message: &[u8]) -> u64 {
        // Nothing was known of this one when the message before was counted as sent.
        let earlier = self.socket.take_error();
        let errors = [earlier, self.send(message).err()];
        errors.iter().flatten().for_each(|error| self.failed(error));
        let lost = errors.iter().flatten().count();
        if lost == 0 {
            self.succeeded();
        }
        lost as u64
    }

    fn notice(&self, dropped: u64) -> Vec<u8> {
        let key_values = [("dropped", dropped)];
        let mut record = Record::builder();
        record.level(Level::Warn).target("throttle").key_values(&key_values);
        let reason = "for they could not be sent, or not in time";
        encode(
            &self.name,
            &record.args(format_args!("{dropped} log messages were dropped, {reason}")).build(),
            clock::since_1970(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::UdpSocket};

    use flate2::read::GzDecoder;
    use serde_json::Value;
    use tokio::time::advance;

    use super::{super::lines::Lines, *};

    /// What a queue has written.
    #[derive(Clone, Default)]
    struct Text(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);

    impl io::Write for Text {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A sink that sends to this port, and what it says on standard error.
    struct Sample {
        graylog: Graylog,
        stderr: Queue,
        text: Text,
    }

    impl Sample {
        fn new(socket: impl FnOnce(Clock) -> Socket) -> Self {
            let text = Text::default();
            let stderr = Queue::to("test", Lines(text.clone())).unwrap();
            let clock = Clock::new();
            let graylog = Graylog {
                name: "sample".to_owned(),
                place: "here".to_owned(),
                socket: socket(clock),
                stderr: stderr.clone(),
                clock,
                last_failure: None,
            };
            Sample { graylog, stderr, text }
        }

        fn to(socket: &UdpSocket) -> Self {
            let port = socket.local_addr().unwrap().port();
            Sample::new(|clock| Socket::to("127.0.0.1", port, clock))
        }

        fn reports(&self) -> Vec<String> {
            self.stderr.drain();
            let text = String::from_utf8(self.text.0.lock().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    /// A port at which nobody listens, and which nobody else is given: it takes datagrams of one
    /// sender only.
    fn deaf() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect("127.0.0.1:9").unwrap();
        socket
    }

    fn received(socket: &UdpSocket) -> Value {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut datagram = [0; 8_192];
        let length = socket.recv(&mut datagram).unwrap();
        let mut json = String::new();
        GzDecoder::new(&datagram[..length]).read_to_string(&mut json).unwrap();
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn notice_says_how_many_were_dropped() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sample = Sample::to(&listener);

        let lost = sample.graylog.write(&sample.graylog.notice(7));

        let message = received(&listener);
        assert_eq!(0, lost);
        let text = "7 log messages were dropped, for they could not be sent, or not in time";
        assert_eq!(text, message["short_message"]);
        assert_eq!(4, message["level"]);
        assert_eq!("sample", message["host"]);
        assert_eq!(7, message["_dropped"]);
        assert!(sample.reports().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn message_that_nobody_takes_is_missed_with_the_next_one() {
        let deaf = deaf();
        let mut sample = Sample::to(&deaf);

        let lost: Vec<_> = (0..5).map(|_| sample.graylog.write(b"{}")).collect();

        assert_eq!([0, 1, 1, 1, 1], *lost);
        let reports = sample.reports();
        assert_eq!(1, reports.len(), "{reports:?}");
        let beginning = "cannot send log messages to Graylog at here: ";
        assert!(reports[0].starts_with(beginning), "{reports:?}");
    }

    #[test]
    fn graylog_that_is_back_is_told_what_it_missed() {
        let (deaf, listener) = (deaf(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let addresses = [&deaf, &listener].map(|socket| socket.local_addr().unwrap());
        let resolve = move || Ok(addresses.to_vec());
        let sample = Sample::new(|clock| Socket::resolved_by(Box::new(resolve), clock));
        let queue = Queue::to("test", sample.graylog).unwrap();
        listener.set_nonblocking(true).unwrap();

        // The second address gets its turn after a second of the real clock.
        let mut message = Value::Null;
        while message["_dropped"].is_null() {
            queue.put(b"{}".to_vec());
            queue.drain();
            if listener.peek(&mut [0; 8_192]).is_ok() {
                message = received(&listener);
            }
            std::thread::sleep(Duration::from_millis(5));
        }

        assert!(queue.dropped() > 0);
        assert_eq!(queue.dropped(), message["_dropped"]);
    }

    /// However rarely something is logged.
    #[tokio::test(start_paused = true)]
    async fn streak_of_failures_is_reported_once() {
        let deaf = deaf();
        let mut sample = Sample::to(&deaf);

        for pause in [0, 0, 1, 0, 30, 0, 3_600, 3_600, 0, 3_600] {
            advance(Duration::from_secs(pause)).await;
            sample.graylog.write(b"{}");
        }

        assert_eq!(1, sample.reports().len());
    }

    #[tokio::test(start_paused = true)]
    async fn failure_after_a_quiet_time_is_reported_again() {
        for (quiet, expected) in [(59, 1), (60, 2)] {
            let (deaf, listener) = (deaf(), UdpSocket::bind("127.0.0.1:0").unwrap());
            let addresses = [&deaf, &listener].map(|socket| socket.local_addr().unwrap());
            let resolve = move || Ok(addresses.to_vec());
            let mut sample = Sample::new(|clock| Socket::resolved_by(Box::new(resolve), clock));
            let mut lost = Vec::new();

            for pause in [0, 1, 30, quiet - 30, 0, 0] {
                advance(Duration::from_secs(pause)).await;
                if lost.len() == 4 {
                    listener.connect("127.0.0.1:9").unwrap();
                }
                lost.push(sample.graylog.write(b"{}"));
            }

            assert_eq!([0, 1, 0, 0, 0, 1], *lost);
            assert_eq!(expected, sample.reports().len());
        }
    }

    #[test]
    fn name_that_cannot_be_resolved_is_reported_once() {
        // DNS allows 63 letters, so no name server is asked.
        let name = "x".repeat(64);
        let mut sample = Sample::new(|clock| Socket::to(&name, 12201, clock));

        let lost: u64 = (0..1_000).map(|_| sample.graylog.write(b"{}")).sum();

        assert_eq!(1_000, lost);
        assert_eq!(1, sample.reports().len());
    }
}
