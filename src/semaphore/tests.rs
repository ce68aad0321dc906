//! What the pure room promises, one behaviour a test. Time is plain numbers: seconds.

use std::time::Duration;

use super::{
    Arrival, Asking, Effect, Effects, Error, Leases, NewPeer, PeerId, Progress, Restored, Rules,
    SemaphoreConfig, Status, Terms, Timestamp, Token, invariants,
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
        let leases = Leases::new(semaphores.iter().map(config), rules);
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
        self.effects.clear();
        let result = op(&mut self.leases, self.now, &mut self.effects);
        invariants::check(&self.leases);
        result
    }

    fn new_peer(&mut self, id: u64, expires_in: Duration) {
        let new = NewPeer { expires_in, name: None, acquire: &[], may_queue: true };
        let made = self.step(|leases, now, fx| leases.new_peer(PeerId(id), new, now, fx));
        assert_eq!(Ok(Progress::Acquired(None)), made.map(|standing| standing.progress));
    }

    /// Makes a peer that asks for these locks at once.
    fn make(&mut self, id: u64, acquire: &[(&str, i64)]) -> Result<bool, Error> {
        let new = NewPeer { expires_in: HOUR, name: None, acquire, may_queue: true };
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
        let restored = Restored { acquired, tokens, name: None, expires_in: HOUR };
        self.step(|leases, now, fx| leases.restore(PeerId(id), restored, now, fx)).map(drop)
    }

    fn expire(&mut self) -> usize {
        self.step(|leases, now, fx| leases.expire(now, usize::MAX, fx))
    }

    fn is_acquired(&mut self, id: u64) -> Result<bool, Error> {
        let asked = self.step(|leases, now, fx| leases.is_acquired(PeerId(id), now, fx));
        asked.map(|(is_acquired, _)| is_acquired)
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

        assert!(matches!(world.effects[..], [Effect::Withdrawn(_), Effect::Acquired { .. }]));
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

        assert!(matches!(world.effects[..], [Effect::Withdrawn(_)]));
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

        assert!(matches!(world.effects[..], [Effect::PeerGone(_)]));
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
        assert!(matches!(world.effects[0], Effect::Expired { peer: PeerId(6), .. }));
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
        assert_eq!(1, world.effects.iter().filter(acquired).count());
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
        assert_eq!(expected, world.effects[1..], "7 is granted, and its lease has ended too");
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
        assert_eq!(1, world.effects.iter().filter(told).count());
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

        assert!(matches!(world.effects[..], [Effect::Withdrawn(_), Effect::Acquired { .. }]));
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
        let new = NewPeer { expires_in: HOUR, name: None, acquire: &[("A", 1)], may_queue: false };
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
        let name = Some("etl@node7");
        let new = NewPeer { expires_in: HOUR, name, acquire: &[("A", 1)], may_queue: true };
        world.step(|leases, now, fx| leases.new_peer(PeerId(6), new, now, fx)).unwrap();

        let shown = world.step(|leases, now, fx| leases.peer(PeerId(6), now, fx)).unwrap();
        assert_eq!(name, shown.name.as_deref());
        world.at(3_600).expire();
        let expired = world.effects.iter().find_map(|effect| match effect {
            Effect::Expired { peer: PeerId(6), name, .. } => Some(name.clone()),
            _ => None,
        });
        assert_eq!(Some(name.map(Box::from)), expired);
        world.peers(10);
        for id in 1..=10 {
            let shown = world.step(|leases, now, fx| leases.peer(PeerId(id), now, fx)).unwrap();
            assert_eq!(None, shown.name, "its place in the books is used again");
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
        assert!(!world.effects.iter().any(is_told), "a repetition is no grant");
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
        let told = world.effects.iter().find_map(|effect| match effect {
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
        assert!(world.effects.contains(&Effect::RecoveryEnded));
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
        world.step(|leases, now, fx| leases.revoke(PeerId(id), now, fx))
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

        assert!(world.leases.revoked.len() <= 10, "{}", world.leases.revoked.len());
    }
}
