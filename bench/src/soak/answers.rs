//! What each step may be answered, and what that means for the books. Anything else is an error.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{
    books::{Lock, Stage},
    crowd::{self, Crowd, Doing},
    http,
    moves::{Move, Terms},
    refusals::Refusal,
    shown::Shown,
    world::Class,
};
use crate::{
    engine::Reply,
    loads::{expect, expect_ok},
};

/// A lease ends on time; what counts its milliseconds here is another clock.
const MARGIN: Duration = Duration::from_millis(30);

/// Judges the answer to a step.
///
/// # Errors
/// Where it is none that the step can have.
pub fn judge(crowd: &mut Crowd, doing: &Doing, reply: &Reply<'_>, now: Instant) -> Result<()> {
    let Doing { place, step, sent_at, .. } = doing;
    let place = *place;
    crowd::count(&mut crowd.books.done, step);
    match step {
        Move::Ask { locks, floor, terms } => ask(crowd, place, locks, (*floor, *terms), reply),
        Move::AskAgain { .. } => again(crowd, place, reply),
        Move::Late(_) => {
            crowd.books.peers[place].stage = Stage::Absent;
            refused(crowd, reply, 400, "unknown_peer")
        }
        Move::ComeBack => {
            crowd.books.peers[place].stage = Stage::Absent;
            refused(crowd, reply, 409, "revoked")
        }
        Move::Refused(refusal) => on_purpose(crowd, place, *refusal, reply),
        Move::Shrink { semaphore, count, is_pending } => {
            shrink(crowd, place, Lock { semaphore: *semaphore, count: *count }, *is_pending, reply)
        }
        Move::EnterWith { id, locks, floor } => {
            ensure!(matches!(reply.code, 200 | 202), "neither 200 nor 202");
            ensure!(reply.body == id.to_string().as_bytes(), "another id");
            crowd.books.enter(place, *id, *sent_at);
            crowd.books.ask(place, locks, *floor);
            granted_if_ok(crowd, place, reply)
        }
        _ => {
            expect_ok(reply)?;
            plain(crowd, place, step, *sent_at, reply, now)
        }
    }
}

/// Steps that are answered with 200 and nothing else.
fn plain(
    crowd: &mut Crowd,
    place: usize,
    step: &Move,
    sent_at: Instant,
    reply: &Reply<'_>,
    now: Instant,
) -> Result<()> {
    let books = &mut crowd.books;
    match step {
        Move::Enter => {
            let id = std::str::from_utf8(reply.body)?.trim().parse().context("no peer id")?;
            books.enter(place, id, sent_at);
        }
        Move::Restore { id, locks } => {
            books.enter(place, *id, sent_at);
            books.restore(place, locks);
        }
        Move::Beat | Move::RestoreAgain => books.peers[place].beaten_at = sent_at,
        Move::Vanish { lease } => books.leave(place, Stage::Gone(now + *lease + MARGIN)),
        Move::AskHeld { held } => {
            ensure!(http::token(reply) == held.token, "another token than {:?}", held.token);
        }
        Move::Release { semaphore } => books.end_held(place, *semaphore),
        // Part of it may have been granted before, and is held still.
        Move::Withdraw { .. } if books.peers[place].pending.len() > 1 => {
            books.peers[place].must_look = true;
        }
        Move::Withdraw { .. } => books.end_pending(place),
        Move::Remove { revoke } => {
            ensure!(reply.body == b"\"Peer released\"", "there was no such peer");
            books.leave(place, if *revoke { Stage::Revoked } else { Stage::Absent });
        }
        Move::Look => {
            let peer = serde_json::from_slice(reply.body)?;
            let shown = Shown::read(books, &peer)?;
            books.learn(place, &shown)?;
        }
        Move::IsAcquired => {
            let is_waiting = !books.peers[place].pending.is_empty();
            ensure!(
                reply.body == b"true" || (is_waiting && reply.body == b"false"),
                "it waits for nothing"
            );
        }
        other => bail!("{other:?} has another answer"),
    }
    Ok(())
}

fn ask(
    crowd: &mut Crowd,
    place: usize,
    locks: &[Lock],
    (floor, terms): (u64, Terms),
    reply: &Reply<'_>,
) -> Result<()> {
    let has = |class| {
        locks.iter().any(|lock| crowd.books.world.semaphores[lock.semaphore].class == class)
    };
    let (may_be_impossible, may_be_unknown) = (has(Class::Shrunk), has(Class::Fleeting));
    let code = http::code(reply);
    match (reply.code, code.as_str()) {
        (200, _) => {
            crowd.books.ask(place, locks, floor);
            granted_if_ok(crowd, place, reply)
        }
        (202, _) if terms != Terms::NoQueue => {
            crowd.books.ask(place, locks, floor);
            Ok(())
        }
        (409, "would_wait") if terms == Terms::NoQueue => refused(crowd, reply, 409, "would_wait"),
        (409, "count_above_max") if may_be_impossible => {
            refused(crowd, reply, 409, "count_above_max")
        }
        (409, "withdrawn") if may_be_impossible && matches!(terms, Terms::Parked(_)) => {
            crowd.books.ask(place, locks, floor);
            crowd.books.end_pending(place);
            refused(crowd, reply, 409, "withdrawn")
        }
        (400, "unknown_semaphore") if may_be_unknown => {
            refused(crowd, reply, 400, "unknown_semaphore")
        }
        _ => bail!("not one of the answers to an ask"),
    }
}

fn again(crowd: &mut Crowd, place: usize, reply: &Reply<'_>) -> Result<()> {
    if crowd.withdrawals.answered(&mut crowd.books, place, reply)? {
        return Ok(());
    }
    ensure!(matches!(reply.code, 200 | 202), "neither 200 nor 202");
    granted_if_ok(crowd, place, reply)
}

/// A smaller lock. The one that was pending may have been granted before.
fn shrink(
    crowd: &mut Crowd,
    place: usize,
    lock: Lock,
    is_pending: bool,
    reply: &Reply<'_>,
) -> Result<()> {
    let peer = &mut crowd.books.peers[place];
    if is_pending {
        ensure!(matches!(reply.code, 200 | 202), "neither 200 nor 202");
        peer.pending = vec![lock];
        return granted_if_ok(crowd, place, reply);
    }
    expect_ok(reply)?;
    let held = peer.held.iter_mut().find(|held| held.lock.semaphore == lock.semaphore);
    let held = held.context("it holds no such lock")?;
    held.lock = lock;
    ensure!(http::token(reply) == held.token, "another token than {:?}", held.token);
    Ok(())
}

fn granted_if_ok(crowd: &mut Crowd, place: usize, reply: &Reply<'_>) -> Result<()> {
    match reply.code {
        200 => crowd.books.grant(place, http::token(reply)),
        _ => Ok(()),
    }
}

fn on_purpose(crowd: &mut Crowd, place: usize, refusal: Refusal, reply: &Reply<'_>) -> Result<()> {
    let peer = &crowd.books.peers[place];
    let refusal = refusal.for_peer(peer, &crowd.books.world);
    let (status, code) = refusal.expected();
    if refusal == Refusal::AlreadyPending && http::code(reply) != code {
        // It was granted meanwhile, or something is held that this level is not below.
        return refused(crowd, reply, 409, "level_violation");
    }
    refused(crowd, reply, status, code)
}

fn refused(crowd: &mut Crowd, reply: &Reply<'_>, status: u16, code: &'static str) -> Result<()> {
    expect(reply, status)?;
    let found = http::code(reply);
    ensure!(found == code, "refused with `{found}`, not with `{code}`");
    crowd.books.refuse(code);
    Ok(())
}
