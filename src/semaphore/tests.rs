//! What the pure room promises, one behaviour a test. Time is plain numbers: seconds.

use std::time::Duration;

use super::{
    About, Adjustment, Arrival, Asking, BOUNDS, Catalogue, Changes, Effect, Effects, Error, Event,
    Happening, Kept, Leases, NewPeer, Page, PeerId, PendingLock, Progress, Reason, Restored, Rules,
    SemaphoreConfig, SemaphoreSnapshot, SemaphoreView, Source, Status, Template, Terms, Timestamp,
    Token, invariants,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Books, a clock that a test sets, and the effects of the last operation.
struct World {
    leases: Leases,
    now: Timestamp,
    effects: Effects,
}

impl World {
    fn new(semaphores: &[(&str, i64, i32)]) -> Self {
        World::with_rules(semaphores, Rules::default())
    }

    fn with_rules(semaphores: &[(&str, i64, i32)], rules: Rules) -> Self {
        let config = |(name, max, level): &(&str, i64, i32)| {
            ((*name).to_owned(), SemaphoreConfig { max: *max, level: *level })
        };
        let leases = Leases::new(semaphores.iter().map(config).collect::<Catalogue>(), rules);
        World { leases, now: Timestamp::default(), effects: Effects::new() }
    }

    /// One semaphore `A` of that max, and peers 1 to 5 with leases of an hour.
    fn with_max(max: i64) -> Self {
        let mut world = World::new(&[("A", max, 0)]);
        world.peers(5);
        world
    }

    fn peers(&mut self, count: u64) {
        (1..=count).for_each(|id| self.new_peer(id, HOUR));
    }

    fn at(&mut self, second: u64) -> &mut Self {
        self.now = Timestamp::new(Duration::from_secs(second));
        self
    }

    fn step<R>(&mut self, op: impl FnOnce(&mut Leases, Timestamp, &mut Effects) -> R) -> R {
        self.effects = Effects::new();
        let result = op(&mut self.leases, self.now, &mut self.effects);
        invariants::check(&self.leases);
        result
    }

    fn new_peer(&mut self, id: u64, expires_in: Duration) {
        let new = NewPeer { expires_in, about: None, acquire: &[], may_queue: true };
        let made = self.step(|leases, now, fx| leases.new_peer(PeerId(id), new, now, fx));
        assert_eq!(Ok(Progress::Acquired(None)), made.map(|standing| standing.progress));
    }

    /// Makes a peer that asks for these locks at once.
    fn make(&mut self, id: u64, acquire: &[(&str, i64)]) -> Result<bool, Error> {
        let new = NewPeer { expires_in: HOUR, about: None, acquire, may_queue: true };
        self.step(|leases, now, fx| leases.new_peer(PeerId(id), new, now, fx)).map(is_acquired)
    }

    fn ask(&mut self, id: u64, asking: Asking<'_>, may_queue: bool) -> Result<Status, Error> {
        let terms = Terms { expires_in: None, may_queue };
        self.step(|leases, now, fx| leases.acquire(PeerId(id), asking, terms, now, fx))
    }

    /// Asks for one lock, and has the lease renewed.
    fn ask_for(&mut self, id: u64, lock: (&str, i64), expires_in: Duration) -> Result<bool, Error> {
        let terms = Terms { expires_in: Some(expires_in), may_queue: true };
        self.step(|leases, now, fx| leases.acquire(PeerId(id), Asking::Lock(lock), terms, now, fx))
            .map(is_acquired)
    }

    fn acquire_all(&mut self, id: u64, wanted: &[(&str, i64)]) -> Result<bool, Error> {
        self.ask(id, Asking::Together(wanted), true).map(is_acquired)
    }

    fn acquire(&mut self, id: u64, semaphore: &str, count: i64) -> Result<bool, Error> {
        self.ask(id, Asking::Lock((semaphore, count)), true).map(is_acquired)
    }

    /// The token with which a repetition of the ask is answered.
    fn token(&mut self, id: u64, semaphore: &str, count: i64) -> Option<u64> {
        match self.ask(id, Asking::Lock((semaphore, count)), true).unwrap().progress {
            Progress::Acquired(token) => token.map(Token::number),
            Progress::Pending(_) => panic!("`{semaphore}` is pending"),
        }
    }

    fn release(&mut self, id: u64, semaphore: &str) -> Result<(), Error> {
        self.step(|leases, now, fx| leases.release(PeerId(id), semaphore, now, fx)).map(drop)
    }

    fn remove(&mut self, id: u64) -> bool {
        self.step(|leases, now, fx| leases.remove_peer(PeerId(id), now, fx))
    }

    fn heartbeat(&mut self, id: u64, seconds: u64) -> Result<(), Error> {
        let expires_in = Duration::from_secs(seconds);
        self.step(|leases, now, fx| leases.heartbeat(PeerId(id), expires_in, now, fx)).map(drop)
    }

    fn restore(&mut self, id: u64, acquired: &[(&str, i64)]) -> Result<(), Error> {
        self.restore_with(id, acquired, &[])
    }

    fn restore_with(
        &mut self,
        id: u64,
        acquired: &[(&str, i64)],
        tokens: &[(&str, u64)],
    ) -> Result<(), Error> {
        let restored = Restored { acquired, tokens, about: None, expires_in: HOUR };
        self.step(|leases, now, fx| leases.restore(PeerId(id), restored, now, fx)).map(drop)
    }

    fn expire(&mut self) -> usize {
        self.step(|leases, now, fx| leases.expire(now, usize::MAX, fx))
    }

    fn is_acquired(&mut self, id: u64) -> Result<bool, Error> {
        let asked = self.step(|leases, now, fx| leases.is_acquired(PeerId(id), now, fx));
        asked.map(|(is_acquired, _)| is_acquired)
    }

    fn adjust(
        &mut self,
        semaphore: &str,
        max: Option<i64>,
        paused: Option<bool>,
    ) -> Result<SemaphoreSnapshot, Error> {
        let adjustment = Adjustment { max, paused };
        self.step(|leases, now, fx| leases.adjust(semaphore, adjustment, now, fx))
    }

    fn resize(&mut self, semaphore: &str, max: i64) {
        assert_eq!(Ok(max), self.adjust(semaphore, Some(max), None).map(|it| it.max));
    }

    fn pause(&mut self, semaphore: &str, is_paused: bool) {
        let adjusted = self.adjust(semaphore, None, Some(is_paused));
        assert_eq!(Ok(is_paused), adjusted.map(|it| it.is_paused));
    }

    fn reset(&mut self, semaphore: &str) -> Result<SemaphoreSnapshot, Error> {
        self.step(|leases, now, fx| leases.reset(semaphore, now, fx))
    }

    fn configure(&mut self, catalogue: impl Into<Catalogue>) -> Changes {
        self.step(|leases, now, fx| leases.configure(catalogue.into(), now, fx))
    }

    fn view(&mut self, semaphore: &str) -> SemaphoreView {
        self.step(|leases, now, fx| leases.semaphore(semaphore, Page::ALL, now, fx)).unwrap()
    }

    /// How the semaphore of that name is.
    fn snapshot(&mut self, semaphore: &str) -> SemaphoreSnapshot {
        self.view(semaphore).semaphore
    }

    /// Names of all semaphores, as the next one who comes finds them.
    fn names(&mut self) -> Vec<String> {
        self.step(|leases, now, fx| {
            leases.expire(now, 0, fx);
            leases.semaphores(now).map(|semaphore| semaphore.name.to_string()).collect()
        })
    }

    /// What those who wait were told in the last operation.
    fn told(&self) -> Vec<&'static str> {
        let told = |effect: &Effect| match effect {
            Effect::Acquired { .. } => "acquired",
            Effect::Withdrawn(_) => "withdrawn",
            Effect::PeerGone(_) => "peer gone",
            Effect::RecoveryEnded => "recovery ended",
        };
        self.effects.ends.iter().map(told).collect()
    }

    /// What happened in the last operation, and to whose lock.
    fn happened(&self) -> Vec<(Happening, u64)> {
        let events = self.effects.events.iter();
        events.map(|Event { happening, peer, .. }| (*happening, peer.0)).collect()
    }

    fn remainder(&mut self, semaphore: &str) -> i64 {
        self.step(|leases, now, fx| leases.remainder(semaphore, now, fx)).unwrap()
    }

    /// Which of these peers wait for nothing.
    fn acquired(&mut self, ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
        ids.into_iter().filter(|id| self.is_acquired(*id) == Ok(true)).collect()
    }
}

fn is_acquired(standing: Status) -> bool {
    matches!(standing.progress, Progress::Acquired(_))
}

mod acquiring {
    use super::*;

    #[test]
    fn free_permits_are_acquired_at_once() {
        let mut world = World::with_max(3);

        assert_eq!(Ok(true), world.acquire(1, "A", 1));
        assert_eq!(Ok(true), world.acquire(2, "A", 2));
        assert_eq!(0, world.remainder("A"));
    }

    #[test]
    fn exhausted_semaphore_makes_pending() {
        let mut world = World::with_max(1);

        assert_eq!(Ok(true), world.acquire(1, "A", 1));
        assert_eq!(Ok(false), world.acquire(2, "A", 1));
        assert_eq!(Ok(false), world.is_acquired(2));
        assert_eq!(0, world.remainder("A"));
    }

    #[test]
    fn same_lock_again_changes_nothing() {
        let mut world = World::with_max(2);

        for _ in 0..3 {
            assert_eq!(Ok(true), world.acquire(1, "A", 2));
            assert_eq!(Ok(false), world.acquire(2, "A", 1));
        }

        assert_eq!(0, world.remainder("A"));
        world.remove(1);
        assert_eq!(1, world.remainder("A"));
    }

    #[test]
    fn asking_again_keeps_the_place_in_the_queue() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();
        world.acquire(3, "A", 1).unwrap();

        world.acquire(2, "A", 1).unwrap();
        assert!(world.told().is_empty() && world.happened().is_empty());
        world.release(1, "A").unwrap();

        assert_eq!([2], *world.acquired(2..=3));
    }

    #[test]
    fn large_lock_is_not_starved_by_small_ones() {
        let mut world = World::with_max(3);
        world.acquire(1, "A", 1).unwrap();
        assert_eq!(Ok(false), world.acquire(2, "A", 3));

        assert_eq!(Ok(false), world.acquire(3, "A", 1), "although a permit is free");
        world.release(1, "A").unwrap();

        assert_eq!([2], *world.acquired(2..=3));
    }

    #[test]
    fn release_serves_as_many_as_fit_in_order() {
        let mut world = World::with_max(4);
        world.acquire(1, "A", 4).unwrap();
        for (id, count) in [(2, 1), (3, 2), (4, 2), (5, 1)] {
            world.acquire(id, "A", count).unwrap();
        }

        world.release(1, "A").unwrap();

        assert_eq!([2, 3], *world.acquired(2..=5), "4 does not fit, and 5 came after 4");
    }

    #[test]
    fn smaller_count_of_a_held_lock_hands_on_the_rest() {
        let mut world = World::with_max(3);
        world.acquire(1, "A", 3).unwrap();
        world.acquire(2, "A", 2).unwrap();

        assert_eq!(Ok(true), world.acquire(1, "A", 1));

        assert_eq!([2], *world.acquired(2..=2));
        assert_eq!(0, world.remainder("A"));
    }

    #[test]
    fn smaller_count_of_a_pending_lock_may_be_acquired_at_once() {
        let mut world = World::with_max(3);
        world.acquire(1, "A", 2).unwrap();
        world.acquire(2, "A", 3).unwrap();
        world.acquire(3, "A", 1).unwrap();

        assert_eq!(Ok(true), world.acquire(2, "A", 1));

        assert!(matches!(world.effects.ends[..], [Effect::Withdrawn(_), Effect::Acquired { .. }]));
        assert_eq!(Ok(false), world.is_acquired(3));
        assert_eq!(0, world.remainder("A"));
    }

    #[test]
    fn smaller_count_lets_the_next_one_go() {
        let mut world = World::with_max(3);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 3).unwrap();
        world.acquire(3, "A", 1).unwrap();

        assert_eq!(Ok(true), world.acquire(2, "A", 1));

        assert_eq!(Ok(true), world.is_acquired(3));
    }

    #[test]
    fn count_of_the_whole_range_is_checked() {
        let mut world = World::with_max(i64::MAX);

        assert_eq!(Err(Error::CountBelowOne { found: i64::MIN }), world.acquire(1, "A", i64::MIN));
        assert_eq!(Err(Error::CountBelowOne { found: 0 }), world.acquire(1, "A", 0));
        for id in 1..=3 {
            assert_eq!(Ok(id == 1), world.acquire(id, "A", i64::MAX));
        }
        for id in 1..=3 {
            let expected = Err(Error::CountBelowOne { found: i64::MIN });
            assert_eq!(
                expected,
                world.acquire(id, "A", i64::MIN),
                "held by 1, pending for 2 and 3"
            );
        }
        let pending = world.leases.semaphores(world.now).next().unwrap().pending;
        assert_eq!(2 * i128::from(i64::MAX), pending);
    }

    #[test]
    fn semaphore_without_permits_refuses_every_count() {
        let mut world = World::with_max(0);

        assert_eq!(Err(Error::CountAboveMax { count: 1, max: 0 }), world.acquire(1, "A", 1));
    }
}

