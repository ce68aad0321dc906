//! The last things that happened, numbered, for those who look on.
//!
//! What happens is entered under the lock of the books, hence in its order. Listeners fetch what is
//! new at their own pace; whoever is too slow misses something and is told so. It keeps nothing
//! beyond a bounded number of entries, nothing at all while nobody looks on, and shapes no answers.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

use crate::semaphore::{Changes, Event, Timestamp};

/// So many entries are kept: about a megabyte, and what semaphores and peers are called in them.
const KEPT: usize = 8_192;

/// So long everything is kept on after the last listener has gone: it may come back.
const LINGERS: Duration = Duration::from_secs(60);

/// No batch has more entries.
const BATCH: usize = 1_000;

/// There are never more listeners than this. Each has a connection of its own, and takes its time
/// with every burst.
pub const MOST_LISTENERS: usize = 100;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum News {
    /// To a lock.
    Lock(Event),
    /// A semaphore was changed by hand.
    Resized {
        /// Its name.
        semaphore: Arc<str>,
        /// Its max from now on.
        max: i64,
        /// Whether it grants nothing.
        is_paused: bool,
        /// Who asked for it.
        by: Arc<str>,
    },
    /// The configuration was read again.
    Reloaded(Arc<Reloaded>),
}

/// What a new configuration changed.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// Of the semaphores.
    pub changes: Changes,
    /// Tables and keys that have changed and take effect after a restart only.
    pub needs_restart: Vec<&'static str>,
    /// Who asked for it.
    pub by: Arc<str>,
}

/// When something happened, and what.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Counted from 1, in the order in which things happened.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub news: News,
}

/// The feed of one server.
#[derive(Debug)]
pub struct Feed {
    ring: Mutex<Ring>,
    news: Notify,
    listeners: AtomicUsize,
    is_followed: AtomicBool,
    is_closed: AtomicBool,
    closing: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<(Timestamp, News)>,
    /// The number of the last one.
    last: u64,
    /// When something was entered first after the last listener had gone.
    alone_since: Option<Timestamp>,
}

/// Who looks on. It has seen all entries up to a number.
#[derive(Debug)]
pub struct Listener {
    feed: Arc<Feed>,
    seen: u64,
}

/// What a listener has not seen yet.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Whether something is lost; then there are no entries.
    pub has_missed: bool,
    /// The entries, the oldest first.
    pub entries: Vec<Entry>,
    /// The number up to which all was seen.
    pub seen: u64,
}

impl Feed {
    /// In which nothing happened yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Feed {
            ring: Mutex::default(),
            news: Notify::new(),
            listeners: AtomicUsize::new(0),
            is_followed: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
        })
    }

    /// Whether somebody looks on, or did so a moment ago. Otherwise nothing is kept, for whatever
    /// is kept costs each request something.
    pub fn is_followed(&self) -> bool {
        self.is_followed.load(Ordering::Relaxed)
    }

    /// Enters what happened. Listeners learn of it with the next [`Feed::wake`].
    pub fn enter(&self, at: Timestamp, news: impl Iterator<Item = News>) {
        if !self.is_followed() {
            return;
        }
        let mut ring = self.ring.lock();
        if self.listeners.load(Ordering::Relaxed) > 0 {
            ring.alone_since = None;
        } else if at.since(*ring.alone_since.get_or_insert(at)) > LINGERS {
            // Whoever comes back after this has missed something.
            *ring = Ring { last: ring.last + 1, ..Ring::default() };
            self.is_followed.store(false, Ordering::Relaxed);
            return;
        }
        for news in news {
            if ring.entries.len() == KEPT {
                ring.entries.pop_front();
            }
            ring.entries.push_back((at, news));
            ring.last += 1;
        }
    }

    /// Wakes the listeners, if there are any.
    pub fn wake(&self) {
        if self.listeners.load(Ordering::Relaxed) > 0 {
            self.news.notify_waiters();
        }
    }

    /// Ends all listening: the server shuts down.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.news.notify_waiters();
        self.closing.notify_waiters();
    }

    /// Starts to listen: from now on, or with all that came after the entry `seen`. `None` where
    /// there are [`MOST_LISTENERS`] already.
    pub fn listen(self: &Arc<Self>, seen: Option<u64>) -> Option<Listener> {
        let is_room = |count: usize| (count < MOST_LISTENERS).then_some(count + 1);
        self.listeners.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_room).ok()?;
        let mut ring = self.ring.lock();
        ring.alone_since = None;
        self.is_followed.store(true, Ordering::Relaxed);
        let last = ring.last;
        drop(ring);
        Some(Listener { feed: self.clone(), seen: seen.unwrap_or(last) })
    }
}

