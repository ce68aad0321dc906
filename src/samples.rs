//! The last fifteen minutes in samples, for whoever opens the page and wants to see where things
//! come from. Monitoring in earnest is for those who scrape `/metrics`.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use crate::state::{Overview, State};

/// Between two samples.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// So many are kept: fifteen minutes.
const KEPT: usize = 90;

/// The curves of no more semaphores are kept.
const MOST_CURVES: usize = 1_000;

/// What was acquired and what was pending of a semaphore, oldest first.
pub type Curve = VecDeque<(i64, i64)>;

/// All samples that are kept; each list is as long as the others.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// When the last one was taken: the time since 1970.
    pub at: Duration,
    /// How many peers there were.
    pub peers: VecDeque<usize>,
    /// How many requests were parked.
    pub waiters: VecDeque<usize>,
    /// Of the semaphores that were used in that time.
    pub semaphores: HashMap<Arc<str>, Curve>,
}

/// Where the samples of one server are kept.
#[derive(Debug, Default)]
pub struct Sampler(Mutex<Samples>);

impl Sampler {
    /// Takes samples for as long as the server runs.
    pub async fn run(self: Arc<Self>, state: Arc<State>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.lock().take(&state.overview(), state.wall_clock_now());
        }
    }

    /// What was sampled so far.
    pub fn samples(&self) -> Samples {
        self.0.lock().clone()
    }
}

impl Samples {
    fn take(&mut self, now: &Overview, at: Duration) {
        self.at = at;
        push(&mut self.peers, now.peers);
        push(&mut self.waiters, now.waiters);
        let mut used: HashMap<_, _> = (now.semaphores.iter())
            .map(|semaphore| {
                let pending = i64::try_from(semaphore.pending).unwrap_or(i64::MAX);
                (&semaphore.name, (semaphore.acquired, pending))
            })
            .filter(|(_, sample)| *sample != (0, 0))
            .collect();
        for (name, curve) in &mut self.semaphores {
            push(curve, used.remove(name).unwrap_or_default());
        }
        self.semaphores.retain(|_, curve| curve.iter().any(|sample| *sample != (0, 0)));
        let room = MOST_CURVES.saturating_sub(self.semaphores.len());
        for (name, sample) in used.into_iter().take(room) {
            let mut curve = Curve::from(vec![(0, 0); self.peers.len() - 1]);
            curve.push_back(sample);
            self.semaphores.insert(name.clone(), curve);
        }
    }
}

fn push<T>(list: &mut VecDeque<T>, sample: T) {
    if list.len() == KEPT {
        list.pop_front();
    }
    list.push_back(sample);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{semaphore::SemaphoreConfig, state::Settings};

    fn samples(steps: &[usize]) -> Samples {
        let state = State::new([("A", SemaphoreConfig::new(1))], Settings::default());
        let mut samples = Samples::default();
        let peer = state.peer_for(Duration::from_secs(3_600));
        for acquired in steps {
            match acquired {
                0 => drop(state.release(peer, "A")),
                _ => drop(state.ask_for(peer, "A")),
            }
            samples.take(&state.overview(), Duration::from_secs(1));
        }
        samples
    }

    #[tokio::test]
    async fn curve_begins_with_the_first_use_and_is_as_long_as_all_others() {
        let samples = samples(&[0, 0, 1, 0]);

        assert_eq!([1; 4], *samples.peers.iter().copied().collect::<Vec<_>>());
        assert_eq!(Curve::from([(0, 0), (0, 0), (1, 0), (0, 0)]), samples.semaphores["A"]);
    }

    #[tokio::test]
    async fn what_was_not_used_for_fifteen_minutes_has_no_curve() {
        let mut steps = vec![1];
        steps.resize(KEPT, 0);
        assert_eq!(KEPT, samples(&steps).semaphores["A"].len());

        steps.push(0);

        assert!(samples(&steps).semaphores.is_empty());
    }
}