mod refusals {
    use super::*;

    #[test]
    fn checks_come_in_the_order_of_the_contract() {
        let mut world = World::new(&[("A", 2, 0), ("B", 5, 1), ("C", 5, 0)]);
        world.peers(3);
        world.acquire(1, "B", 1).unwrap();
        world.acquire(3, "A", 2).unwrap();
        world.acquire(1, "A", 1).unwrap();

        let pending = "A".to_owned();
        let level = Error::LevelViolation {
            semaphore: "B".to_owned(),
            level: 1,
            held: "A".to_owned(),
            held_level: 0,
        };
        let grow = Error::Grow { semaphore: "B".to_owned(), count: 2, existing: 1 };
        assert_eq!(Err(Error::UnknownSemaphore), world.acquire(99, "X", 0));
        assert_eq!(Err(Error::CountAboveMax { count: 3, max: 2 }), world.acquire(99, "A", 3));
        assert_eq!(Err(Error::CountBelowOne { found: 0 }), world.acquire(99, "A", 0));
        assert_eq!(Err(Error::UnknownPeer), world.acquire(99, "A", 1));
        assert_eq!(Err(Error::CountBelowOne { found: 0 }), world.acquire(1, "B", 0));
        assert_eq!(Err(grow), world.acquire(1, "B", 2));
        assert_eq!(Err(level), world.acquire(3, "B", 1));
        assert_eq!(Err(Error::AlreadyPending { semaphore: pending }), world.acquire(1, "C", 1));
    }

    #[test]
    fn refused_acquire_renews_no_lease() {
        let mut world = World::new(&[("A", 1, 0)]);
        world.new_peer(1, Duration::from_secs(10));

        let result = world.ask_for(1, ("A", 2), HOUR);

        assert_eq!(Err(Error::CountAboveMax { count: 2, max: 1 }), result);
        assert_eq!(1, world.at(10).expire());
    }

    #[test]
    fn texts_name_peers_and_tokens_by_their_numbers() {
        let token = Token::new(8).unwrap();

        assert!(Error::Revoked { id: PeerId(7) }.to_string().starts_with("Peer 7 was revoked."));
        assert_eq!(("8", 8), (&*token.to_string(), token.number()));
    }

    #[test]
    fn pending_lock_cannot_grow() {
        let mut world = World::with_max(3);
        world.acquire(1, "A", 3).unwrap();
        world.acquire(2, "A", 1).unwrap();

        let expected = Error::Grow { semaphore: "A".to_owned(), count: 2, existing: 1 };
        assert_eq!(Err(expected), world.acquire(2, "A", 2));
    }

    #[test]
    fn names_must_be_given_and_given_once() {
        let mut world = World::with_max(1);

        let bad = |found: &str| Err(Error::BadNames { found: found.to_owned() });
        assert_eq!(bad("none"), world.acquire_all(1, &[]));
        assert_eq!(bad("A"), world.acquire_all(1, &[("A", 1), ("A", 1)]));
        assert_eq!(bad("A").map(|_: bool| ()), world.restore(9, &[("A", 1), ("A", 1)]));
    }
}

mod levels {
    use super::*;

    #[test]
    fn lower_level_nests_in_a_higher_one_and_not_the_other_way_round() {
        let mut world = World::new(&[("high", 1, 1), ("low", 1, 0)]);
        world.peers(2);

        assert_eq!(Ok(true), world.acquire(1, "high", 1));
        assert_eq!(Ok(true), world.acquire(1, "low", 1));
        world.remove(1);
        assert_eq!(Ok(true), world.acquire(2, "low", 1));
        assert!(matches!(world.acquire(2, "high", 1), Err(Error::LevelViolation { .. })));
    }

    #[test]
    fn semaphores_of_one_level_do_not_nest() {
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 0)]);
        world.peers(1);
        world.acquire(1, "A", 1).unwrap();

        assert!(matches!(world.acquire(1, "B", 1), Err(Error::LevelViolation { .. })));
    }

    #[test]
    fn lowest_lock_counts_and_a_released_one_no_more() {
        let mut world = World::new(&[("A", 1, i32::MAX), ("B", 1, 0), ("C", 1, i32::MIN)]);
        world.peers(1);

        assert_eq!(Ok(true), world.acquire(1, "A", 1));
        assert_eq!(Ok(true), world.acquire(1, "C", 1));
        assert!(matches!(world.acquire(1, "B", 1), Err(Error::LevelViolation { .. })));
        world.release(1, "C").unwrap();
        assert_eq!(Ok(true), world.acquire(1, "B", 1));
    }

    #[test]
    fn restored_locks_are_exempt_and_count_afterwards() {
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 0), ("C", 1, 0)]);

        assert_eq!(Ok(()), world.restore(1, &[("A", 1), ("B", 1)]));
        assert!(matches!(world.acquire(1, "C", 1), Err(Error::LevelViolation { .. })));
    }
}

mod releasing {
    use super::*;

    #[test]
    fn whichever_way_a_permit_becomes_free_the_next_one_gets_it() {
        type Way = (&'static str, fn(&mut World));
        let ways: [Way; 5] = [
            ("released", |world| world.release(1, "A").unwrap()),
            ("peer released", |world| assert!(world.remove(1))),
            ("expired", |world| assert_eq!(1, world.at(4_000).expire())),
            ("one ahead shrunk", |world| assert_eq!(Ok(true), world.acquire(2, "A", 1))),
            ("one ahead cancelled", |world| world.release(2, "A").unwrap()),
        ];
        for (name, way) in ways {
            let mut world = World::new(&[("A", 4, 0)]);
            world.peers(1);
            world.new_peer(2, 2 * HOUR);
            world.new_peer(3, 2 * HOUR);
            world.acquire(1, "A", 2).unwrap();
            // Peer 2 asks for more than what is free; peer 3 would fit, but came later.
            world.acquire(2, "A", 3).unwrap();
            world.acquire(3, "A", 1).unwrap();
            assert_eq!(Ok(false), world.is_acquired(3), "{name}");

            way(&mut world);

            assert_eq!(Ok(true), world.is_acquired(3), "{name}");
        }
    }

    #[test]
    fn cancelling_tells_the_waiters_of_that_ask_alone() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();
        world.acquire(3, "A", 1).unwrap();

        world.release(2, "A").unwrap();

        assert!(matches!(world.effects.ends[..], [Effect::Withdrawn(_)]));
        assert_eq!([2], *world.acquired(2..=3), "2 waits for nothing any more, 3 still does");
    }

    #[test]
    fn releasing_what_is_not_held_does_nothing() {
        let mut world = World::new(&[("A", 1, 1), ("B", 1, 0)]);
        world.peers(1);
        world.acquire(1, "A", 1).unwrap();

        assert_eq!(Ok(()), world.release(1, "B"));

        assert_eq!((0, 1), (world.remainder("A"), world.remainder("B")));
        assert_eq!(Err(Error::UnknownSemaphore), world.release(1, "X"));
        assert_eq!(Err(Error::UnknownPeer), world.release(2, "A"));
    }

    #[test]
    fn removed_peer_is_unknown_and_its_waiters_are_told() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();

        assert!(world.remove(2));

        assert!(matches!(world.effects.ends[..], [Effect::PeerGone(_)]));
        assert!(!world.remove(2));
        assert_eq!(Err(Error::UnknownPeer), world.is_acquired(2));
    }
}

mod expiring {
    use super::*;

    #[test]
    fn lease_ends_at_its_deadline_and_not_earlier() {
        let mut world = World::with_max(1);
        world.new_peer(6, Duration::from_secs(10));
        world.acquire(6, "A", 1).unwrap();
        world.acquire(1, "A", 1).unwrap();

        assert_eq!(0, world.at(9).expire());
        assert_eq!(1, world.at(10).expire());

        assert_eq!(Ok(true), world.is_acquired(1));
        assert_eq!(Err(Error::UnknownPeer), world.heartbeat(6, 10));
    }

    #[test]
    fn peer_whose_lease_has_ended_is_gone_before_anybody_collects_it() {
        let mut world = World::with_max(1);
        world.new_peer(6, Duration::from_secs(10));
        world.acquire(6, "A", 1).unwrap();

        world.at(10);

        assert_eq!(Ok(true), world.acquire(1, "A", 1), "the permit is free already");
        assert_eq!([(Happening::Expired, 6), (Happening::Granted, 1)], *world.happened());
        assert_eq!(Err(Error::UnknownPeer), world.is_acquired(6));
    }

    #[test]
    fn heartbeat_extends_and_may_shorten_the_lease() {
        let mut world = World::with_max(1);
        world.new_peer(6, Duration::from_secs(10));

        world.at(5).heartbeat(6, 10).unwrap();
        assert_eq!(0, world.at(14).expire());
        world.heartbeat(6, 1_000).unwrap();
        world.heartbeat(6, 1).unwrap();
        assert_eq!(1, world.at(15).expire());
    }

    #[test]
    fn acquire_renews_the_lease_where_it_says_so_and_only_there() {
        let mut world = World::with_max(2);
        world.new_peer(6, Duration::from_secs(10));
        world.new_peer(7, Duration::from_secs(10));

        world.acquire(6, "A", 1).unwrap();
        world.ask_for(7, ("A", 1), Duration::from_secs(20)).unwrap();

        assert_eq!(1, world.at(19).expire());
        assert_eq!(1, world.at(20).expire());
    }

    #[test]
    fn longest_lease_never_ends() {
        let mut world = World::with_max(1);
        world.now = Timestamp::new(Duration::from_secs(100));
        world.new_peer(6, Duration::MAX);
        world.heartbeat(6, u64::MAX).unwrap();

        let other_peers = world.at(1 << 33).expire();

        assert_eq!(5, other_peers);
        assert_eq!(0, world.expire());
        assert_eq!(Ok(true), world.is_acquired(6));
    }

    #[test]
    fn expiry_goes_in_slices() {
        let mut world = World::new(&[("A", 1, 0)]);
        world.peers(100);

        world.at(4_000);

        assert_eq!(30, world.step(|leases, now, fx| leases.expire(now, 30, fx)));
        assert!(world.leases.next_expiry().is_some_and(|at| at <= world.now));
        assert_eq!(70, world.expire());
        assert_eq!(None, world.leases.next_expiry());
    }

    #[test]
    fn peers_that_end_together_are_not_granted_what_the_others_leave() {
        let mut world = World::with_max(1);
        for id in [6, 7, 8] {
            world.new_peer(id, Duration::from_secs(10));
            world.acquire(id, "A", 1).unwrap();
        }
        world.acquire(1, "A", 1).unwrap();

        assert_eq!(3, world.at(10).expire());

        let acquired = |effect: &&Effect| matches!(effect, Effect::Acquired { .. });
        assert_eq!(1, world.effects.ends.iter().filter(acquired).count());
        assert_eq!(Ok(true), world.is_acquired(1));
    }

    #[test]
    fn nobody_is_told_of_a_lock_that_is_gone_already() {
        let mut world = World::with_max(1);
        for id in [6, 7] {
            world.new_peer(id, Duration::from_secs(10));
            world.acquire(id, "A", 1).unwrap();
        }

        world.at(10).step(|leases, now, fx| leases.expire(now, 1, fx));

        let expected = [Effect::PeerGone(Arrival(1))];
        assert_eq!(expected, world.effects.ends[..], "7 is granted, and its lease has ended too");
        assert_eq!(Err(Error::UnknownPeer), world.is_acquired(7));
    }

    #[test]
    fn expired_ask_lets_those_behind_it_go() {
        let mut world = World::with_max(2);
        world.acquire(1, "A", 1).unwrap();
        world.new_peer(6, Duration::from_secs(10));
        world.acquire(6, "A", 2).unwrap();
        world.acquire(2, "A", 1).unwrap();

        world.at(10).expire();

        let told = |effect: &&Effect| matches!(effect, Effect::PeerGone(_));
        assert_eq!(1, world.effects.ends.iter().filter(told).count());
        assert_eq!(Ok(true), world.is_acquired(2));
    }
}

mod restoring {
    use super::*;

    #[test]
    fn restored_locks_may_exceed_max_and_nobody_is_granted_meanwhile() {
        let mut world = World::with_max(2);
        world.acquire(1, "A", 2).unwrap();

        assert_eq!(Ok(()), world.restore(9, &[("A", 5)]));

        assert_eq!(-5, world.remainder("A"));
        world.acquire(2, "A", 1).unwrap();
        world.release(1, "A").unwrap();
        assert_eq!(Ok(false), world.is_acquired(2));
        world.remove(9);
        assert_eq!(Ok(true), world.is_acquired(2));
    }

