//! The UDP socket to whoever takes the messages: found by name, and looked for again after a
//! failure.
//!
//! UDP promises nothing. That a message was lost is noticed if the operating system says so, for
//! instance because nobody listens at the port; a message that is lost on its way is not missed.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    time::Duration,
};

use crate::{clock::Clock, semaphore::Timestamp};

/// The name is not resolved more often than this, so that a dead host costs nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// Names the addresses of the host, the best one first.
pub type Resolve = Box<dyn Fn() -> io::Result<Vec<SocketAddr>> + Send>;

/// Sends to the first address of a name that can be used.
pub struct Socket {
    resolve: Resolve,
    clock: Clock,
    socket: Option<UdpSocket>,
    /// The name is to be resolved before the next message, if it may be already.
    is_stale: bool,
    last_resolved: Option<Timestamp>,
}

impl Socket {
    /// A socket that will be opened with the first message.
    pub fn to(host: &str, port: u16, clock: Clock) -> Self {
        let host = host.trim_matches(['[', ']']).to_owned();
        let resolve = move || Ok((host.as_str(), port).to_socket_addrs()?.collect());
        Socket::resolved_by(Box::new(resolve), clock)
    }

    /// The same, to the addresses that `resolve` names.
    pub fn resolved_by(resolve: Resolve, clock: Clock) -> Self {
        Socket { resolve, clock, socket: None, is_stale: true, last_resolved: None }
    }

    /// Why an earlier message was lost after all, if it was: refused by the host it came to.
    pub fn take_error(&mut self) -> Option<io::Error> {
        let error = self.socket.as_ref()?.take_error().ok()??;
        self.is_stale = true;
        Some(error)
    }

    /// Sees to it that there is a socket, the best one that can be had now. To be called before
    /// each message.
    ///
    /// # Errors
    /// If there is none: the host cannot be resolved, or there is no way to its addresses.
    pub fn open(&mut self) -> io::Result<()> {
        if self.is_stale && self.may_resolve() {
            match self.reopen() {
                Ok(socket) => {
                    self.socket = Some(socket);
                    self.is_stale = false;
                }
                // The old socket may work again.
                Err(_) if self.socket.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        self.socket.as_ref().map(drop).ok_or(io::ErrorKind::NotConnected.into())
    }

    /// Sends the datagrams of one message.
    ///
    /// # Errors
    /// If the operating system refuses one of them. Then the message is lost.
    pub fn send(&mut self, datagrams: &[Vec<u8>]) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let sent = datagrams.iter().try_for_each(|datagram| socket.send(datagram).map(drop));
        self.is_stale |= sent.is_err();
        sent
    }

    fn may_resolve(&self) -> bool {
        let now = self.clock.now();
        self.last_resolved.is_none_or(|then| now.since(then) >= PAUSE)
    }

    fn reopen(&mut self) -> io::Result<UdpSocket> {
        let addresses = (self.resolve)();
        // Read afterwards: where resolving takes long, the pause follows it.
        self.last_resolved = Some(self.clock.now());
        let mut addresses = addresses?;
        // The address that failed comes last. A name such as `localhost` has several, and it may be
        // that somebody listens at one of them only.
        let failed = self.socket.as_ref().and_then(|socket| socket.peer_addr().ok());
        addresses.sort_by_key(|address| Some(*address) == failed);
        connect(&addresses)
    }
}

/// A socket that is connected to the first address for which that works.
fn connect(addresses: &[SocketAddr]) -> io::Result<UdpSocket> {
    let mut result = Err(io::Error::other("the name has no address"));
    for address in addresses {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        result = UdpSocket::bind((any, 0)).and_then(|socket| {
            socket.connect(address)?;
            Ok(socket)
        });
        if result.is_ok() {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use tokio::time::advance;

    use super::*;

    fn listener(address: &str) -> UdpSocket {
        let listener = UdpSocket::bind(address).unwrap();
        listener.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        listener
    }

    /// A socket to these addresses, and how often they were asked for.
    fn to(addresses: &[SocketAddr]) -> (Socket, Arc<AtomicU64>) {
        let (addresses, count) = (addresses.to_vec(), Arc::new(AtomicU64::new(0)));
        let counter = count.clone();
        let resolve = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            match addresses.is_empty() {
                true => Err(io::Error::other("no such host")),
                false => Ok(addresses.clone()),
            }
        };
        (Socket::resolved_by(Box::new(resolve), Clock::new()), count)
    }

    fn send(socket: &mut Socket, text: &str) -> io::Result<()> {
        socket.open()?;
        socket.send(&[text.as_bytes().to_vec()])
    }

    fn received(listener: &UdpSocket) -> String {
        let mut buffer = [0; 100];
        let length = listener.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn host_is_resolved_once_while_all_goes_well() {
        let listener = listener("127.0.0.1:0");
        let (mut socket, count) = to(&[listener.local_addr().unwrap()]);

        for text in ["one", "two", "three"] {
            send(&mut socket, text).unwrap();
            assert_eq!(text, received(&listener));
            advance(Duration::from_secs(3_600)).await;
        }

        assert_eq!(1, count.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn dead_host_is_resolved_once_a_second() {
        let (mut socket, count) = to(&[]);

        for expected in 1..=3 {
            for _ in 0..9 {
                assert!(send(&mut socket, "lost").is_err());
                advance(Duration::from_millis(110)).await;
            }
            assert_eq!(expected, count.load(Ordering::Relaxed));
            advance(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn next_address_gets_its_turn_after_a_failure() {
        let (deaf, listener) = (listener("127.0.0.1:0"), listener("127.0.0.1:0"));
        // Now it takes datagrams of that sender only, and refuses others.
        deaf.connect("127.0.0.1:9").unwrap();
        let addresses = [&deaf, &listener].map(|socket| socket.local_addr().unwrap());
        let (mut socket, _) = to(&addresses);

        send(&mut socket, "one").unwrap();
        assert!(socket.take_error().is_some());
        assert!(socket.take_error().is_none(), "it is told once");
        advance(PAUSE).await;
        send(&mut socket, "two").unwrap();

        assert_eq!("two", received(&listener));
    }

    #[test]
    fn address_that_cannot_be_used_is_passed_over() {
        let listener = listener("127.0.0.1:0");
        // Nobody may send to all hosts without asking for that first.
        let unusable = "255.255.255.255:12201".parse().unwrap();
        let (mut socket, _) = to(&[unusable, listener.local_addr().unwrap()]);

        send(&mut socket, "one").unwrap();

        assert_eq!("one", received(&listener));
    }

    #[test]
    fn addresses_of_both_kinds_can_be_written_as_they_are() {
        let mut hosts = vec![("127.0.0.1", listener("127.0.0.1:0"))];
        // Not every machine has IPv6.
        if let Ok(listener) = UdpSocket::bind("[::1]:0") {
            hosts.extend([("::1", listener.try_clone().unwrap()), ("[::1]", listener)]);
        }
        for (host, listener) in hosts {
            let port = listener.local_addr().unwrap().port();

            send(&mut Socket::to(host, port, Clock::new()), host).unwrap();

            assert_eq!(host, received(&listener));
        }
    }
}
