//! While everything rests: what the server shows, held against the books, to the last permit.

use std::{collections::HashMap, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    books::{Books, Stage},
    crowd::Crowd,
    http::Sent,
    scraped::Scraped,
    shown::Shown,
    visitors::Seen,
    world::{Class, KEPT},
};

/// So many peers are looked at at once. Who asks for all of them has the server put together an
/// answer of megabytes, which its allocator then does not give back.
const PAGE: usize = 1_000;

/// What must be true of one semaphore, by the books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    acquired: i64,
    holders: u64,
    pending: i64,
    waiting: u64,
    /// The largest count that is waited for.
    largest: i64,
    /// Some wait for several locks at once, so that the queue may rest though there is room.
    has_several: bool,
}

/// Compares everything. Nothing may be in flight, and no lease may be about to end.
///
/// # Errors
/// Where anything differs.
pub fn compare(crowd: &mut Crowd, seen: &[&Seen]) -> Result<()> {
    let address = crowd.address;
    // Semaphores that nobody uses any more go with the next operation: this one.
    let expired = Sent::new("POST", "/remove_expired").ok(address)?;
    ensure!(expired.iter().all(u8::is_ascii_digit), "/remove_expired is no number");
    learn(crowd)?;
    let usages = usages(&crowd.books);
    let scraped = Scraped::read(&Sent::new("GET", "/metrics").ok(address)?)?;
    let listed = listed(address)?;
    for (ix, usage) in usages.iter().enumerate() {
        let name = &crowd.books.world.semaphores[ix].name;
        let shown = listed.get(name);
        compare_semaphore(crowd, ix, *usage, shown, &scraped)
            .with_context(|| format!("semaphore `{name}`, by the books {usage:?}"))?;
    }
    let is_known = |name: &str| name == KEPT || crowd.books.world.find(name).is_some();
    let strange = listed.keys().find(|name| !is_known(name));
    ensure!(strange.is_none(), "there is still a semaphore {strange:?}");
    compare_totals(crowd, &scraped, seen)
}

/// Holds each peer against the books.
fn learn(crowd: &mut Crowd) -> Result<()> {
    let mut shown = HashMap::new();
    for offset in (0..).step_by(PAGE) {
        let page = format!("/peers/?offset={offset}&limit={PAGE}");
        let page: Vec<Value> = serde_json::from_slice(&Sent::new("GET", &page).ok(crowd.address)?)?;
        let is_last = page.len() < PAGE;
        for peer in page {
            let id = peer["id"].as_u64().context("no id")?;
            ensure!(shown.insert(id, peer).is_none(), "peer {id} is listed twice");
        }
        if is_last {
            break;
        }
    }
    let kept = shown.remove(&crowd.keeper).map(|peer| peer["acquired"][KEPT] == 1);
    ensure!(kept != Some(false), "the keeper has lost its lock");
    for place in 0..crowd.books.peers.len() {
        let peer = &crowd.books.peers[place];
        if peer.stage == Stage::Present {
            let shown = shown.remove(&peer.id);
            let shown = shown.with_context(|| format!("peer {} is lost: {peer:?}", peer.id))?;
            let shown = Shown::read(&crowd.books, &shown)?;
            crowd.books.learn(place, &shown)?;
        }
    }
    ensure!(shown.is_empty(), "peers that must be gone: {shown:?}");
    Ok(())
}

fn usages(books: &Books) -> Vec<Usage> {
    let mut usages = vec![Usage::default(); books.world.semaphores.len()];
    for peer in books.peers.iter().filter(|peer| peer.stage == Stage::Present) {
        for held in &peer.held {
            let usage = &mut usages[held.lock.semaphore];
            usage.acquired += held.lock.count;
            usage.holders += 1;
        }
        for lock in &peer.pending {
            let usage = &mut usages[lock.semaphore];
            usage.pending += lock.count;
            usage.waiting += 1;
            usage.largest = usage.largest.max(lock.count);
            usage.has_several |= peer.pending.len() > 1;
        }
    }
    usages
}

fn listed(address: SocketAddr) -> Result<HashMap<String, Value>> {
    let listed: Vec<Value> = serde_json::from_slice(&Sent::new("GET", "/semaphores").ok(address)?)?;
    let named = listed.into_iter().map(|semaphore| {
        let name = semaphore["name"].as_str().context("no name")?.to_owned();
        Ok((name, semaphore))
    });
    named.collect()
}

