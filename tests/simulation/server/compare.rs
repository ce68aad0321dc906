//! Whether all is well: what was told, what is shown, what is counted, and what comes back to those
//! who wait.

use super::*;

impl Server {
    /// Lets everybody do what is to be done, and looks whether all is well. Returns the answers to
    /// those who were parked. To be called after each step that touched the server.
    pub async fn settle(&mut self, now: u64, coverage: &mut Coverage) -> Kept<Vec<(u64, Answer)>> {
        for _ in 0..4 {
            yield_now().await;
        }
        self.begin(now);
        if self.is_collecting() {
            // What had to be done at this moment is done, and told, before anybody looks.
            self.read_events(coverage)?;
            self.compare_told()?;
        } else {
            // Somebody has to clear away, and what is unused by that goes when the next one looks.
            self.state.overview();
        }
        let overview = self.state.overview();
        for _ in 0..2 {
            yield_now().await;
        }
        self.read_events(coverage)?;
        self.sweep();
        let peers = self.state.peers(Page::ALL);
        self.compare_peers(&peers)?;
        for (ix, model) in self.model.semaphores.into_iter().enumerate() {
            let shown = overview.semaphores.iter().find(|shown| *shown.name == *NAMES[ix]);
            let is_as_set = shown.map(|shown| (shown.max, shown.is_paused))
                == model.exists.then_some((model.max, model.paused));
            promise(BOOKS, is_as_set, || format!("{shown:?}, but {model:?} was expected"))?;
            if let Some(shown) = shown {
                self.ledger.check_counts(ix, shown)?;
            }
        }
        let answers = self.answers(now, &peers, coverage)?;
        let waiters = self.state.overview().waiters;
        let is_right = waiters == self.parked.len() || self.is_shut_down;
        promise(ACCOUNTING, is_right, || format!("{waiters} waiters, parked {:?}", self.parked))?;
        Ok(answers)
    }