impl Listener {
    /// Waits until there is something new. `None` once the server shuts down.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            let mut news = std::pin::pin!(self.feed.news.notified());
            // From here on, nothing that is entered is missed.
            news.as_mut().enable();
            let batch = self.fetch();
            if batch.has_missed || !batch.entries.is_empty() {
                self.seen = batch.seen;
                return Some(batch);
            }
            if self.feed.is_closed.load(Ordering::Acquire) {
                return None;
            }
            news.await;
        }
    }

    /// Waits for so long, but not beyond the beginning of the shutdown.
    pub async fn pause(&self, duration: Duration) {
        let mut closing = std::pin::pin!(self.feed.closing.notified());
        closing.as_mut().enable();
        if !self.feed.is_closed.load(Ordering::Acquire) {
            // Either way the pause is over.
            let _ = timeout(duration, closing).await;
        }
    }

    /// The number up to which all was seen.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    fn fetch(&self) -> Batch {
        let ring = self.feed.ring.lock();
        let first = ring.last - ring.entries.len() as u64;
        // A number that is still to come is from another start of the server.
        let has_missed = self.seen < first || self.seen > ring.last;
        // Whoever has missed something looks at everything anew.
        let seen = if has_missed { ring.last } else { self.seen };
        let new = ring.entries.iter().skip((seen - first) as usize).take(BATCH);
        let entries: Vec<_> = (seen + 1..)
            .zip(new)
            .map(|(number, (at, news))| Entry { number, at: *at, news: news.clone() })
            .collect();
        let seen = seen + entries.len() as u64;
        Batch { has_missed, entries, seen }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.feed.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(feed: &Feed, count: usize) {
        enter_at(feed, 0, count);
    }

    fn enter_at(feed: &Feed, second: u64, count: usize) {
        let news = |_| News::Resized {
            semaphore: "A".into(),
            max: 1,
            is_paused: false,
            by: "somebody".into(),
        };
        let at = Timestamp::new(Duration::from_secs(second));
        feed.enter(at, (0..count).map(news));
        feed.wake();
    }

    /// In which everything is kept, for somebody has listened a moment ago.
    fn followed() -> Arc<Feed> {
        let feed = Feed::new();
        drop(feed.listen(None));
        feed
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.entries.iter().map(|entry| entry.number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn listener_sees_each_entry_once_and_in_order() {
        let feed = followed();
        enter(&feed, 2);
        let mut listener = feed.listen(None).unwrap();
        let listening = tokio::spawn(async move {
            let first = numbers(&listener.next().await.unwrap());
            (first, listener)
        });
        tokio::task::yield_now().await;

        enter(&feed, 2);
        let (first, mut listener) = listening.await.unwrap();
        enter(&feed, 1);

        assert_eq!(vec![3, 4], first);
        assert_eq!(vec![5], numbers(&listener.next().await.unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn listener_goes_on_where_it_was() {
        let feed = followed();
        enter(&feed, 5);

        let batch = feed.listen(Some(3)).unwrap().next().await.unwrap();

        assert!(!batch.has_missed);
        assert_eq!(vec![4, 5], numbers(&batch));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_is_told() {
        let feed = followed();
        enter(&feed, KEPT + 2);

        for (seen, has_missed) in [(1, true), (2, false), (KEPT as u64 + 3, true)] {
            let mut listener = feed.listen(Some(seen)).unwrap();
            let mut batch = listener.next().await.unwrap();
            assert_eq!(has_missed, batch.has_missed, "{seen}");
            let mut entries = batch.entries.len();
            while batch.seen < KEPT as u64 + 2 {
                batch = listener.next().await.unwrap();
                entries += batch.entries.len();
            }

            assert_eq!(if has_missed { 0 } else { KEPT }, entries);
            assert_eq!(KEPT as u64 + 2, batch.seen);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_while_nobody_looks_on() {
        let feed = Feed::new();
        enter(&feed, 5);
        assert!(!feed.is_followed() && feed.ring.lock().entries.is_empty());

        drop(feed.listen(None));
        enter_at(&feed, 100, 5);
        enter_at(&feed, 160, 5);
        let batch = feed.listen(Some(3)).unwrap().next().await.unwrap();
        assert_eq!((false, 7), (batch.has_missed, batch.entries.len()), "it comes back in time");

        enter_at(&feed, 200, 1);
        enter_at(&feed, 261, 1);
        assert!(!feed.is_followed() && feed.ring.lock().entries.is_empty());
        let batch = feed.listen(Some(11)).unwrap().next().await.unwrap();
        assert!(batch.has_missed, "it comes too late");
    }

    #[tokio::test(start_paused = true)]
    async fn closed_feed_ends_all_listening() {
        let feed = Feed::new();
        let mut listener = feed.listen(None).unwrap();
        let listening = tokio::spawn(async move { listener.next().await.is_none() });
        tokio::task::yield_now().await;

        feed.close();

        assert!(listening.await.unwrap());
    }

    #[test]
    fn listeners_are_bounded() {
        let feed = Feed::new();
        let all: Vec<_> = (0..MOST_LISTENERS).map(|_| feed.listen(None).unwrap()).collect();
        assert!(feed.listen(None).is_none());

        drop(all);

        assert!(feed.listen(None).is_some());
    }
}