    #[test]
    fn same_or_smaller_count_goes_through_although_it_exceeds_max() {
        let mut world = World::with_max(2);
        world.restore(9, &[("A", 5)]).unwrap();

        assert_eq!(Ok(true), world.acquire(9, "A", 5));
        assert_eq!(Ok(true), world.acquire(9, "A", 4));
        assert_eq!(Err(Error::CountAboveMax { count: 5, max: 2 }), world.acquire(9, "A", 5));
        assert_eq!(-2, world.remainder("A"));
    }

    #[test]
    fn restoring_again_renews_and_restoring_otherwise_is_refused() {
        let mut world = World::new(&[("A", 2, 1), ("B", 2, 0)]);
        world.restore(0, &[("B", 1), ("A", 2)]).unwrap();

        assert_eq!(Ok(()), world.at(3_599).restore(0, &[("A", 2), ("B", 1)]));
        assert_eq!(0, world.at(3_600).expire());
        assert_eq!(Err(Error::RestoreConflict), world.restore(0, &[("A", 2)]));
        assert_eq!(Err(Error::RestoreConflict), world.restore(0, &[("A", 2), ("B", 2)]));
        assert_eq!(Err(Error::RestoreConflict), world.restore(0, &[]));
    }

    #[test]
    fn peer_with_something_pending_is_not_restored() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();

        assert_eq!(Err(Error::RestoreConflict), world.restore(2, &[]));
        assert_eq!(Err(Error::RestoreConflict), world.restore(2, &[("A", 1)]));
    }

    #[test]
    fn sum_beyond_the_range_is_refused_as_a_whole() {
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 0)]);
        world.restore(u64::MAX, &[("A", i64::MAX)]).unwrap();

        let expected =
            Error::RestoreOverflow { semaphore: "A".to_owned(), count: 1, acquired: i64::MAX };
        assert_eq!(Err(expected), world.restore(7, &[("B", 1), ("A", 1)]));
        assert_eq!((1 - i64::MAX, 1), (world.remainder("A"), world.remainder("B")));
        assert_eq!(Err(Error::UnknownPeer), world.is_acquired(7));
    }

    #[test]
    fn bad_counts_and_names_are_refused() {
        let mut world = World::with_max(1);

        assert_eq!(Err(Error::CountBelowOne { found: 0 }), world.restore(9, &[("A", 0)]));
        assert_eq!(Err(Error::UnknownSemaphore), world.restore(9, &[("A", 1), ("X", 1)]));
        assert_eq!(Ok(()), world.restore(9, &[]));
    }
}

mod several_at_once {
    use super::*;

    #[test]
    fn all_are_granted_together_or_none() {
        let mut world = World::new(&[("A", 1, 0), ("B", 2, 0)]);
        world.peers(3);
        world.acquire(1, "A", 1).unwrap();

        assert_eq!(Ok(false), world.acquire_all(2, &[("A", 1), ("B", 1)]));
        assert_eq!((0, 2), (world.remainder("A"), world.remainder("B")));
        world.release(1, "A").unwrap();

        assert_eq!(Ok(true), world.is_acquired(2));
        assert_eq!((0, 1), (world.remainder("A"), world.remainder("B")));
    }

    /// Y holds B, at the higher level. X asks for A and B together, and must not reserve A before
    /// B: Y may still ask for A, and would wait for X, who waits for Y.
    #[test]
    fn ask_reserves_nothing_that_a_holder_it_waits_for_may_still_need() {
        let (x, y) = (1, 2);
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 5)]);
        world.peers(2);
        assert_eq!(Ok(true), world.acquire(y, "B", 1));
        assert_eq!(Ok(false), world.acquire_all(x, &[("A", 1), ("B", 1)]));

        assert_eq!(Ok(true), world.acquire(y, "A", 1), "else both wait for ever");

        world.remove(y);
        assert_eq!(Ok(true), world.is_acquired(x));
    }

    #[test]
    fn reserved_permits_are_not_given_to_those_who_come_later() {
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 1)]);
        world.peers(3);
        world.acquire(1, "A", 1).unwrap();
        world.acquire_all(2, &[("A", 1), ("B", 1)]).unwrap();

        assert_eq!(Ok(false), world.acquire(3, "B", 1), "reserved for 2");
        assert_eq!(1, world.remainder("B"), "but not acquired");
        world.release(2, "A").unwrap();

        assert!(matches!(world.effects.ends[..], [Effect::Withdrawn(_), Effect::Acquired { .. }]));
        assert_eq!(Ok(true), world.is_acquired(3));
    }

    #[test]
    fn next_queue_is_entered_under_the_original_arrival() {
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 1)]);
        world.peers(4);
        world.acquire(1, "B", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();
        world.acquire_all(3, &[("A", 1), ("B", 1)]).unwrap();
        world.acquire(4, "A", 1).unwrap();

        world.release(1, "B").unwrap();
        world.release(2, "A").unwrap();

        assert_eq!([3], *world.acquired(3..=4), "3 came before 4, although it reached A later");
    }

    #[test]
    fn restore_takes_back_reservations_the_latest_first() {
        let mut world = World::new(&[("A", 1, 0), ("B", 3, 1)]);
        world.peers(4);
        world.acquire(1, "A", 1).unwrap();
        world.acquire_all(2, &[("A", 1), ("B", 1)]).unwrap();
        world.acquire_all(3, &[("A", 1), ("B", 2)]).unwrap();

        world.restore(9, &[("B", 2)]).unwrap();

        let reserved = |world: &World| world.leases.permits.semaphores[1].reserved;
        assert_eq!(1, reserved(&world), "that of 2, who came first, is kept");
        world.release(1, "A").unwrap();
        assert_eq!([2], *world.acquired(2..=3));
        world.remove(9);
        world.remove(2);
        assert_eq!([3], *world.acquired(3..=3));
    }

    #[test]
    fn repetition_is_answered_and_anything_else_refused() {
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 0), ("C", 1, -1)]);
        world.peers(2);
        world.acquire(1, "A", 1).unwrap();
        let partly = || Err(Error::PartlyLocked { semaphore: "A".to_owned() });

        assert_eq!(Ok(false), world.acquire_all(2, &[("A", 1), ("B", 1)]));
        assert_eq!(Ok(false), world.acquire_all(2, &[("B", 1), ("A", 1)]));
        assert_eq!(partly(), world.acquire_all(2, &[("A", 1), ("C", 1)]));
        world.release(1, "A").unwrap();
        assert_eq!(Ok(true), world.acquire_all(2, &[("B", 1), ("A", 1)]));
        assert_eq!(Ok(true), world.acquire(2, "B", 1));
        assert_eq!(partly(), world.acquire_all(2, &[("A", 1), ("C", 1)]));
    }

    #[test]
    fn levels_are_checked_against_what_is_held_and_not_within_the_ask() {
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 1), ("C", 1, 2)]);
        world.peers(2);

        assert_eq!(Ok(true), world.acquire_all(1, &[("A", 1), ("C", 1)]));
        assert_eq!(Ok(true), world.acquire(2, "B", 1));
        let expected = Error::LevelViolation {
            semaphore: "C".to_owned(),
            level: 2,
            held: "B".to_owned(),
            held_level: 1,
        };
        assert_eq!(Err(expected), world.acquire_all(2, &[("A", 1), ("C", 1)]));
    }
}

#[test]
fn longest_pending_is_counted_from_the_arrival_of_the_first() {
    let mut world = World::with_max(1);
    world.acquire(1, "A", 1).unwrap();
    world.at(10).acquire(2, "A", 1).unwrap();
    world.at(20).acquire(3, "A", 1).unwrap();
    let longest = |world: &World| world.leases.semaphores(world.now).next().unwrap();

    assert_eq!(Duration::from_secs(15), longest(world.at(25)).longest_pending);
    assert_eq!(2, longest(&world).pending);
    world.release(1, "A").unwrap();
    assert_eq!(Duration::from_secs(5), longest(&world).longest_pending);
    world.remove(3);
    assert_eq!(Duration::ZERO, longest(&world).longest_pending);
}

#[test]
fn taken_id_makes_no_peer() {
    let mut world = World::with_max(1);
    world.restore(9, &[("A", 1)]).unwrap();

    assert_eq!(Err(Error::PeerExists { id: PeerId(9) }), world.make(9, &[]));
    assert_eq!(0, world.remainder("A"));
    assert!(world.leases.is_taken(PeerId(9), world.now));
    assert!(!world.leases.is_taken(PeerId(10), world.now));
}

mod making {
    use super::*;

    /// `A` and `B` at level 1, `C` below them.
    fn world() -> World {
        World::new(&[("A", 1, 1), ("B", 2, 1), ("C", 1, 0)])
    }

    #[test]
    fn peer_is_made_with_all_its_locks_or_waits_for_them_together() {
        let mut world = world();

        assert_eq!(Ok(true), world.make(1, &[("A", 1), ("B", 1)]));
        assert_eq!(Ok(false), world.make(2, &[("A", 1), ("B", 1)]));
        assert_eq!((0, 1), (world.remainder("A"), world.remainder("B")));
        assert!(world.remove(1));

        assert_eq!(Ok(true), world.is_acquired(2));
        assert_eq!((0, 1), (world.remainder("A"), world.remainder("B")));
    }

    #[test]
    fn same_again_changes_nothing_but_the_lease() {
        let mut world = world();
        let (held, pending) = ([("A", 1), ("B", 1)], [("B", 2)]);
        assert_eq!(Ok(true), world.make(1, &held));
        assert_eq!(Ok(false), world.make(2, &pending));
        assert_eq!(Ok(true), world.make(3, &[]));

        world.at(3_000);
        assert_eq!(Ok(true), world.make(1, &[("B", 1), ("A", 1)]));
        assert_eq!(Ok(false), world.make(2, &pending));
        assert_eq!(Ok(true), world.make(3, &[]));

        assert_eq!(0, world.at(6_599).expire());
        assert_eq!(3, world.at(6_600).expire());
    }

    #[test]
    fn same_again_is_the_same_with_what_was_nested_since() {
        let mut world = world();
        assert_eq!(Ok(true), world.make(1, &[("B", 1)]));
        assert_eq!(Ok(true), world.acquire(1, "C", 1));
        assert_eq!(Ok(true), world.make(2, &[]));
        assert_eq!(Ok(true), world.acquire(2, "A", 1));

        assert_eq!(Ok(true), world.make(1, &[("B", 1)]));
        assert_eq!(Ok(true), world.make(2, &[]));
    }

    #[test]
    fn same_again_is_the_same_once_what_was_nested_is_gone() {
        let mut world = world();
        assert_eq!(Ok(true), world.make(1, &[("B", 1)]));
        assert_eq!(Ok(true), world.acquire(1, "B", 1), "a repetition, which gives nothing back");
        assert_eq!(Ok(true), world.acquire(1, "C", 1));

        world.release(1, "C").unwrap();

        assert_eq!(Ok(true), world.make(1, &[("B", 1)]));
    }

    /// What is left may be less than what the maker believes to have.
    #[test]
    fn anything_else_is_refused() {
        let mut world = world();
        world.make(1, &[("A", 1), ("B", 2)]).unwrap();
        let exists = |id| Err(Error::PeerExists { id: PeerId(id) });

        for other in [&[][..], &[("A", 1)], &[("A", 1), ("B", 1)], &[("A", 1), ("C", 1)]] {
            assert_eq!(exists(1), world.make(1, other));
        }
        world.acquire(1, "B", 1).unwrap();
        assert_eq!(exists(1), world.make(1, &[("A", 1), ("B", 2)]), "it shrank");
        assert_eq!(exists(1), world.make(1, &[("A", 1), ("B", 1)]), "not what it asked for");
        world.make(2, &[("B", 1)]).unwrap();
        world.release(2, "B").unwrap();
        assert_eq!(exists(2), world.make(2, &[("B", 1)]), "it was given back");
        world.acquire(2, "B", 1).unwrap();
        assert_eq!(exists(2), world.make(2, &[("B", 1)]), "it is another lock");
        world.make(3, &[("A", 1)]).unwrap();
        world.release(3, "A").unwrap();
        assert_eq!(Ok(false), world.acquire(3, "A", 1));
        assert_eq!(exists(3), world.make(3, &[("A", 1)]), "that one was cancelled");
    }

    #[test]
    fn refusal_makes_no_peer() {
        let mut world = world();
        world.make(1, &[("A", 1)]).unwrap();
        let below = Error::CountBelowOne { found: 0 };
        let twice = Error::BadNames { found: "B".to_owned() };

        assert_eq!(Err(Error::UnknownSemaphore), world.make(2, &[("A", 1), ("Z", 1)]));
        assert_eq!(Err(Error::CountAboveMax { count: 3, max: 2 }), world.make(2, &[("B", 3)]));
        assert_eq!(Err(below), world.make(2, &[("A", 1), ("B", 0)]));
        assert_eq!(Err(twice), world.make(2, &[("B", 1), ("B", 1)]));
        let new = NewPeer { expires_in: HOUR, about: None, acquire: &[("A", 1)], may_queue: false };
        let would_wait = Error::WouldWait { semaphore: "A".to_owned(), count: 1 };
        let made = world.step(|leases, now, fx| leases.new_peer(PeerId(2), new, now, fx));
        assert_eq!(Err(would_wait.clone()), made);
        assert_eq!(1, world.leases.peer_count());

        world.make(2, &[("A", 1)]).unwrap();
        let again = world.step(|leases, now, fx| leases.new_peer(PeerId(2), new, now, fx));
        assert_eq!(Err(would_wait), again, "it waits already");
    }