    /// Enters what has happened into the ledger.
    fn read_events(&mut self, coverage: &mut Coverage) -> Kept {
        let is_closed = self.is_closed();
        loop {
            let next = pin!(self.listener.next()).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Some(batch)) = next else { return Ok(()) };
            promise(ACCOUNTING, !batch.has_missed, || "events are missed".to_owned())?;
            for entry in batch.entries {
                match entry.news {
                    News::Lock(event) => self.ledger.enter(&event, is_closed, coverage)?,
                    News::Resized { semaphore, max, is_paused, .. } => {
                        self.ledger.set(index(&semaphore), max, is_paused, coverage);
                    }
                    News::Reloaded(_) => {
                        for (ix, set) in self.model.semaphores.iter().enumerate() {
                            self.ledger.set(ix, set.max, set.paused, coverage);
                        }
                    }
                }
            }
        }
    }

    /// Whether all that was told adds up to what is expected.
    fn compare_told(&self) -> Kept {
        for (id, peer) in &self.model.peers {
            let told: Counts =
                self.ledger.locks_of(*id).map(|(ix, lock)| (ix, lock.count)).collect();
            promise(WOKEN, told == peer.held, || format!("{id}: {peer:?}, but {told:?} was told"))?;
        }
        let held: usize = self.model.peers.values().map(|peer| peer.held.len()).sum();
        let told = self.ledger.locks();
        promise(WOKEN, told == held, || format!("{told} locks were told, not {held}"))
    }

    /// Whether everybody holds and waits for what they should, and until when.
    fn compare_peers(&mut self, peers: &[PeerSnapshot]) -> Kept {
        let same_number = peers.len() == self.model.peers.len();
        promise(BOOKS, same_number, || format!("{peers:?}, but {:?}", self.model.peers))?;
        for shown in peers {
            let id = shown.id.0;
            let Some(peer) = self.model.peers.get_mut(&id) else {
                return Err(Broken { promise: BOOKS, how: format!("{shown:?} should be gone") });
            };
            let counts = |locks: &[(Arc<str>, i64)]| -> Counts {
                locks.iter().map(|(name, count)| (index(name), *count)).collect()
            };
            let pending = peer.ask.as_ref().map(|ask| ask.locks.clone()).unwrap_or_default();
            let left = ms(peer.valid_until - self.model.now);
            let is_as_expected = counts(&shown.acquired) == peer.held
                && counts(&shown.pending) == pending
                && shown.expires_in == left;
            promise(BOOKS, is_as_expected, || format!("{shown:?}, but {peer:?} was expected"))?;
            let tokens: BTreeMap<_, _> =
                shown.tokens.iter().map(|(name, token)| (index(name), token.number())).collect();
            let told: BTreeMap<_, _> = (self.ledger.locks_of(id))
                .filter_map(|(ix, lock)| Some((ix, lock.token?)))
                .collect();
            promise(ACCOUNTING, tokens == told, || format!("{shown:?}, but {told:?} was told"))?;
            peer.tokens = tokens;
        }
        Ok(())
    }

    /// Whether those who waited were told what has come of it, and nobody else was.
    fn answers(
        &mut self,
        now: u64,
        peers: &[PeerSnapshot],
        coverage: &mut Coverage,
    ) -> Kept<Vec<(u64, Answer)>> {
        let outcomes = std::mem::take(&mut *self.outcomes.lock().expect("nobody panics with it"));
        let mut answers = Vec::new();
        for (ticket, outcome) in outcomes {
            let Some(parked) = self.parked.remove(&ticket) else { continue };
            let is_pending = self.is_pending(&parked);
            let peer = peers.iter().find(|peer| peer.id.0 == parked.peer);
            let holds = |locks: &Counts| {
                let held = self.model.peers.get(&parked.peer).map(|peer| &peer.held);
                held.is_some_and(|held| locks.iter().all(|(ix, it)| held.get(ix) == Some(it)))
            };
            let is_over = parked.until <= now || self.is_shut_down;
            let (what, is_right, result) = match outcome {
                Outcome::Acquired { token, .. } => {
                    let (id, token) = (parked.peer, Some(token.number()));
                    // Where nobody clears away, it may have been granted before it was released.
                    let is_gone = peer.is_none() && !self.is_collecting();
                    let is_right = !is_pending && (holds(&parked.locks) || is_gone);
                    ("woken: acquired", is_right, Ok(Reply::Acquired { peer: id, token }))
                }
                Outcome::Withdrawn => {
                    let is_right = !is_pending && peer.is_some() && !holds(&parked.locks);
                    ("woken: withdrawn", is_right, Err("withdrawn"))
                }
                Outcome::PeerGone => {
                    // Where nobody clears away, it may have been made anew in the same step.
                    let is_gone = peer.is_none() || !self.is_collecting();
                    ("woken: peer gone", !is_pending && is_gone, Err("unknown peer"))
                }
                Outcome::StillPending => {
                    // In the very same millisecond it may be granted: who asks again learns of it.
                    ("woken: time is over", is_over, Ok(Reply::Pending { peer: parked.peer }))
                }
            };
            coverage.count(what);
            promise(WOKEN, is_right, || format!("{parked:?} was told {outcome:?} at {now}"))?;
            let expires_in = peer.and_then(|peer| u64::try_from(peer.expires_in.as_millis()).ok());
            answers.push((ticket, Answer { instance: self.instance, expires_in, result }));
        }
        for parked in self.parked.values() {
            let is_waiting = self.is_pending(parked) && parked.until > now;
            promise(WOKEN, is_waiting, || format!("{parked:?} was told nothing at {now}"))?;
        }
        Ok(answers)
    }

    /// Whether the naive books still have what a request waits for.
    fn is_pending(&self, parked: &Parked) -> bool {
        let ask = self.model.peers.get(&parked.peer).and_then(|peer| peer.ask.as_ref());
        ask.is_some_and(|ask| ask.arrival == parked.arrival && ask.locks == parked.locks)
    }

    /// What Prometheus would be told, against the ledger and the books.
    pub fn check_metrics(&self) -> Kept {
        let overview = self.state.overview();
        let text = self.metrics.render(&overview, &[]);
        let value = |name: &str, ix: usize| -> Option<f64> {
            let start = format!("{name}{{semaphore=\"{}\"}} ", NAMES[ix]);
            let line = text.lines().find_map(|line| line.strip_prefix(&*start))?;
            line.parse().ok()
        };
        for (ix, set) in self.model.semaphores.iter().enumerate().filter(|(_, set)| set.exists) {
            let acquired = self.model.acquired(ix);
            let pending: i64 = (self.model.peers.values())
                .filter_map(|peer| peer.ask.as_ref()?.locks.get(&ix).copied())
                .sum();
            let totals = self.ledger.totals(ix);
            let times = |durations: &Durations| durations.buckets.iter().sum::<u64>() as i64;
            let expected = [
                ("throttle_count", acquired),
                ("throttle_full_count", set.max),
                ("throttle_pending", pending),
                ("throttle_over_commit", (acquired - set.max).max(0)),
                ("throttle_paused", set.paused.into()),
                ("throttle_acquired_total", totals.acquired as i64),
                ("throttle_released_total", totals.released as i64),
                ("throttle_expired_total", totals.expired as i64),
                ("throttle_cancelled_total", totals.cancelled as i64),
                ("throttle_restored_total", totals.restored as i64),
                ("throttle_wait_seconds_count", times(&totals.waits)),
                ("throttle_hold_seconds_count", times(&totals.holds)),
            ];
            for (name, expected) in expected {
                let found = value(name, ix);
                promise(ACCOUNTING, found == Some(expected as f64), || {
                    format!("{name} of {} is {found:?}, but {expected} was expected", NAMES[ix])
                })?;
            }
        }
        let peers = format!("throttle_peers {}\n", self.model.peers.len());
        let waiters = format!("throttle_waiters {}\n", self.parked.len());
        promise(ACCOUNTING, text.contains(&peers) && text.contains(&waiters), || {
            format!("no `{peers}` or no `{waiters}` in {text}")
        })
    }

    /// After everybody has gone and a lease is over, nothing is left.
    pub fn check_is_empty(&self) -> Kept {
        let overview = self.state.overview();
        let is_empty = overview.peers == 0
            && overview.waiters == 0
            && overview.semaphores.iter().all(|it| (it.acquired, it.pending) == (0, 0));
        promise(PROGRESS, is_empty, || format!("at the end, {overview:?} is left"))
    }
}
