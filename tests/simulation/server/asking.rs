//! Requests, asked of the real state. What comes of them is held against what is expected.

use super::*;

impl Server {
    /// Serves a request.
    pub fn apply(&mut self, now: u64, request: &Request, coverage: &mut Coverage) -> Kept<Applied> {
        // Those whose time is over have gone, though nobody has looked at their outcomes yet.
        let gone = self.outcomes.lock().expect("nobody panics with it").len();
        let waiting = self.parked.len() - gone;
        let is_full = waiting >= self.limited.max_waiters && !self.is_shut_down;
        self.draws += 1;
        let asked = self.ask(request);
        let expected = self.expect(now, request, is_full, &asked);
        let found = match &asked {
            Ok((asked, _)) => Ok(matches!(asked.progress, Progress::Acquired(_))),
            Err(reason) => Err(*reason),
        };
        promise(BOOKS, expected == found, || {
            format!("{request:?} came to {found:?}, but {expected:?} was expected")
        })?;
        if let Err(reason) = found {
            coverage.count(reason);
        }
        let mut answer =
            Answer { instance: self.instance, expires_in: None, result: Ok(Reply::Done) };
        let (asked, block_for) = match asked {
            Ok(asked) => asked,
            Err(reason) => return Ok(Applied::Answer(Answer { result: Err(reason), ..answer })),
        };
        answer.expires_in = u64::try_from(asked.expires_in.as_millis()).ok();
        let peer = asked.peer.0;
        let is_ask = matches!(request, Request::NewPeer { .. } | Request::Acquire { .. });
        Ok(match asked.progress {
            Progress::Acquired(token) if is_ask => {
                let token = token.map(|token| token.number());
                let result = Ok(Reply::Acquired { peer, token });
                Applied::Answer(Answer { result, ..answer })
            }
            Progress::Acquired(_) => Applied::Answer(answer),
            Progress::Pending(None) => {
                Applied::Answer(Answer { result: Ok(Reply::Pending { peer }), ..answer })
            }
            Progress::Pending(Some(waiter)) => self.park(now, peer, waiter, block_for)?,
        })
    }

    fn park(&mut self, now: u64, peer: u64, mut waiter: Waiter, block_for: u64) -> Kept<Applied> {
        let ask = self.model.peers.get(&peer).and_then(|peer| peer.ask.as_ref());
        let Some(ask) = ask else {
            let how = format!("peer {peer} is parked and waits for nothing");
            return Err(Broken { promise: BOOKS, how });
        };
        let (arrival, locks) = (ask.arrival, ask.locks.clone());
        self.tickets += 1;
        let (ticket, outcomes) = (self.tickets, self.outcomes.clone());
        let task = tokio::spawn(async move {
            let outcome = waiter.outcome(ms(block_for)).await;
            drop(waiter);
            outcomes.lock().expect("nobody panics with it").push((ticket, outcome));
        });
        let until = now + block_for;
        let task = task.abort_handle();
        self.parked.insert(ticket, Parked { peer, arrival, locks, until, task });
        Ok(Applied::Parked { ticket, until })
    }

    /// Asks the real server. What is no ask counts as acquired.
    fn ask(&self, request: &Request) -> Result<(Asked, u64), &'static str> {
        let state = &self.state;
        let done = |id: u64, expires_in: Duration| {
            let (peer, progress) = (PeerId(id), Progress::Acquired(None));
            Ok((Asked { peer, expires_in, progress }, 0))
        };
        let refused = |error| match error {
            AskError::Semaphore(error) => reason(&error),
            AskError::TooManyWaiters { .. } => "too many waiters",
        };
        let asked = match request {
            Request::NewPeer { id, wanted, may_queue, expires_in, block_for } => {
                let acquire = &*named(wanted);
                let (expires_in, may_queue) = (ms(*expires_in), *may_queue);
                let new = NewPeer { expires_in, about: None, acquire, may_queue };
                // Drawn here, not there: a script has the same history each time.
                let id = id.unwrap_or(DRAWN + (self.instance << 24) + self.draws);
                let asked = state.new_peer(Some(PeerId(id)), new, *block_for > 0);
                return asked.map(|asked| (asked, *block_for)).map_err(refused);
            }
            Request::Acquire { id, wanted, is_whole, may_queue, expires_in, block_for } => {
                let wanted = named(wanted);
                let asking = match is_whole {
                    true => Asking::Together(&wanted),
                    false => Asking::Lock(wanted[0]),
                };
                let terms = Terms { expires_in: expires_in.map(ms), may_queue: *may_queue };
                let asked = state.acquire(PeerId(*id), asking, terms, *block_for > 0);
                return asked.map(|asked| (asked, *block_for)).map_err(refused);
            }
            Request::Heartbeat { id, expires_in } => {
                state.heartbeat(PeerId(*id), ms(*expires_in)).map(|left| (*id, left))
            }
            Request::Release { id, semaphore } => {
                state.release(PeerId(*id), NAMES[*semaphore]).map(|left| (*id, left))
            }
            Request::RemovePeer { id } => match state.remove_peer(PeerId(*id)) {
                true => Ok((*id, Duration::ZERO)),
                false => return Err("unknown peer"),
            },
            Request::IsAcquired { id } => match state.is_acquired(PeerId(*id)) {
                Ok((false, _)) => return Err("still pending"),
                Ok((true, left)) => Ok((*id, left)),
                Err(error) => Err(error),
            },
            Request::Remainder { semaphore } => {
                // The remainder itself is compared with the books later.
                state.remainder(NAMES[*semaphore]).map(|_| (0, Duration::ZERO))
            }
            Request::Restore { id, acquired, tokens, expires_in } => {
                let (acquired, tokens): (Vec<_>, Vec<_>) = (
                    named(acquired),
                    tokens.iter().map(|(ix, token)| (NAMES[*ix], *token)).collect(),
                );
                let restored = Restored {
                    acquired: &acquired,
                    tokens: &tokens,
                    about: None,
                    expires_in: ms(*expires_in),
                };
                state.restore(PeerId(*id), restored).map(|left| (*id, left))
            }
        };
        asked.map_err(|error| reason(&error)).and_then(|(id, left)| done(id, left))
    }
}