    #[test]
    fn names_are_shown_and_go_with_their_peers() {
        let mut world = World::with_max(1);
        let about = About::new(Some("etl@node7"), [("host", "node7")]);
        let acquire = &[("A", 1)];
        let new = NewPeer { expires_in: HOUR, about: about.as_ref(), acquire, may_queue: true };
        world.step(|leases, now, fx| leases.new_peer(PeerId(6), new, now, fx)).unwrap();

        let shown = world.step(|leases, now, fx| leases.peer(PeerId(6), now, fx)).unwrap();
        assert_eq!(about, shown.about);
        world.at(3_600).expire();
        assert_eq!([(Happening::Expired, 6)], *world.happened());
        assert_eq!(about, world.effects.events[0].about);
        world.peers(10);
        for id in 1..=10 {
            let shown = world.step(|leases, now, fx| leases.peer(PeerId(id), now, fx)).unwrap();
            assert_eq!(None, shown.about, "its place in the books is used again");
        }
    }
}

/// Both get on in the same step, and meet at `Z`.
#[test]
fn asks_that_meet_at_a_lower_semaphore_go_in_the_order_of_their_arrival() {
    for [earlier, later] in [["A", "D"], ["D", "A"]] {
        let mut world = World::new(&[("D", 1, 2), ("A", 1, 1), ("Z", 1, 0)]);
        world.peers(3);
        world.acquire_all(1, &[("D", 1), ("A", 1), ("Z", 1)]).unwrap();
        assert_eq!(Ok(false), world.acquire_all(2, &[(earlier, 1), ("Z", 1)]));
        assert_eq!(Ok(false), world.acquire_all(3, &[(later, 1), ("Z", 1)]));

        assert!(world.remove(1));

        assert_eq!(vec![2], world.acquired([2, 3]), "{earlier} before {later}");
        assert!(world.remove(2));
        assert_eq!(vec![3], world.acquired([3]));
    }
}

/// Whatever the order in which the leases ended.
#[test]
fn queues_are_served_in_walking_order() {
    let mut world = World::new(&[("E", 1, 3), ("D", 1, 2), ("M", 1, 1), ("Y", 1, 0)]);
    for (second, id, semaphore) in [(10, 11, "D"), (11, 12, "Y"), (12, 13, "E")] {
        world.new_peer(id, Duration::from_secs(second));
        assert_eq!(Ok(true), world.acquire(id, semaphore, 1));
    }
    world.peers(2);
    assert_eq!(Ok(false), world.acquire_all(1, &[("D", 1), ("M", 1)]));
    assert_eq!(Ok(false), world.acquire_all(2, &[("E", 1), ("M", 1)]));

    assert_eq!(3, world.at(20).expire());

    assert_eq!(vec![1], world.acquired([1, 2]));
}

#[test]
fn part_that_shrinks_while_it_is_reserved_leaves_room_for_others() {
    let mut world = World::new(&[("A", 1, 0), ("B", 2, 1)]);
    world.peers(3);
    world.acquire(1, "A", 1).unwrap();
    assert_eq!(Ok(false), world.acquire_all(2, &[("A", 1), ("B", 2)]));
    assert_eq!(Ok(false), world.acquire(3, "B", 1), "both permits are reserved");

    assert_eq!(Ok(false), world.acquire(2, "B", 1));

    assert_eq!(Ok(true), world.is_acquired(3));
    world.release(1, "A").unwrap();
    assert_eq!((0, 0), (world.remainder("A"), world.remainder("B")));
}

#[test]
fn counts_above_max_are_looked_for_first_in_all_locks() {
    let mut world = World::new(&[("A", 1, 0), ("B", 2, 1)]);
    world.peers(1);

    let refused = world.acquire_all(1, &[("A", 5), ("B", 0)]);

    assert_eq!(Err(Error::CountAboveMax { count: 5, max: 1 }), refused);
}

mod trying {
    use super::*;

    fn would_wait(semaphore: &str, count: i64) -> Result<Status, Error> {
        Err(Error::WouldWait { semaphore: semaphore.to_owned(), count })
    }

    #[test]
    fn what_is_free_is_acquired_and_nothing_else_is_queued() {
        let mut world = World::with_max(2);

        assert!(world.ask(1, Asking::Lock(("A", 1)), false).is_ok_and(is_acquired));
        assert_eq!(would_wait("A", 2), world.ask(2, Asking::Lock(("A", 2)), false));

        assert_eq!(Ok(true), world.is_acquired(2));
        assert_eq!(Ok(true), world.acquire(3, "A", 1), "nobody stands before it");
    }

    #[test]
    fn nobody_slips_past_the_queue() {
        let mut world = World::with_max(2);
        world.acquire(1, "A", 1).unwrap();
        assert_eq!(Ok(false), world.acquire(2, "A", 2));

        assert_eq!(would_wait("A", 1), world.ask(3, Asking::Lock(("A", 1)), false));
    }

    #[test]
    fn all_of_several_must_be_free() {
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 1)]);
        world.peers(2);
        world.acquire(1, "A", 1).unwrap();

        let both = Asking::Together(&[("A", 1), ("B", 1)]);
        assert_eq!(would_wait("A", 1), world.ask(2, both, false));

        assert_eq!(1, world.remainder("B"));
        world.release(1, "A").unwrap();
        assert!(world.ask(2, both, false).is_ok_and(is_acquired));
        assert!(world.ask(2, both, false).is_ok_and(is_acquired), "a repetition");
    }

    #[test]
    fn pending_ask_keeps_its_place() {
        let mut world = World::with_max(3);
        world.acquire(1, "A", 3).unwrap();
        assert_eq!(Ok(false), world.acquire(2, "A", 2));

        assert_eq!(would_wait("A", 2), world.ask(2, Asking::Lock(("A", 2)), false));
        assert_eq!(would_wait("A", 1), world.ask(2, Asking::Lock(("A", 1)), false));

        world.release(1, "A").unwrap();
        assert_eq!(1, world.remainder("A"), "it did not shrink either");
    }
}

mod tokens {
    use super::*;

    #[test]
    fn token_of_each_grant_is_greater_than_all_before() {
        let rules = Rules { tokens_above: 1_000, ..Rules::default() };
        let mut world = World::with_rules(&[("A", 1, 0), ("B", 9, 0)], rules);
        world.peers(3);

        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();
        world.acquire(3, "B", 1).unwrap();
        world.release(1, "A").unwrap();

        assert_eq!(Some(1_002), world.token(3, "B", 1));
        assert_eq!(Some(1_003), world.token(2, "A", 1), "granted after that of `B`");
        let is_told = |effect: &Effect| matches!(effect, Effect::Acquired { .. });
        assert!(!world.effects.ends.iter().any(is_told), "a repetition is no grant");
        world.release(2, "A").unwrap();
        world.acquire(2, "A", 1).unwrap();
        assert_eq!(Some(1_004), world.token(2, "A", 1));
    }

    #[test]
    fn waiting_ask_is_told_the_token_that_its_repetition_gets() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();

        world.release(1, "A").unwrap();
        let told = world.effects.ends.iter().find_map(|effect| match effect {
            Effect::Acquired { token, .. } => Some(token.number()),
            _ => None,
        });

        assert!(told.is_some());
        assert_eq!(told, world.token(2, "A", 1));
    }

    #[test]
    fn locks_of_one_ask_share_their_token_and_keep_it_while_they_shrink() {
        let mut world = World::new(&[("A", 5, 1), ("B", 5, 1), ("C", 5, 0)]);
        world.peers(1);

        world.acquire_all(1, &[("A", 2), ("B", 2)]).unwrap();
        world.acquire(1, "C", 1).unwrap();

        let token = world.token(1, "A", 1);
        assert!(token.is_some());
        assert_eq!(token, world.token(1, "B", 2));
        assert_ne!(token, world.token(1, "C", 1));
        let both = world.ask(1, Asking::Together(&[("A", 1), ("B", 2)]), true).unwrap();
        assert_eq!(Progress::Acquired(token.and_then(Token::new)), both.progress);
        let mixed = world.ask(1, Asking::Together(&[("B", 2), ("C", 1)]), true).unwrap();
        assert_eq!(Progress::Acquired(None), mixed.progress, "granted by different asks");
    }

    #[test]
    fn restored_lock_keeps_the_token_that_it_comes_with_and_is_given_none() {
        let rules = Rules { tokens_above: 1_000, ..Rules::default() };
        let mut world = World::with_rules(&[("A", 5, 0), ("B", 5, 0)], rules);

        world.restore_with(1, &[("A", 1), ("B", 1)], &[("A", 1_000)]).unwrap();

        assert_eq!(Some(1_000), world.token(1, "A", 1));
        assert_eq!(None, world.token(1, "B", 1));
        assert_eq!(Ok(()), world.restore(1, &[("A", 1), ("B", 1)]), "any token will do");
        assert_eq!(Some(1_000), world.token(1, "A", 1));
        let other = world.restore_with(1, &[("A", 1), ("B", 1)], &[("A", 999)]);
        assert_eq!(Err(Error::RestoreConflict), other);
    }

    #[test]
    fn tokens_that_no_earlier_start_granted_are_not_restored() {
        let rules = Rules { tokens_above: 1_000, ..Rules::default() };
        let mut world = World::with_rules(&[("A", 5, 0), ("B", 5, 0)], rules);
        let bad = |token| Err(Error::BadToken { semaphore: "A".to_owned(), token, max: 1_000 });
        let without = Err(Error::TokenWithoutLock { semaphore: "B".to_owned() });

        for token in [0, 1_001, u64::MAX] {
            assert_eq!(bad(token), world.restore_with(1, &[("A", 1)], &[("A", token)]));
        }
        assert_eq!(without, world.restore_with(1, &[("A", 1)], &[("B", 1)]));
        assert_eq!(Err(Error::UnknownSemaphore), world.restore_with(1, &[("A", 1)], &[("Z", 1)]));
        assert_eq!(
            Err(Error::BadNames { found: "A".to_owned() }),
            world.restore_with(1, &[("A", 1)], &[("A", 1), ("A", 2)])
        );
        assert_eq!(0, world.leases.peer_count());
    }
}

mod limits {
    use super::*;

    #[test]
    fn there_are_never_more_peers_than_the_limit() {
        let rules = Rules { max_peers: 2, ..Rules::default() };
        let mut world = World::with_rules(&[("A", 5, 0)], rules);
        world.peers(2);
        let full = || Err(Error::TooManyPeers { max: 2 });

        assert_eq!(full(), world.make(3, &[("A", 1)]));
        assert_eq!(full().map(drop), world.restore(3, &[("A", 1)]));
        assert_eq!(Ok(true), world.make(2, &[]), "it exists already");
        assert_eq!(5, world.remainder("A"));
        world.remove(1);
        assert_eq!(Ok(true), world.make(3, &[("A", 1)]));
        assert_eq!(Ok(true), world.at(3_600).make(4, &[]), "the others have expired");
    }

    #[test]
    fn longer_leases_are_refused_wherever_they_are_asked_for() {
        let max = Duration::from_secs(60);
        let rules = Rules { max_expires_in: Some(max), ..Rules::default() };
        let mut world = World::with_rules(&[("A", 5, 0)], rules);
        world.new_peer(1, max);
        let refused = || Error::LeaseTooLong { expires_in: HOUR, max };

        assert_eq!(Err(refused()), world.make(2, &[]));
        assert_eq!(Err(refused()), world.restore(2, &[]));
        assert_eq!(Err(refused()), world.heartbeat(1, 3_600));
        assert_eq!(Err(refused()), world.ask_for(1, ("A", 1), HOUR));

        assert_eq!(5, world.remainder("A"));
        assert_eq!(1, world.at(60).expire());
    }
}

mod recovery {
    use super::*;

    /// Grants nothing for ten seconds.
    fn world() -> World {
        let grants_from = Timestamp::new(Duration::from_secs(10));
        let rules = Rules { grants_from, ..Rules::default() };
        let mut world = World::with_rules(&[("A", 2, 0), ("B", 1, 1)], rules);
        world.peers(3);
        world
    }

