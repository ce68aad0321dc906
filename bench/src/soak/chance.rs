//! Numbers drawn from a seed, so that a run can be made to draw the same ones again.

use std::time::Duration;

/// A source of numbers: SplitMix64, by Steele, Lea and Flood.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of that seed.
    pub fn of(seed: u64) -> Self {
        Chance(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0 .. below`, which is at least 1.
    pub fn below(&mut self, below: usize) -> usize {
        (self.number() % below as u64) as usize
    }

    /// One of `from ..= to`.
    pub fn count(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from + 1) as usize) as i64
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A time between these two, in whole milliseconds.
    pub fn time(&mut self, from: Duration, to: Duration) -> Duration {
        let span = (to.saturating_sub(from)).as_millis() as usize;
        from + Duration::from_millis(self.below(span + 1) as u64)
    }

    /// An id that a caller may choose for a peer: 2^32 to 2^53 - 1.
    pub fn peer_id(&mut self) -> u64 {
        const FROM: u64 = 1 << 32;
        FROM + self.number() % ((1 << 53) - FROM)
    }

    /// One of some, each of which has a weight.
    pub fn weighed<T: Copy>(&mut self, choices: &[(usize, T)]) -> Option<T> {
        let all: usize = choices.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.below(all.max(1));
        for (weight, choice) in choices {
            if drawn < *weight {
                return Some(*choice);
            }
            drawn -= weight;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_draws_the_same() {
        let draw = |seed| {
            let mut chance = Chance::of(seed);
            [(); 8].map(|()| chance.number())
        };

        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn what_weighs_nothing_is_never_drawn() {
        let mut chance = Chance::of(1);

        for _ in 0..1_000 {
            assert_eq!(Some('b'), chance.weighed(&[(0, 'a'), (3, 'b'), (0, 'c')]));
        }
    }
}