fn compare_semaphore(
    crowd: &Crowd,
    ix: usize,
    usage: Usage,
    shown: Option<&Value>,
    scraped: &Scraped,
) -> Result<()> {
    let semaphore = &crowd.books.world.semaphores[ix];
    let (max, is_paused) = crowd.operator.set_of(ix);
    let is_used = usage.holders > 0 || usage.waiting > 0;
    let source = match (semaphore.class, max) {
        (Class::Template, _) => "template",
        (_, Some(_)) => "file",
        (_, None) => "removed",
    };
    let Some(shown) = shown else {
        ensure!(!is_used && source != "file", "it is not there");
        return Ok(());
    };
    ensure!(is_used || source == "file", "it is still there");
    // One that is removed keeps the max that it had.
    let max = max.unwrap_or(semaphore.max);
    let expected = [
        ("acquired", usage.acquired.into()),
        ("holders", usage.holders.into()),
        ("pending", usage.pending.into()),
        ("waiting", usage.waiting.into()),
        ("max", max.into()),
        ("paused", is_paused.into()),
        ("source", Value::from(source)),
    ];
    for (field, expected) in expected {
        ensure!(shown[field] == expected, "`{field}` is not {expected}: {shown}");
    }
    // The first of the queue fits, whoever that is.
    let is_room = usage.waiting > 0 && usage.acquired + usage.largest <= max;
    ensure!(is_paused || usage.has_several || !is_room, "the queue is not served: {shown}");
    let gauges = [
        ("count", usage.acquired),
        ("pending", usage.pending),
        ("full_count", max),
        ("over_commit", (usage.acquired - max).max(0)),
        ("paused", is_paused.into()),
    ];
    for (family, expected) in gauges {
        let found = scraped.of(family, &semaphore.name)?;
        ensure!(found == expected as f64, "`throttle_{family}` is {found}, not {expected}");
    }
    match semaphore.class {
        // Their counters go with them.
        Class::Template | Class::Fleeting => Ok(()),
        _ => compare_counters(crowd, ix, usage, scraped),
    }
}

/// What is granted and restored is held or over; what was asked for was granted, or is over, or
/// waits.
fn compare_counters(crowd: &Crowd, ix: usize, usage: Usage, scraped: &Scraped) -> Result<()> {
    let name = &crowd.books.world.semaphores[ix].name;
    let tally = crowd.books.tallies[ix];
    let total =
        |what: &str| -> Result<u64> { Ok(scraped.of(&format!("{what}_total"), name)? as u64) };
    let [acquired, released, expired, cancelled, restored] =
        ["acquired", "released", "expired", "cancelled", "restored"].map(total);
    let totals = [acquired?, released?, expired?, cancelled?, restored?];
    let [acquired, released, expired, cancelled, restored] = totals;
    let [waits, holds] =
        ["wait", "hold"].map(|of| scraped.of(&format!("{of}_seconds_count"), name));
    let same = [
        ("restored", restored, tally.restored),
        ("held", acquired + restored, released + expired + usage.holders),
        ("asked for", acquired + cancelled + usage.waiting, tally.asked),
        ("over", released + expired + cancelled, tally.ended),
        ("waits in the histogram", waits? as u64, acquired),
        ("holds in the histogram", holds? as u64, released + expired),
    ];
    for (what, found, expected) in same {
        ensure!(found == expected, "locks {what}: {found}, not {expected}; {totals:?}, {tally:?}");
    }
    ensure!(acquired >= tally.granted, "{} grants were seen: {totals:?}", tally.granted);
    Ok(())
}

/// Peers, waiters, and refusals by their code.
fn compare_totals(crowd: &Crowd, scraped: &Scraped, seen: &[&Seen]) -> Result<()> {
    let keeper = usize::from(crowd.keeper != 0);
    let peers = scraped.value("throttle_peers")?;
    let expected = crowd.books.present() + keeper;
    ensure!(peers == expected as f64, "`throttle_peers` is {peers}, not {expected}");
    let waiters = scraped.value("throttle_waiters")?;
    ensure!(waiters == 0.0, "{waiters} requests are still parked");
    let mut refused = crowd.books.refused.clone();
    for (code, count) in seen.iter().flat_map(|seen| &seen.refused) {
        *refused.entry(code).or_default() += count;
    }
    let maybe_refused: u64 = seen.iter().map(|seen| seen.maybe_refused).sum();
    for (code, found) in scraped.family("throttle_refused_total") {
        let (found, expected) = (found as u64, refused.remove(code).unwrap_or_default());
        let at_most = expected + if code == "unknown_peer" { maybe_refused } else { 0 };
        ensure!(
            (expected..=at_most).contains(&found),
            "{found} refusals `{code}`, not {expected} to {at_most}"
        );
    }
    ensure!(refused.is_empty(), "refusals that were not counted: {refused:?}");
    let not_found = crowd.books.refused.get("not_found").copied().unwrap_or_default();
    let counted = scraped.value("throttle_num_404")?;
    ensure!(counted == not_found as f64, "`throttle_num_404` is {counted}, not {not_found}");
    Ok(())
}