    #[test]
    fn nothing_is_granted_before_the_window_ends_and_then_the_queues_are_served_at_once() {
        let mut world = world();

        assert_eq!(Ok(false), world.acquire(1, "A", 2));
        assert_eq!(Ok(false), world.acquire_all(2, &[("A", 1), ("B", 1)]));
        assert_eq!(0, world.at(9).expire());
        assert_eq!(Ok(false), world.is_acquired(1));
        assert_eq!(Some(Timestamp::new(Duration::from_secs(10))), world.leases.next_expiry());

        world.at(10).expire();
        assert!(world.effects.ends.contains(&Effect::RecoveryEnded));
        assert_eq!(vec![1], world.acquired([1, 2]), "in the order in which they came");
        assert_eq!(None, world.leases.grants_from());
        assert_eq!(Ok(false), world.acquire(3, "A", 1));
        world.remove(1);
        assert_eq!(vec![2, 3], world.acquired([2, 3]));
    }

    #[test]
    fn restored_locks_count_when_the_window_ends() {
        let mut world = world();
        assert_eq!(Ok(false), world.acquire(1, "A", 1));
        assert_eq!(Ok(false), world.acquire(2, "A", 1));

        assert_eq!(Ok(()), world.restore(9, &[("A", 1)]));
        assert_eq!(Ok(true), world.acquire(9, "A", 1), "it has it already");
        world.at(10).expire();

        assert_eq!(vec![1], world.acquired([1, 2]));
        assert_eq!(0, world.remainder("A"));
    }

    #[test]
    fn ask_that_would_not_wait_is_refused() {
        let mut world = world();

        let refused = world.ask(1, Asking::Lock(("A", 1)), false);

        assert_eq!(Err(Error::WouldWait { semaphore: "A".to_owned(), count: 1 }), refused);
    }
}

mod revoking {
    use super::*;

    fn revoke(world: &mut World, id: u64) -> bool {
        world.step(|leases, now, fx| leases.revoke(PeerId(id), now, fx)).is_some()
    }

    #[test]
    fn revoked_peer_stays_away_until_its_lease_would_have_ended() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();
        let revoked = || Error::Revoked { id: PeerId(1) };

        assert!(revoke(&mut world, 1));
        assert!(!revoke(&mut world, 1));

        assert_eq!(Ok(true), world.is_acquired(2));
        assert_eq!(Err(revoked()), world.restore(1, &[("A", 1)]));
        assert_eq!(Err(revoked()), world.make(1, &[("A", 1)]));
        assert!(world.leases.is_taken(PeerId(1), world.now));
        assert_eq!(Err(revoked()), world.at(3_599).restore(1, &[]));
        assert_eq!(Ok(()), world.at(3_600).restore(1, &[]));
    }

    #[test]
    fn released_peer_may_come_back() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();

        world.remove(1);

        assert_eq!(Ok(()), world.restore(1, &[("A", 1)]));
    }

    #[test]
    fn those_whose_time_is_over_are_forgotten() {
        let mut world = World::with_max(1);
        for id in 100..200 {
            world.at(id).new_peer(id, Duration::from_secs(10));
            assert!(revoke(&mut world, id));
        }

        assert_eq!(10, world.leases.revoked.len());
        assert!((190..200).all(|id| world.leases.is_taken(PeerId(id), world.now)), "and no others");
    }
}

mod by_hand {
    use super::*;

    /// `B` with two permits above `A` with one; peer 1 holds `A`, and peers 2 and 3 have reserved
    /// one of `B` each, and wait for `A`.
    fn world_with_reservations() -> World {
        let mut world = World::new(&[("A", 1, 0), ("B", 2, 1)]);
        world.peers(5);
        world.acquire(1, "A", 1).unwrap();
        for id in [2, 3] {
            assert_eq!(Ok(false), world.acquire_all(id, &[("A", 1), ("B", 1)]));
        }
        assert_eq!(2, reserved(&world));
        world
    }

    fn reserved(world: &World) -> i64 {
        world.leases.permits.semaphores[1].reserved
    }

    #[test]
    fn greater_max_serves_the_queue_at_once() {
        let mut world = World::with_max(1);
        for id in 1..=4 {
            world.acquire(id, "A", 1).unwrap();
        }

        world.resize("A", 3);

        assert_eq!(["acquired", "acquired"], *world.told());
        assert_eq!([(Happening::Granted, 2), (Happening::Granted, 3)], *world.happened());
        assert_eq!(vec![1, 2, 3], world.acquired(1..=4));
    }

    #[test]
    fn smaller_max_revokes_nothing_and_drains() {
        let mut world = World::with_max(3);
        for id in 1..=4 {
            world.acquire(id, "A", 1).unwrap();
        }

        world.resize("A", 1);
        assert!(world.told().is_empty() && world.happened().is_empty());
        assert_eq!(-2, world.remainder("A"));

        world.remove(1);
        world.remove(2);
        assert_eq!(Ok(false), world.is_acquired(4), "one is held, and there is one");
        world.remove(3);
        assert_eq!(Ok(true), world.is_acquired(4));
    }

    #[test]
    fn what_could_never_be_granted_is_withdrawn_in_the_order_of_arrival() {
        let mut world = World::with_max(3);
        world.acquire(1, "A", 3).unwrap();
        for (id, count) in [(2, 3), (3, 1), (4, 2)] {
            world.acquire(id, "A", count).unwrap();
        }

        world.resize("A", 1);

        let expected = [Effect::Withdrawn(Arrival(1)), Effect::Withdrawn(Arrival(3))];
        assert_eq!(expected, world.effects.ends[..]);
        assert_eq!([(Happening::Cancelled, 2), (Happening::Cancelled, 4)], *world.happened());
        assert_eq!(vec![2, 4], world.acquired(2..=4), "they wait for nothing any more");
        assert_eq!(Err(Error::CountAboveMax { count: 3, max: 1 }), world.acquire(2, "A", 3));
        world.release(1, "A").unwrap();
        assert_eq!(Ok(true), world.is_acquired(3));
    }

    #[test]
    fn withdrawn_ask_lets_those_behind_it_go() {
        let mut world = World::with_max(4);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 4).unwrap();
        assert_eq!(Ok(false), world.acquire(3, "A", 1), "behind the large one");

        world.resize("A", 3);

        assert_eq!(["withdrawn", "acquired"], *world.told());
        assert_eq!(Ok(true), world.is_acquired(3));
    }

    /// Whether it approaches the semaphore, stands in its queue, or has reserved its permits.
    #[test]
    fn ask_for_several_is_withdrawn_in_each_of_its_steps() {
        let semaphores = [("high", 2, 2), ("mid", 2, 1), ("low", 2, 0)];
        for (shrunk, ..) in semaphores {
            let mut world = World::new(&semaphores);
            world.peers(3);
            world.acquire(1, "mid", 1).unwrap();
            let all = semaphores.map(|(name, max, _)| (name, max));
            assert_eq!(Ok(false), world.acquire_all(2, &all));

            world.resize(shrunk, 1);

            assert_eq!(["withdrawn"], *world.told(), "{shrunk}");
            assert_eq!([(Happening::Cancelled, 2); 3], *world.happened(), "{shrunk}");
            for (name, ..) in semaphores.iter().filter(|(name, ..)| *name != shrunk) {
                let free = if *name == "mid" { 1 } else { 2 };
                assert_eq!(Ok(true), world.acquire(3, name, free), "{name}, without {shrunk}");
                world.release(3, name).unwrap();
            }
        }
    }

    #[test]
    fn asks_in_different_steps_are_withdrawn_in_the_order_of_arrival() {
        let mut world = World::new(&[("high", 1, 1), ("low", 2, 0)]);
        world.peers(4);
        world.acquire(1, "high", 1).unwrap();
        world.acquire(2, "low", 1).unwrap();
        assert_eq!(Ok(false), world.acquire(3, "low", 2), "it stands in the queue");
        assert_eq!(Ok(false), world.acquire_all(4, &[("low", 2), ("high", 1)]), "it approaches");

        world.resize("low", 1);

        let withdrawn = [Effect::Withdrawn(Arrival(2)), Effect::Withdrawn(Arrival(3))];
        assert_eq!(withdrawn, world.effects.ends[..]);
    }

    #[test]
    fn withdrawn_ask_that_made_its_peer_is_not_taken_for_repeated() {
        let mut world = World::with_max(2);
        world.acquire(1, "A", 2).unwrap();
        assert_eq!(Ok(false), world.make(9, &[("A", 2)]));

        world.resize("A", 1);
        world.resize("A", 2);

        let exists = || Err(Error::PeerExists { id: PeerId(9) });
        assert_eq!(exists(), world.make(9, &[("A", 2)]));
        assert_eq!(Ok(false), world.acquire(9, "A", 2), "it may ask anew");
        assert_eq!(exists(), world.make(9, &[("A", 2)]), "that is another ask");
    }

    #[test]
    fn smaller_max_takes_back_reservations_the_latest_first() {
        let mut world = world_with_reservations();

        world.resize("B", 1);

        assert_eq!(1, reserved(&world), "that of 2, who came first");
        world.release(1, "A").unwrap();
        assert_eq!([2], *world.acquired(2..=3));
        assert_eq!(0, world.remainder("B"));
        world.remove(2);
        assert_eq!([3], *world.acquired(3..=3));
    }

    /// Peer 2 came first, but to `B` later, when 3 had reserved it already.
    #[test]
    fn reservations_that_just_fit_are_not_taken_back() {
        let mut world = World::new(&[("D", 1, 2), ("B", 1, 1), ("A", 1, 0)]);
        world.peers(4);
        world.acquire(1, "D", 1).unwrap();
        world.acquire(4, "A", 1).unwrap();
        assert_eq!(Ok(false), world.acquire_all(2, &[("D", 1), ("B", 1)]));
        assert_eq!(Ok(false), world.acquire_all(3, &[("B", 1), ("A", 1)]));
        world.release(1, "D").unwrap();

        world.resize("B", 1);

        assert_eq!(Ok(false), world.is_acquired(2));
        world.release(4, "A").unwrap();
        assert_eq!([3], *world.acquired(2..=3));
    }

    #[test]
    fn paused_semaphore_takes_back_all_reservations_and_grants_nothing() {
        let mut world = world_with_reservations();

        world.pause("B", true);
        assert_eq!(0, reserved(&world));
        world.release(1, "A").unwrap();

        assert!(world.told().is_empty());
        assert_eq!((1, 2), (world.remainder("A"), world.remainder("B")));
        assert_eq!(Ok(true), world.acquire(4, "A", 1), "nothing of `A` is kept for those who wait");
        world.pause("B", false);
        assert_eq!(2, reserved(&world));
        world.remove(4);
        assert_eq!([2], *world.acquired(2..=3), "in the order in which they came");
    }

    #[test]
    fn pausing_what_comes_later_keeps_what_is_reserved_before_it() {
        let mut world = world_with_reservations();

        world.pause("A", true);
        world.release(1, "A").unwrap();

        assert_eq!(2, reserved(&world));
        assert_eq!(Ok(false), world.acquire(4, "B", 1), "both permits are reserved");
        assert_eq!(1, world.remainder("A"));
        world.pause("A", false);
        assert_eq!([2], *world.acquired(2..=4));
    }

    #[test]
    fn paused_semaphore_keeps_its_queue_and_lets_nobody_slip_in() {
        let mut world = World::with_max(2);
        world.acquire(1, "A", 2).unwrap();
        world.acquire(2, "A", 1).unwrap();
        world.pause("A", true);

        world.release(1, "A").unwrap();
        assert_eq!(Ok(false), world.acquire(3, "A", 1));
        let would_wait = Error::WouldWait { semaphore: "A".to_owned(), count: 1 };
        assert_eq!(Err(would_wait), world.ask(4, Asking::Lock(("A", 1)), false));
        world.resize("A", 5);
        assert!(world.acquired(2..=3).is_empty());

        world.pause("A", false);
        assert_eq!(["acquired", "acquired"], *world.told());
        assert_eq!(vec![2, 3], world.acquired(2..=3));
    }

    #[test]
    fn recovery_window_and_pause_hold_back_each_for_itself() {
        let grants_from = Timestamp::new(Duration::from_secs(10));
        let rules = Rules { grants_from, ..Rules::default() };
        let mut world = World::with_rules(&[("A", 1, 0), ("B", 1, 0)], rules);
        world.peers(4);
        for (id, semaphore) in [(1, "A"), (2, "B"), (3, "B")] {
            assert_eq!(Ok(false), world.acquire(id, semaphore, 1));
        }
        world.pause("A", true);
        world.resize("B", 2);
        assert!(world.acquired(1..=3).is_empty(), "the window lasts");

        world.at(10).expire();
        assert_eq!(["recovery ended", "acquired", "acquired"], *world.told());
        assert_eq!(vec![2, 3], world.acquired(1..=3));
        world.pause("A", false);
        assert_eq!(Ok(true), world.is_acquired(1));
    }

    #[test]
    fn held_lock_shrinks_and_repeats_whatever_was_set() {
        let mut world = World::with_max(3);
        world.acquire(1, "A", 3).unwrap();
        world.adjust("A", Some(1), Some(true)).unwrap();

        assert_eq!(Ok(true), world.acquire(1, "A", 3));
        assert_eq!(Ok(true), world.acquire(1, "A", 2));
        assert_eq!([(Happening::Released, 1)], *world.happened());
        assert_eq!(-1, world.remainder("A"));
        assert_eq!(Ok(()), world.restore(9, &[("A", 5)]));
        assert_eq!(-6, world.remainder("A"));
    }

    #[test]
    fn reset_undoes_both_and_an_adjustment_leaves_what_it_does_not_name() {
        let mut world = World::with_max(2);
        let set = |it: Result<SemaphoreSnapshot, Error>| it.map(|it| (it.max, it.is_paused));

        assert_eq!(Ok((7, false)), set(world.adjust("A", Some(7), None)));
        assert_eq!(Ok((7, true)), set(world.adjust("A", None, Some(true))));
        assert_eq!(Ok((5, true)), set(world.adjust("A", Some(5), None)));
        assert_eq!(Ok((5, true)), set(world.adjust("A", None, None)));
        world.acquire(1, "A", 4).unwrap();
        assert_eq!(Ok((2, false)), set(world.reset("A")));
        assert_eq!(["withdrawn"], *world.told(), "four are more than two");

        let unknown = || Err(Error::UnknownSemaphore);
        assert_eq!(unknown(), world.adjust("X", Some(1), None));
        assert_eq!(unknown(), world.reset("X"));
    }

    #[test]
    fn greatest_numbers_do_no_harm() {
        let mut world = World::with_max(1);
        world.resize("A", i64::MAX);
        assert_eq!(Ok(true), world.acquire(1, "A", i64::MAX));
        assert_eq!(Ok(false), world.acquire(2, "A", i64::MAX));

        world.resize("A", 0);
        assert_eq!(["withdrawn"], *world.told());
        assert_eq!(-i64::MAX, world.remainder("A"));
        world.resize("A", i64::MAX);
        assert_eq!(Ok(false), world.acquire(3, "A", 1));
        world.release(1, "A").unwrap();
        assert_eq!(Ok(true), world.is_acquired(3));
    }
}

