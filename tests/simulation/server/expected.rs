//! What the naive books make of a request, in the order in which the contract has its checks.

use super::*;

impl Server {
    /// What the naive books make of it: whether all that is asked for is held afterwards.
    pub(super) fn expect(
        &mut self,
        now: u64,
        request: &Request,
        is_full: bool,
        asked: &Result<(Asked, u64), &'static str>,
    ) -> Result<bool, &'static str> {
        self.begin(now);
        let longest = self.limited.max_expires_in;
        let check_lease = |lease: u64| if lease > longest { Err("lease too long") } else { Ok(()) };
        // Where the server draws the id, it is taken over.
        let drawn = asked.as_ref().map_or(0, |(asked, _)| asked.peer.0);
        let too_many = |reason| if reason == "would wait" { "too many waiters" } else { reason };
        let model = &mut self.model;
        match request {
            Request::NewPeer { id, wanted, may_queue, expires_in, block_for } => {
                check_lease(*expires_in)?;
                let wanted = resolve(model, wanted)?;
                let is_full = is_full && *may_queue && *block_for > 0;
                let (id, until) = (id.unwrap_or(drawn), now + expires_in);
                let result = model.new_peer(id, &wanted, until, *may_queue && !is_full);
                result.map_err(|reason| if is_full { too_many(reason) } else { reason })
            }
            Request::Acquire { id, wanted, is_whole, may_queue, expires_in, block_for } => {
                expires_in.map_or(Ok(()), check_lease)?;
                if wanted.is_empty() {
                    return Err("bad names");
                }
                let wanted = resolve(model, wanted)?;
                let is_full = is_full && *may_queue && *block_for > 0;
                let result = model.acquire(*id, &wanted, *is_whole, *may_queue && !is_full);
                let result = result.map_err(|it| if is_full { too_many(it) } else { it })?;
                if let (Some(expires_in), Some(peer)) = (expires_in, model.peers.get_mut(id)) {
                    peer.valid_until = now + expires_in;
                }
                Ok(result)
            }
            Request::Heartbeat { id, expires_in } => {
                check_lease(*expires_in)?;
                let peer = model.peers.get_mut(id).ok_or("unknown peer")?;
                peer.valid_until = now + expires_in;
                Ok(true)
            }
            Request::Release { id, semaphore } => {
                let [semaphore] = [resolve_one(model, *semaphore)?];
                model.release(*id, semaphore).map(|()| true)
            }
            Request::RemovePeer { id } => {
                let removed = model.peers.remove(id).map(|_| true).ok_or("unknown peer");
                model.settle();
                removed
            }
            Request::IsAcquired { id } => match &model.peers.get(id).ok_or("unknown peer")?.ask {
                Some(_) => Err("still pending"),
                None => Ok(true),
            },
            Request::Remainder { semaphore } => resolve_one(model, *semaphore).map(|_| true),
            Request::Restore { id, acquired, tokens, expires_in } => {
                check_lease(*expires_in)?;
                let held = resolve(model, acquired)?;
                if held.values().any(|count| *count < 1) {
                    return Err("count below one");
                }
                for (ix, _) in tokens {
                    if !held.contains_key(&resolve_one(model, *ix)?) {
                        return Err("token without lock");
                    }
                }
                let tokens: BTreeMap<_, _> = tokens.iter().copied().collect();
                model.restore(*id, &held, &tokens, now + expires_in).map(|()| true)
            }
        }
    }
}

/// Names to semaphores, as a request that names them is looked at.
fn resolve(model: &Model, wanted: &Wanted) -> Result<Counts, &'static str> {
    let mut counts = Counts::new();
    let mut is_twice = false;
    for (ix, count) in wanted {
        is_twice |= counts.insert(resolve_one(model, *ix)?, *count).is_some();
    }
    if is_twice { Err("bad names") } else { Ok(counts) }
}

fn resolve_one(model: &Model, ix: usize) -> Result<usize, &'static str> {
    match model.semaphores.get(ix) {
        Some(semaphore) if semaphore.exists => Ok(ix),
        None if ix == TOO_MANY => Err("too many semaphores"),
        _ => Err("unknown semaphore"),
    }
}
