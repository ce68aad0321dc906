//! What clients and operators and strangers do: plans, drawn by chance.

use super::{
    dice::Chance,
    naive::SEMAPHORES,
    wire::{Request, TOO_MANY, UNKNOWN, Wanted},
};

/// What a client wants to have.
#[derive(Clone, Debug)]
pub struct Take {
    pub wanted: Wanted,
    /// Milliseconds until it gives up.
    pub patience: Option<u64>,
    /// Now or never.
    pub is_try: bool,
    /// Of which semaphore it asks for one more permit while it waits, which it must not.
    pub misuses: Option<usize>,
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub enum Step {
    Take(Take),
    /// Holds what it has, for so many milliseconds.
    Rest(u64),
    /// To one permit.
    Shrink(usize),
    GiveBack(usize),
    /// Ends an ask.
    Withdraw(usize),
    GiveAllBack,
    Misuse(Misuse),
}

/// What a client should not do, and the server refuses.
#[derive(Clone, Copy, Debug)]
pub enum Misuse {
    Grow,
    Climb,
    PartlyAgain,
    WhilePending(usize),
    Nothing(i64),
    TooMany,
    Unknown(usize),
    ForAges,
    Twice,
    RestoreOther,
    NewAgain,
}

impl Misuse {
    /// The request, by a peer that holds that.
    pub fn request(self, peer: Option<u64>, held: &Wanted) -> Option<Request> {
        let acquire = |wanted: Wanted, is_whole: bool| {
            let (may_queue, expires_in, block_for) = (true, None, 0);
            Some(Request::Acquire { id: peer?, wanted, is_whole, may_queue, expires_in, block_for })
        };
        let first = held.first().copied();
        match self {
            Misuse::Grow => acquire(vec![first.map(|(ix, count)| (ix, count + 1))?], false),
            // Semaphores are in the order of their levels, the highest first.
            Misuse::Climb => acquire(vec![(first?.0.checked_sub(1)?, 1)], false),
            Misuse::PartlyAgain => {
                let (ix, count) = first?;
                acquire(vec![(ix, count), ((ix + 1) % SEMAPHORES.len(), 1)], true)
            }
            // Of what it holds, that would be less than it has: no misuse.
            Misuse::WhilePending(ix) if held.iter().any(|(held, _)| *held == ix) => None,
            Misuse::WhilePending(ix) => acquire(vec![(ix, SEMAPHORES[ix].1)], false),
            Misuse::Nothing(count) => acquire(vec![(0, count)], false),
            Misuse::TooMany => acquire(vec![(1, 1_000)], false),
            Misuse::Unknown(ix) => acquire(vec![(ix, 1)], false),
            Misuse::ForAges => Some(Request::Heartbeat { id: peer?, expires_in: u64::MAX >> 20 }),
            Misuse::Twice => acquire(vec![(3, 1), (3, 2)], true),
            Misuse::RestoreOther => Some(Request::Restore {
                id: peer?,
                acquired: vec![(2, 1)],
                // So that nothing is restored where the peer is gone meanwhile.
                tokens: vec![(2, u64::MAX)],
                expires_in: 1_000,
            }),
            Misuse::NewAgain => Some(Request::NewPeer {
                id: Some(peer?),
                // So that none is made where it is gone meanwhile.
                wanted: vec![(3, 0)],
                may_queue: true,
                expires_in: 1_000,
                block_for: 0,
            }),
        }
    }