mod templates {
    use super::*;

    fn template(pattern: &str, max: i64, level: i32) -> Template {
        Template::new(pattern, SemaphoreConfig { max, level }).unwrap()
    }

    /// Semaphore `A` at level 1, these templates, and five peers.
    fn with(templates: Vec<Template>, rules: Rules) -> World {
        let semaphores = Catalogue::from([("A", SemaphoreConfig { max: 1, level: 1 })]);
        let leases = Leases::new(Catalogue { templates, ..semaphores }, rules);
        let mut world = World { leases, now: Timestamp::default(), effects: Effects::new() };
        world.peers(5);
        world
    }

    fn tenants() -> World {
        with(vec![template("t-*", 2, 0)], Rules::default())
    }

    /// With others above and below `A`.
    fn tenants_and_others() -> World {
        with(vec![template("t-*", 1, 0), template("u-*", 1, 2)], Rules::default())
    }

    #[test]
    fn semaphore_is_made_at_its_first_use_and_goes_when_unused() {
        let mut world = tenants();
        assert_eq!(["A"], *world.names());

        assert_eq!(Ok(true), world.acquire(1, "t-x", 2));
        assert_eq!(Ok(false), world.acquire(2, "t-x", 1));
        assert_eq!(["A", "t-x"], *world.names());
        let SemaphoreSnapshot { source, configured, .. } = world.snapshot("t-x");
        assert_eq!((Source::Template, Some(SemaphoreConfig::new(2))), (source, configured));
        world.release(1, "t-x").unwrap();
        assert_eq!(["A", "t-x"], *world.names(), "the next one has it");

        world.release(2, "t-x").unwrap();
        assert_eq!(["A"], *world.names());
        assert!(world.leases.permits.unused.is_empty(), "nothing is left to look at");
    }

    #[test]
    fn event_of_the_last_release_still_names_it() {
        let mut world = tenants();
        world.acquire(1, "t-x", 1).unwrap();

        world.remove(1);

        assert_eq!("t-x", &*world.effects.events[0].semaphore);
        assert_eq!(["A"], *world.names());
    }

    #[test]
    fn names_stay_in_order_and_places_are_used_again() {
        let mut world = tenants();
        for round in 0..20 {
            let names = ["t-z", "t-m", "t-a"].map(|name| format!("{name}{}", round % 3));
            for (id, name) in (1..).zip(&names) {
                assert_eq!(Ok(true), world.acquire(id, name, 1));
            }
            let mut expected = names.to_vec();
            expected.push("A".to_owned());
            expected.sort();
            assert_eq!(expected, world.names());
            for (id, name) in (1..).zip(&names) {
                world.release(id, name).unwrap();
            }
        }

        assert_eq!(["A"], *world.names());
        assert!(world.leases.permits.semaphores.capacity() <= 8);
    }

    #[test]
    fn whoever_only_waits_keeps_it() {
        let mut world = tenants();
        world.acquire(1, "t-x", 2).unwrap();
        world.acquire(2, "t-x", 2).unwrap();
        world.pause("t-x", true);
        world.release(1, "t-x").unwrap();

        let SemaphoreSnapshot { acquired, pending, .. } = world.snapshot("t-x");
        assert_eq!((0, 2), (acquired, pending));
        assert_eq!(["A", "t-x"], *world.names());

        world.reset("t-x").unwrap();
        assert_eq!(Ok(true), world.is_acquired(2));
        world.remove(2);
        assert_eq!(["A"], *world.names());
    }

    #[test]
    fn ask_for_several_keeps_all_of_them_while_it_waits() {
        let mut world = tenants_and_others();
        world.acquire(1, "t-x", 1).unwrap();
        assert_eq!(Ok(false), world.acquire_all(2, &[("t-x", 1), ("A", 1), ("u-x", 1)]));

        assert_eq!(["A", "t-x", "u-x"], *world.names(), "`u-x` is reserved, and not acquired");
        world.release(2, "A").unwrap();
        assert_eq!(["A", "t-x"], *world.names());
        assert_eq!(Ok(false), world.acquire_all(3, &[("t-x", 1), ("u-y", 1)]));
        world.remove(1);
        assert_eq!(Ok(true), world.is_acquired(3));
        world.at(4_000).expire();
        assert_eq!(["A"], *world.names());
    }

    #[test]
    fn looks_and_refusals_leave_nothing_behind() {
        type Look = (&'static str, fn(&mut World));
        let looks: [Look; 8] = [
            ("remainder", |world| assert_eq!(2, world.remainder("t-x"))),
            ("view", |world| assert_eq!(2, world.view("t-x").semaphore.max)),
            ("release", |world| assert_eq!(Ok(()), world.release(1, "t-x"))),
            ("reset", |world| assert_eq!(Ok(2), world.reset("t-x").map(|it| it.max))),
            ("unknown peer", |world| {
                assert_eq!(Err(Error::UnknownPeer), world.acquire(99, "t-x", 1));
            }),
            ("above max", |world| {
                let above = Error::CountAboveMax { count: 3, max: 2 };
                assert_eq!(Err(above), world.acquire(1, "t-x", 3));
            }),
            ("unknown beside it", |world| {
                let refused = world.acquire_all(1, &[("t-x", 1), ("nope", 1)]);
                assert_eq!(Err(Error::UnknownSemaphore), refused);
            }),
            ("restore refused", |world| {
                let below = Error::CountBelowOne { found: 0 };
                assert_eq!(Err(below), world.restore(9, &[("t-x", 1), ("t-y", 0)]));
            }),
        ];
        let mut world = tenants();
        for (name, look) in looks {
            look(&mut world);

            assert_eq!(["A"], *world.names(), "{name}");
        }
    }

    #[test]
    fn one_that_is_as_somebody_set_it_stays() {
        let mut world = tenants();
        world.resize("t-x", 5);
        world.pause("t-y", true);
        world.adjust("t-z", Some(2), Some(false)).unwrap();
        assert_eq!(["A", "t-x", "t-y"], *world.names(), "`t-z` is as the template says");
        world.acquire(1, "t-x", 1).unwrap();
        world.release(1, "t-x").unwrap();
        assert_eq!(["A", "t-x", "t-y"], *world.names());

        world.resize("t-x", 2);
        world.reset("t-y").unwrap();

        assert_eq!(["A"], *world.names());
    }

    #[test]
    fn level_of_the_template_is_obeyed() {
        let mut world = tenants_and_others();

        for name in ["u-x", "A", "t-x"] {
            assert_eq!(Ok(true), world.acquire(1, name, 1));
        }
        for name in ["u-y", "t-y"] {
            assert!(matches!(world.acquire(1, name, 1), Err(Error::LevelViolation { .. })));
        }
        assert_eq!(["A", "t-x", "u-x"], *world.names());
    }

    #[test]
    fn beyond_the_limit_none_is_made() {
        let rules = Rules { max_semaphores: 2, ..Rules::default() };
        let mut world = with(vec![template("t-*", 1, 0)], rules);
        world.acquire(1, "t-x", 1).unwrap();
        let full = || Error::TooManySemaphores { max: 2 };

        assert_eq!(Err(full()), world.acquire(2, "t-y", 1));
        assert_eq!(Err(full()), world.make(9, &[("t-y", 1)]));
        assert_eq!(Err(full()), world.restore(9, &[("t-y", 1)]));
        assert_eq!(Err(full()), world.adjust("t-y", Some(1), None));
        assert_eq!(Err(Error::UnknownSemaphore), world.acquire(2, "nope", 1));
        assert_eq!(Ok(false), world.acquire(2, "t-x", 1), "that one is there");
        world.remove(1);
        world.remove(2);
        assert_eq!(Ok(true), world.acquire(3, "t-y", 1), "the other one is gone");
    }

    #[test]
    fn locks_of_one_are_restored_and_keep_it() {
        let mut world = tenants();

        assert_eq!(Ok(()), world.restore(9, &[("t-x", 5)]));
        assert_eq!(-3, world.remainder("t-x"));
        let without = Error::TokenWithoutLock { semaphore: "t-y".to_owned() };
        assert_eq!(Err(without), world.restore_with(8, &[("t-x", 1)], &[("t-y", 1)]));
        assert_eq!(["A", "t-x"], *world.names());

        world.remove(9);
        assert_eq!(["A"], *world.names());
    }

    #[test]
    fn what_was_counted_goes_with_it() {
        let mut world = tenants();
        world.acquire(1, "t-x", 1).unwrap();
        world.release(1, "t-x").unwrap();

        world.acquire(1, "t-x", 1).unwrap();

        assert_eq!(1, world.snapshot("t-x").totals.acquired);
    }
}

mod configuring {
    use super::*;

    /// One level for all.
    fn catalogue<const N: usize>(semaphores: [(&str, i64); N]) -> Catalogue {
        levels(semaphores.map(|(name, max)| (name, max, 0)))
    }

    fn levels<const N: usize>(semaphores: [(&str, i64, i32); N]) -> Catalogue {
        Catalogue::from(semaphores.map(|(name, max, level)| (name, SemaphoreConfig { max, level })))
    }

    fn templates(pattern: &str, max: i64) -> Catalogue {
        let template = Template::new(pattern, SemaphoreConfig::new(max)).unwrap();
        Catalogue { templates: vec![template], ..Catalogue::default() }
    }

    fn names<const N: usize>(names: [&str; N]) -> Vec<std::sync::Arc<str>> {
        names.map(Into::into).into()
    }

    fn kept(semaphore: &str, reason: Reason) -> Vec<Kept> {
        vec![Kept { semaphore: semaphore.into(), reason }]
    }

    #[test]
    fn same_again_changes_nothing() {
        let mut world = World::new(&[("A", 1, 2), ("B", 1, 0)]);
        world.peers(1);
        world.acquire(1, "A", 1).unwrap();

        let changes = world.configure(levels([("A", 1, 2), ("B", 1, 0)]));

        assert_eq!(Changes::default(), changes);
        assert!(world.happened().is_empty());
    }

    #[test]
    fn each_change_is_named_in_the_order_of_names() {
        let mut world = World::new(&[("d", 1, 0), ("a", 1, 0), ("c", 1, 0), ("b", 1, 0)]);

        let changes = world.configure(levels([
            ("f", 1, 0),
            ("b", 2, 0),
            ("a", 1, 5),
            ("e", 1, 0),
            ("c", 1, 0),
        ]));

        let (added, changed, removed) = (names(["e", "f"]), names(["a", "b"]), names(["d"]));
        assert_eq!(Changes { added, changed, removed, kept: Vec::new() }, changes);
        assert_eq!(["a", "b", "c", "e", "f"], *world.names());
        assert_eq!((2, 5), (world.remainder("b"), world.snapshot("a").level));
    }

    #[test]
    fn other_max_is_felt_at_once() {
        let mut world = World::with_max(2);
        world.acquire(1, "A", 2).unwrap();
        world.acquire(2, "A", 2).unwrap();
        world.acquire(3, "A", 1).unwrap();

        world.configure(catalogue([("A", 1)]));
        assert_eq!(["withdrawn"], *world.told());
        world.configure(catalogue([("A", 3)]));
        assert_eq!(["acquired"], *world.told());

        assert_eq!(vec![2, 3], world.acquired(2..=3));
    }

    /// An ask waits for `A`, and has reserved what there is of `B`. There is never a moment at
    /// which `A` has grown and `B` has not shrunk.
    #[test]
    fn nobody_is_granted_anything_by_half_of_a_configuration() {
        for (max_of_b, told) in [(0, "withdrawn"), (1, "nothing")] {
            for [grows, shrinks] in [["A", "B"], ["Y", "X"]] {
                let mut world = World::new(&[(grows, 1, 0), (shrinks, 2, 1)]);
                world.peers(3);
                world.acquire(3, shrinks, 1).unwrap();
                world.acquire(1, grows, 1).unwrap();
                assert_eq!(Ok(false), world.acquire_all(2, &[(grows, 1), (shrinks, 1)]));

                world.configure(levels([(grows, 2, 0), (shrinks, max_of_b, 1)]));

                let expected: &[&str] = if told == "nothing" { &[] } else { &[told] };
                assert_eq!(*expected, *world.told(), "{shrinks} = {max_of_b}");
                assert_eq!(max_of_b - 1, world.remainder(shrinks), "over-committed by no grant");
            }
        }
    }

    #[test]
    fn what_was_set_by_hand_stays_until_it_is_the_same() {
        let mut world = World::with_max(1);
        world.adjust("A", Some(5), Some(true)).unwrap();
        let resized = |max, configured| kept("A", Reason::Resized { max, configured });

        let changes = world.configure(catalogue([("A", 2)]));
        assert_eq!((names(["A"]), resized(5, 2)), (changes.changed, changes.kept));
        let changes = world.configure(catalogue([("A", 2)]));
        assert_eq!((names([]), resized(5, 2)), (changes.changed, changes.kept), "said each time");
        let changes = world.configure(catalogue([("A", 5)]));
        assert_eq!((names(["A"]), Vec::new()), (changes.changed, changes.kept));
        let changes = world.configure(catalogue([("A", 3)]));
        assert_eq!((names(["A"]), Vec::new()), (changes.changed, changes.kept));

        let SemaphoreSnapshot { max, is_paused, configured, .. } = world.snapshot("A");
        assert_eq!((3, true), (max, is_paused), "pause is no matter of the configuration");
        assert_eq!(Some(SemaphoreConfig::new(3)), configured);
        assert_eq!(Ok(3), world.reset("A").map(|it| it.max));
    }

    #[test]
    fn reset_goes_back_to_the_latest_configuration() {
        let mut world = World::with_max(1);
        world.resize("A", 5);
        world.configure(catalogue([("A", 2)]));

        assert_eq!(Ok(2), world.reset("A").map(|it| it.max));
        world.resize("A", 2);
        assert_eq!(Vec::<Kept>::new(), world.configure(catalogue([("A", 2)])).kept);
    }

    #[test]
    fn level_changes_once_nobody_uses_the_semaphore() {
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 1)]);
        world.peers(2);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();
        let in_use = kept("A", Reason::InUse { level: 0, configured: 2 });
        let next = || levels([("A", 1, 2), ("B", 1, 1)]);

        let changes = world.configure(next());
        assert_eq!((names(["A"]), in_use.clone()), (changes.changed, changes.kept));
        let changes = world.configure(next());
        assert_eq!((names([]), in_use), (changes.changed, changes.kept));
        assert!(matches!(world.acquire(1, "B", 1), Err(Error::LevelViolation { .. })));
        world.remove(1);
        assert_eq!(0, world.snapshot("A").level, "the next one has it");
        world.release(2, "A").unwrap();

        assert_eq!(2, world.snapshot("A").level);
        assert_eq!(Ok(true), world.acquire(2, "A", 1));
        assert_eq!(Ok(true), world.acquire(2, "B", 1));
    }

    #[test]
    fn level_that_is_set_back_in_time_never_changes() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        world.configure(levels([("A", 1, 7)]));

        let changes = world.configure(levels([("A", 1, 0)]));

        assert_eq!((names(["A"]), Vec::new()), (changes.changed, changes.kept));
        world.release(1, "A").unwrap();
        assert_eq!(0, world.snapshot("A").level);
    }

    /// Two asks wait that walk in the old order; a third one comes when the level has changed in
    /// the configuration, but not in fact.
    #[test]
    fn walking_order_does_not_change_under_those_who_walk() {
        let mut world = World::new(&[("A", 1, 1), ("B", 1, 0)]);
        world.peers(4);
        world.acquire(1, "B", 1).unwrap();
        let both = [("A", 1), ("B", 1)];
        assert_eq!(Ok(false), world.acquire_all(2, &both));
        assert_eq!(Ok(false), world.acquire_all(3, &both));

        world.configure(levels([("A", 1, 0), ("B", 1, 1)]));
        assert_eq!(Ok(false), world.acquire_all(4, &both));
        for id in 1..=3 {
            world.remove(id);
            assert_eq!(Ok(true), world.is_acquired(id + 1));
        }
        world.remove(4);

        let level = |name: &str, world: &mut World| world.snapshot(name).level;
        assert_eq!((0, 1), (level("A", &mut world), level("B", &mut world)));
    }

    #[test]
    fn removed_semaphore_serves_those_who_are_there_and_refuses_others() {
        let mut world = World::with_max(2);
        world.acquire(1, "A", 2).unwrap();
        world.acquire(2, "A", 1).unwrap();
        let unknown = || Error::UnknownSemaphore;

        let removed = names(["A"]);
        assert_eq!(Changes { removed, ..Changes::default() }, world.configure(catalogue([])));
        assert_eq!(Changes::default(), world.configure(catalogue([])), "said once");

        let SemaphoreSnapshot { source, configured, max, .. } = world.snapshot("A");
        assert_eq!((Source::Removed, None, 2), (source, configured, max));
        assert_eq!(Err(unknown()), world.acquire(3, "A", 1));
        assert_eq!(Err(unknown()), world.make(9, &[("A", 1)]));
        assert_eq!(Err(unknown()), world.restore(9, &[("A", 1)]));
        assert_eq!(Err(unknown()), world.acquire(1, "A", 3), "it is not told to wait for more");
        assert_eq!(Ok(true), world.acquire(1, "A", 2), "a repetition");
        assert_eq!(Ok(false), world.acquire(2, "A", 1), "a repetition");
        assert_eq!(Ok(true), world.acquire(1, "A", 1), "it shrinks");
        assert_eq!(Ok(true), world.is_acquired(2));
        world.remove(1);
        assert_eq!(["A"], *world.names());
        world.remove(2);
        assert!(world.names().is_empty());
        assert_eq!(Err(unknown()), world.release(3, "A"));
    }

    #[test]
    fn unused_semaphore_that_is_removed_goes_at_once_whatever_was_set() {
        let mut world = World::with_max(2);
        world.adjust("A", Some(5), Some(true)).unwrap();

        world.configure(catalogue([]));

        assert!(world.names().is_empty());
        assert_eq!(names(["A"]), world.configure(catalogue([("A", 1)])).added);
        let SemaphoreSnapshot { max, is_paused, .. } = world.snapshot("A");
        assert_eq!((1, false), (max, is_paused), "it is a new one");
    }

    #[test]
    fn removed_semaphore_can_be_set_and_comes_back_as_it_was_set() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();
        world.configure(catalogue([]));

        world.resize("A", 2);
        assert_eq!(Ok(true), world.is_acquired(2), "those who wait can be helped");
        let changes = world.configure(catalogue([("A", 7)]));

        let reason = Reason::Resized { max: 2, configured: 7 };
        assert_eq!((names(["A"]), kept("A", reason)), (changes.added, changes.kept));
        world.remove(1);
        world.remove(2);
        assert_eq!(["A"], *world.names());
        assert_eq!(2, world.remainder("A"));
    }

    #[test]
    fn removed_semaphore_comes_back_with_another_level_once_it_is_unused() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        world.configure(catalogue([]));

        let changes = world.configure(levels([("A", 1, 3)]));
        let reason = Reason::InUse { level: 0, configured: 3 };
        assert_eq!((names(["A"]), kept("A", reason)), (changes.added, changes.kept));
        world.remove(1);

        assert_eq!(["A"], *world.names());
        assert_eq!(3, world.snapshot("A").level);
    }

    /// They are gone only with the next operation, which may be the one that brings them back.
    #[test]
    fn removed_unused_and_added_again_is_there() {
        let mut world = World::new(&[("A", 1, 0), ("B", 1, 0), ("C", 1, 0)]);
        world.peers(1);
        world.configure(catalogue([("B", 1)]));

        let changes = world.configure(catalogue([("A", 2), ("B", 1), ("C", 3)]));

        assert_eq!(names(["A", "C"]), changes.added);
        assert_eq!(["A", "B", "C"], *world.names());
        assert_eq!(Ok(true), world.acquire_all(1, &[("A", 2), ("B", 1), ("C", 3)]));
        assert_eq!(["A", "B", "C"], *world.names());
    }

    #[test]
    fn semaphore_of_a_template_follows_it() {
        let mut world = World::new(&[]);
        world.peers(2);
        world.configure(templates("t-*", 1));
        world.acquire(1, "t-x", 1).unwrap();
        world.acquire(2, "t-x", 1).unwrap();

        let changes = world.configure(templates("t-*", 2));
        assert_eq!(names(["t-x"]), changes.changed);
        assert_eq!(Ok(true), world.is_acquired(2));
        let changes = world.configure(templates("u-*", 2));
        assert_eq!(names(["t-x"]), changes.removed);
        world.remove(1);
        assert_eq!(["t-x"], *world.names());
        world.remove(2);
        assert!(world.names().is_empty());
    }

    #[test]
    fn semaphore_moves_from_the_file_to_a_template_and_back() {
        let mut world = World::new(&[("t-x", 2, 0)]);
        world.peers(1);
        world.acquire(1, "t-x", 1).unwrap();

        let changes = world.configure(templates("t-*", 2));
        assert_eq!(names(["t-x"]), changes.changed, "it comes from elsewhere");
        assert_eq!(Source::Template, world.snapshot("t-x").source);
        let changes = world.configure(catalogue([("t-x", 2)]));
        assert_eq!(names(["t-x"]), changes.changed);
        world.release(1, "t-x").unwrap();
        assert_eq!(["t-x"], *world.names(), "the file keeps it");

        world.configure(templates("t-*", 2));
        assert!(world.names().is_empty(), "nobody uses it");
    }

    #[test]
    fn peers_whose_leases_have_ended_get_nothing_of_it() {
        let mut world = World::new(&[("A", 1, 0)]);
        for id in [1, 2] {
            world.new_peer(id, Duration::from_secs(10));
            world.acquire(id, "A", 1).unwrap();
        }

        world.at(10).configure(catalogue([("A", 2)]));

        assert_eq!([(Happening::Expired, 1), (Happening::Cancelled, 2)], *world.happened());
        assert_eq!(2, world.remainder("A"));
    }
}

mod looking {
    use super::*;

    fn ids(queue: &[PendingLock]) -> Vec<u64> {
        queue.iter().map(|standing| standing.peer.0).collect()
    }

    fn held_by(view: &SemaphoreView) -> Vec<u64> {
        view.holders.iter().map(|holding| holding.peer.0).collect()
    }

    #[test]
    fn holders_come_in_the_order_of_their_grants() {
        let mut world = World::new(&[("A", 9, 0)]);
        world.peers(6);
        for (second, id) in [(5, 4), (6, 2), (6, 1), (7, 6)] {
            world.at(second).acquire(id, "A", 1).unwrap();
        }
        world.at(6).restore(9, &[("A", 1)]).unwrap();
        world.at(8).release(2, "A").unwrap();
        world.acquire(2, "A", 1).unwrap();

        let view = world.view("A");

        assert_eq!(vec![4, 9, 1, 6, 2], held_by(&view), "of the same time the earlier token");
        let times = view.holders.iter().map(|holding| holding.held_for.as_secs());
        assert_eq!(vec![3, 2, 2, 1, 0], times.collect::<Vec<_>>());
        assert!(view.holders[1].token.is_none() && view.holders[2].token < view.holders[3].token);
        assert_eq!(Duration::from_secs(3_592), view.holders[0].expires_in);
    }

    /// Each lock knows its place among the holders; the invariants look at it after each step.
    #[test]
    fn holders_who_leave_from_the_middle_leave_no_gap() {
        let mut world = World::new(&[("A", 9, 1), ("B", 9, 0)]);
        world.peers(6);
        for id in 1..=6 {
            world.acquire(id, "A", 1).unwrap();
            world.acquire(id, "B", 1).unwrap();
        }

        for id in [3, 1, 6] {
            world.release(id, "A").unwrap();
        }
        world.remove(4);

        assert_eq!(vec![2, 5], held_by(&world.view("A")));
        assert_eq!(vec![1, 2, 3, 5, 6], held_by(&world.view("B")));
        assert_eq!((2, 5), (world.snapshot("A").holders, world.snapshot("B").holders));
    }