    fn draw(chance: &mut Chance) -> Self {
        match chance.between(0, 11) {
            0 => Misuse::Grow,
            1 => Misuse::Climb,
            2 => Misuse::PartlyAgain,
            3 | 4 => Misuse::WhilePending(chance.between(0, 3) as usize),
            5 => Misuse::Nothing(-(chance.between(0, 1) as i64)),
            6 => Misuse::TooMany,
            7 => Misuse::Unknown(chance.pick(&[UNKNOWN, TOO_MANY])),
            8 => Misuse::ForAges,
            9 => Misuse::Twice,
            10 => Misuse::RestoreOther,
            _ => Misuse::NewAgain,
        }
    }
}

/// What a client does next, from nothing held to nothing held.
pub fn plan(mut chance: Chance, is_classic: bool) -> Vec<Step> {
    let mut steps = vec![Step::Rest(chance.between(0, 400))];
    let mut level = 0;
    let depth = chance.between(1, 3);
    for _ in 0..depth {
        // Nested locks lie at lower levels. Now and then somebody forgets that.
        let from = if chance.one_in(12) { 0 } else { level };
        if from >= SEMAPHORES.len() {
            break;
        }
        let mut wanted = Wanted::new();
        let first = chance.between(from as u64, SEMAPHORES.len() as u64 - 1) as usize;
        wanted.push((first, count(&mut chance, first)));
        if !is_classic {
            for ix in first + 1..SEMAPHORES.len() {
                if chance.one_in(4) {
                    wanted.push((ix, count(&mut chance, ix)));
                }
            }
        }
        // B and C are of one level: whoever holds one of them cannot take the other afterwards.
        let last = wanted.last().map_or(first, |(ix, _)| *ix);
        level = if last == 1 { 3 } else { last + 1 };
        let is_try = chance.one_in(6);
        let patience = (!chance.one_in(3)).then(|| chance.between(50, 6_000));
        if chance.one_in(8) {
            wanted.reverse();
        }
        let misuses = chance.one_in(12).then(|| chance.between(0, 3) as usize);
        steps.push(Step::Take(Take { wanted, patience, is_try, misuses }));
        if chance.one_in(10) {
            steps.push(Step::Misuse(Misuse::draw(&mut chance)));
        }
        let longest = if chance.one_in(10) { 5_000 } else { 300 };
        steps.push(Step::Rest(chance.between(0, longest)));
        if chance.one_in(6) {
            steps.push(Step::Shrink(first));
        }
        if chance.one_in(5) {
            steps.push(Step::GiveBack(first));
        }
    }
    steps.push(match chance.one_in(12) {
        // Somebody forgets to give back; the heartbeat goes on for a while.
        true => Step::Rest(4_000),
        false => Step::Rest(0),
    });
    steps.push(Step::GiveAllBack);
    steps
}

fn count(chance: &mut Chance, ix: usize) -> i64 {
    let max = SEMAPHORES[ix].1 as u64;
    if chance.one_in(4) { chance.between(1, max) as i64 } else { 1 }
}

/// What somebody sends who keeps to no rule. `peers` are those of others.
pub fn strange_request(mut chance: Chance, number: u64, peers: &[u64]) -> Request {
    let own = 1 << 52 | number;
    let id = match peers.is_empty() || chance.one_in(3) {
        true => own,
        false => chance.pick(peers),
    };
    let ix = chance.between(0, 3) as usize;
    let expires_in = chance.between(1, 600);
    let restore = |acquired: Wanted, tokens: Vec<(usize, u64)>| Request::Restore {
        id: own,
        acquired,
        tokens,
        expires_in,
    };
    match chance.between(0, 17) {
        0 => Request::Heartbeat { id: own, expires_in },
        1 => Request::Release { id: own, semaphore: ix },
        2 => Request::Release { id: own, semaphore: UNKNOWN },
        3 => Request::Remainder { semaphore: chance.pick(&[ix, ix, UNKNOWN, TOO_MANY]) },
        4 => Request::IsAcquired { id },
        5 => Request::RemovePeer { id: own },
        6 => restore(vec![(ix, 1 + chance.between(0, 2) as i64)], Vec::new()),
        7 => restore(vec![(ix, 1)], vec![(ix, chance.pick(&[0, 1, u64::MAX]))]),
        8 => restore(vec![(ix, 1)], vec![((ix + 1) % 4, 1)]),
        9 => restore(vec![(ix, i64::MAX)], Vec::new()),
        10 => restore(vec![(ix, 0)], Vec::new()),
        11 => restore(vec![(ix, 1), (ix, 1)], Vec::new()),
        12 => Request::Heartbeat { id: own, expires_in: u64::MAX >> 20 },
        13 => Request::NewPeer {
            id: Some(own),
            wanted: vec![(ix, 1)],
            may_queue: chance.one_in(2),
            expires_in,
            block_for: 0,
        },
        14 => Request::Acquire {
            id: own,
            wanted: Wanted::new(),
            is_whole: true,
            may_queue: true,
            expires_in: None,
            block_for: 0,
        },
        15 => Request::NewPeer {
            id: None,
            wanted: Wanted::new(),
            may_queue: true,
            expires_in,
            block_for: 0,
        },
        16 => Request::NewPeer {
            id: Some(own),
            wanted: vec![(ix, 1), (chance.pick(&[UNKNOWN, TOO_MANY]), 1)],
            may_queue: true,
            expires_in,
            block_for: 0,
        },
        _ => Request::NewPeer {
            id: Some(own),
            wanted: vec![(ix, 1)],
            may_queue: true,
            expires_in: u64::MAX >> 20,
            block_for: 0,
        },
    }
}