    /// Whose, for what, and what of that is not reserved.
    type Ask = (u64, &'static [(&'static str, i64)], &'static [&'static str]);

    /// Of five asks that name `mid`, some wait above it, some in its queue, some below it.
    #[test]
    fn queue_is_in_the_order_of_arrival_whatever_its_asks_have_reserved() {
        let mut world = World::new(&[("high", 1, 2), ("mid", 3, 1), ("low", 1, 0)]);
        world.peers(8);
        world.acquire(7, "high", 1).unwrap();
        world.acquire(8, "low", 1).unwrap();
        let asks: [Ask; 5] = [
            (5, &[("high", 1), ("mid", 1)], &["high", "mid"]),
            (3, &[("mid", 1), ("low", 1)], &["low"]),
            (4, &[("mid", 3)], &["mid"]),
            (1, &[("high", 1), ("mid", 1), ("low", 1)], &["high", "mid", "low"]),
            (2, &[("mid", 1), ("low", 1)], &["mid", "low"]),
        ];
        for (second, (id, wanted, _)) in (1..).zip(asks) {
            assert_eq!(Ok(false), world.at(second).acquire_all(id, wanted), "{id}");
        }

        let view = world.at(9).view("mid");

        assert_eq!(vec![5, 3, 4, 1, 2], ids(&view.queue));
        assert_eq!((1..=5).collect::<Vec<_>>(), {
            view.queue.iter().map(|standing| standing.position).collect::<Vec<_>>()
        });
        for (standing, (id, wanted, left)) in view.queue.iter().zip(asks) {
            let waits_for: Vec<_> = standing.waits_for.iter().map(|(name, _)| &**name).collect();
            assert_eq!(left, waits_for, "{id}");
            let (_, count) = wanted.iter().find(|(name, _)| *name == "mid").unwrap();
            assert_eq!(*count, standing.count, "{id}");
        }
        let first = &view.queue[0];
        assert_eq!(Timestamp::new(Duration::from_secs(1)), first.since);
        assert_eq!((8, 3_591), (first.pending_for.as_secs(), first.expires_in.as_secs()));
        assert_eq!((5, 7), (view.semaphore.waiting, view.semaphore.pending));
        assert_eq!(Duration::from_secs(8), view.semaphore.longest_pending, "it only approaches");
    }

    #[test]
    fn pages_cut_both_lists_and_nothing_else() {
        let mut world = World::new(&[("A", 3, 0)]);
        world.peers(8);
        for id in 1..=8 {
            world.acquire(id, "A", 1).unwrap();
        }
        let mut page = |offset, limit| {
            let page = Page { offset, limit };
            let view = world.step(|leases, now, fx| leases.semaphore("A", page, now, fx)).unwrap();
            assert_eq!((3, 5), (view.semaphore.holders, view.semaphore.waiting));
            (held_by(&view), ids(&view.queue))
        };

        assert_eq!((vec![1, 2], vec![4, 5]), page(0, 2));
        assert_eq!((vec![3], vec![6, 7]), page(2, 2));
        assert_eq!((vec![], vec![8]), page(4, usize::MAX));
        assert_eq!((vec![], vec![]), page(usize::MAX, usize::MAX));
        assert_eq!((vec![], vec![]), page(0, 0));
    }

    /// Too many to be sorted for each look.
    #[test]
    fn very_many_holders_come_in_pages_each_of_them_once() {
        let mut world = World::new(&[("A", 1_200, 0)]);
        let (leases, now, fx) = (&mut world.leases, world.now, &mut world.effects);
        for id in 1..=1_200 {
            let acquire = &[("A", 1)];
            let new = NewPeer { expires_in: HOUR, about: None, acquire, may_queue: false };
            leases.new_peer(PeerId(id), new, now, fx).unwrap();
        }
        let mut page = |offset, limit| {
            let page = Page { offset, limit };
            held_by(&world.step(|leases, now, fx| leases.semaphore("A", page, now, fx)).unwrap())
        };

        let pages = [page(0, 500), page(500, 500), page(1_000, usize::MAX)];

        assert_eq!([500, 500, 200], pages.each_ref().map(Vec::len));
        let mut all = pages.concat();
        all.sort();
        assert!(all.into_iter().eq(1..=1_200));
        assert!(page(1_200, 1).is_empty() && page(usize::MAX, 1).is_empty());
    }

    #[test]
    fn peers_whose_leases_have_ended_are_not_listed() {
        let mut world = World::with_max(1);
        world.new_peer(6, Duration::from_secs(10));
        let listed = |world: &World, page| {
            let mut ids: Vec<_> = world.leases.peers(page, world.now).map(|it| it.id.0).collect();
            ids.sort();
            ids
        };

        assert_eq!([1, 2, 3, 4, 5, 6], *listed(world.at(9), Page::ALL));
        assert_eq!([1, 2, 3, 4, 5], *listed(world.at(10), Page::ALL), "nobody collected it yet");
        assert_eq!(2, listed(&world, Page { offset: 3, limit: 9 }).len());
    }

    #[test]
    fn peer_shows_since_when_it_holds_and_waits() {
        let mut world = World::new(&[("A", 1, 1), ("B", 1, 0)]);
        world.peers(2);
        world.at(1).acquire(2, "B", 1).unwrap();
        world.at(2).acquire(1, "A", 1).unwrap();
        world.at(3).acquire(1, "B", 1).unwrap();

        let shown = world.step(|leases, now, fx| leases.peer(PeerId(1), now, fx)).unwrap();

        let at = |second| Timestamp::new(Duration::from_secs(second));
        assert_eq!(vec![("A".into(), at(2)), ("B".into(), at(3))], shown.since);
        world.at(9).release(2, "B").unwrap();
        let shown = world.step(|leases, now, fx| leases.peer(PeerId(1), now, fx)).unwrap();
        assert_eq!(vec![("A".into(), at(2)), ("B".into(), at(9))], shown.since, "since the grant");
    }
}

mod counting {
    use super::*;

    /// Granted, released, expired, cancelled, restored.
    fn counts(world: &mut World, semaphore: &str) -> [u64; 5] {
        let totals = world.snapshot(semaphore).totals;
        [totals.acquired, totals.released, totals.expired, totals.cancelled, totals.restored]
    }

    /// In which bucket each of these seconds falls, and how often.
    fn buckets<const N: usize>(seconds: [u64; N]) -> (Vec<u64>, Duration) {
        let mut buckets = vec![0; BOUNDS.len() + 1];
        let durations = seconds.map(Duration::from_secs);
        for duration in durations {
            buckets[BOUNDS.iter().filter(|bound| **bound < duration).count()] += 1;
        }
        (buckets, durations.iter().sum())
    }

    #[test]
    fn all_that_happens_to_a_lock_is_counted_once() {
        let mut world = World::with_max(2);

        world.acquire(1, "A", 2).unwrap();
        world.acquire(1, "A", 2).unwrap();
        world.acquire(2, "A", 1).unwrap();
        world.acquire(3, "A", 1).unwrap();
        assert_eq!([1, 0, 0, 0, 0], counts(&mut world, "A"), "neither repeated nor pending");
        world.acquire(1, "A", 1).unwrap();
        assert_eq!([2, 0, 0, 0, 0], counts(&mut world, "A"), "it shrank, and is not over");
        world.release(3, "A").unwrap();
        world.release(3, "A").unwrap();
        world.release(1, "A").unwrap();
        assert_eq!([2, 1, 0, 1, 0], counts(&mut world, "A"));
        world.restore(9, &[("A", 1)]).unwrap();
        world.restore(9, &[("A", 1)]).unwrap();
        assert_eq!([2, 1, 0, 1, 1], counts(&mut world, "A"));
        world.at(3_600).expire();
        assert_eq!([2, 1, 2, 1, 1], counts(&mut world, "A"));
    }

    #[test]
    fn pending_lock_counts_as_cancelled_whichever_way_it_ends() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        for id in 2..=4 {
            world.acquire(id, "A", 1).unwrap();
        }

        world.remove(2);
        world.heartbeat(3, 10).unwrap();
        world.at(10).expire();
        world.resize("A", 0);

        assert_eq!([1, 0, 0, 3, 0], counts(&mut world, "A"));
    }

    #[test]
    fn each_lock_of_an_ask_is_counted_at_its_semaphore() {
        let mut world = World::new(&[("A", 1, 1), ("B", 1, 0)]);
        world.peers(2);
        let both = [("A", 1), ("B", 1)];

        world.acquire_all(1, &both).unwrap();
        world.acquire_all(2, &both).unwrap();
        world.release(2, "B").unwrap();
        world.remove(1);

        for semaphore in ["A", "B"] {
            assert_eq!([1, 1, 0, 1, 0], counts(&mut world, semaphore), "{semaphore}");
        }
    }

    #[test]
    fn waits_and_holds_fall_into_their_buckets() {
        let mut world = World::with_max(1);
        world.at(100).acquire(1, "A", 1).unwrap();
        world.at(200).acquire(2, "A", 1).unwrap();
        world.at(210).acquire(3, "A", 1).unwrap();
        world.at(230).acquire(4, "A", 1).unwrap();

        world.at(300).release(1, "A").unwrap();
        world.at(3_000).release(2, "A").unwrap();
        world.release(4, "A").unwrap();
        let totals = world.snapshot("A").totals;
        assert_eq!(buckets([0, 100, 2_790]), (totals.waits.buckets.to_vec(), totals.waits.sum));
        assert_eq!(buckets([200, 2_700]), (totals.holds.buckets.to_vec(), totals.holds.sum));

        world.restore(9, &[("A", 1)]).unwrap();
        world.at(3_600).expire();
        world.at(7_000).expire();
        let totals = world.snapshot("A").totals;
        assert_eq!(3, totals.waits.buckets.iter().sum::<u64>(), "what is restored did not wait");
        let expected = buckets([200, 2_700, 600, 4_000]);
        assert_eq!(expected, (totals.holds.buckets.to_vec(), totals.holds.sum));
    }

    #[test]
    fn events_tell_how_long_it_was_pending_or_held() {
        let mut world = World::with_max(2);
        world.at(10).acquire(1, "A", 2).unwrap();
        world.at(20).acquire(2, "A", 2).unwrap();
        world.at(30).acquire(3, "A", 1).unwrap();
        let after = |world: &World| -> Vec<_> {
            let events = world.effects.events.iter();
            events.map(|event| (event.peer.0, event.count, event.after.as_secs())).collect()
        };
        assert_eq!([(3, 1, 0)], *after(&world));

        world.at(40).acquire(1, "A", 1).unwrap();
        assert_eq!([(1, 1, 30)], *after(&world), "what it gave back of the two");
        world.at(50).acquire(2, "A", 1).unwrap();
        let events = &world.effects.events;
        assert_eq!([(2, 1, 30), (2, 1, 30)], *after(&world));
        assert_eq!([(Happening::Cancelled, 2), (Happening::Granted, 2)], *world.happened());
        assert_eq!([false, true], [0, 1].map(|at| events[at].token.is_some()));
        world.at(60).remove(3);
        assert_eq!([(3, 1, 30)], *after(&world));
        world.at(70).remove(1);
        assert_eq!([(1, 1, 60)], *after(&world));
    }

    #[test]
    fn events_carry_the_token_of_their_lock() {
        let rules = Rules { tokens_above: 1_000, ..Rules::default() };
        let mut world = World::with_rules(&[("A", 2, 0)], rules);
        world.peers(1);
        let tokens = |world: &World| -> Vec<_> {
            let events = world.effects.events.iter();
            events.map(|event| (event.happening, event.token.map(Token::number))).collect()
        };

        world.acquire(1, "A", 2).unwrap();
        assert_eq!([(Happening::Granted, Some(1_001))], *tokens(&world));
        world.acquire(1, "A", 1).unwrap();
        assert_eq!([(Happening::Released, Some(1_001))], *tokens(&world), "it shrank");
        world.release(1, "A").unwrap();
        assert_eq!([(Happening::Released, Some(1_001))], *tokens(&world));
        world.restore_with(9, &[("A", 1)], &[("A", 1_000)]).unwrap();
        assert_eq!([(Happening::Restored, Some(1_000))], *tokens(&world));
    }

    #[test]
    fn only_what_expires_is_told_where_nobody_looks_on() {
        let mut world = World::with_max(1);
        world.acquire(1, "A", 1).unwrap();
        world.acquire(2, "A", 1).unwrap();
        let (leases, later) = (&mut world.leases, Timestamp::new(HOUR));
        let mut effects = Effects { is_followed: false, ..Effects::new() };

        leases.release(PeerId(1), "A", world.now, &mut effects).unwrap();
        assert!(effects.events.is_empty());
        leases.expire(later, usize::MAX, &mut effects);

        let told: Vec<_> = effects.events.iter().map(|event| event.happening).collect();
        assert_eq!([Happening::Expired], *told);
    }
}
