//! Removes dumps that no rule wants, and what interrupted ones left.

use std::collections::BTreeMap;

use super::{
    claim,
    retention::{Decision, Known, Problem, Rules, decide},
};
use crate::{
    domain::retention::facts::Elsewhere,
    error::Result,
    repo::{
        catalog::Removed,
        dump::Dump,
        dump_name::{DumpName, Subject},
        dumps::{DumpEntry, DumpState},
        lease::{self, Lease},
        repository::Repository,
        restoring::Restores,
        verified::Verdicts,
    },
    util::{
        cancel::Cancel,
        clock::{self, Time, readable},
        meter::Meter,
    },
};

/// What was decided, and what was deleted; in a dry run, what would be.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Oldest first.
    pub decisions: Vec<Decision>,
    pub removed: Removed,
    /// What a person must look at.
    pub warnings: Vec<String>,
}

/// What is done, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub rules: &'a Rules,
    /// Only say what would go.
    pub dry_run: bool,
    /// What these lack stays.
    pub elsewhere: &'a [Elsewhere],
}

pub fn run(
    repository: &Repository,
    order: Order<'_>,
    meter: &Meter,
    cancel: &Cancel,
) -> Result<Outcome> {
    let rules = order.rules;
    if !repository.has_dumps()? {
        return Ok(Outcome::default());
    }
    if order.dry_run {
        let entries = repository.dumps()?;
        let now = clock::now();
        let flaws = flaws(repository)?;
        let mut decisions = decisions(&entries, &flaws, rules, now);
        keep_unsynced(&mut decisions, &entries, order.elsewhere);
        let restores = repository.restores(now)?;
        decisions.iter_mut().for_each(|one| spare(one, &restores));
        let gone = decisions.iter().filter(|decision| !decision.keep);
        let mut removed = Removed::default();
        for decision in gone {
            removed.bytes += decision.stored_bytes;
            removed.objects += repository.count_dump_objects(&decision.name)?;
        }
        return Ok(Outcome {
            warnings: warnings(&entries, &decisions, &flaws, now),
            decisions,
            removed,
        });
    }
    let mut lease = repository.take_lease(lease::CLEANUP)?;
    let done = carry_out(repository, order, &mut lease, meter, cancel);
    let released = lease.release();
    let outcome = done?;
    released?;
    Ok(outcome)
}

fn carry_out(
    repository: &Repository,
    order: Order<'_>,
    lease: &mut Lease<'_>,
    meter: &Meter,
    cancel: &Cancel,
) -> Result<Outcome> {
    // Only now: who held the lease before us may have removed some.
    let entries = repository.dumps()?;
    repository.confirm()?;
    let now = lease.store_time()?;
    let flaws = flaws(repository)?;
    let mut decisions = decisions(&entries, &flaws, order.rules, now);
    keep_unsynced(&mut decisions, &entries, order.elsewhere);
    let mut removed = Removed::default();
    meter.begin("deleting dumps", 0);
    for decision in decisions.iter_mut().filter(|decision| !decision.keep) {
        cancel.check()?;
        lease.look_again()?;
        // Each time: a restore may begin at any moment.
        spare(decision, &repository.restores(now)?);
        if decision.keep {
            continue;
        }
        let gone = repository.remove_dump(&decision.name)?;
        removed.objects += gone.objects;
        removed.bytes += gone.bytes;
    }
    for entry in entries
        .iter()
        .filter(|entry| entry.whole().is_some() && entry.has_claim)
    {
        repository.remove_dump_claim(&entry.name)?;
    }
    link_newest(repository, &entries, &decisions);
    Ok(Outcome {
        warnings: warnings(&entries, &decisions, &flaws, now),
        decisions,
        removed,
    })
}

fn warnings(
    entries: &[DumpEntry],
    decisions: &[Decision],
    verdicts: &Verdicts,
    now: Time,
) -> Vec<String> {
    let lost = lost(entries, decisions);
    [
        of_tomorrow(entries, now),
        lost,
        without_any(entries, verdicts),
    ]
    .concat()
}

/// Dumps that were made by a wrong clock, or this host has one.
fn of_tomorrow(entries: &[DumpEntry], now: Time) -> Vec<String> {
    let whole = entries.iter().filter(|entry| entry.whole().is_some());
    let ahead = whole.filter(|entry| clock::is_ahead(entry.name.time(), now));
    let warning = |entry: &DumpEntry| {
        format!(
            "dump {} is dated {}, and here it is {}: a clock was or is wrong, and the dump stands before newer ones; \
             delete its files, the .json first",
            entry.name,
            readable(entry.name.time()),
            readable(now)
        )
    };
    ahead.map(warning).collect()
}

/// Dumps that rules want, and that can't be restored any more: nobody else may look at those of years ago.
fn lost(entries: &[DumpEntry], decisions: &[Decision]) -> Vec<String> {
    const MEND: &str =
        "put its files back from a copy of the repository, or delete them, the .json first";
    let kept = entries.iter().zip(decisions).filter(|(_, one)| one.keep);
    let warning = |(entry, _): (&DumpEntry, &Decision)| match &entry.state {
        DumpState::Damaged(_, why) => Some(format!("dump {} is lost: {why}; {MEND}", entry.name)),
        DumpState::Unreadable { why, hint } => {
            let hint = hint.trim_end_matches('.');
            Some(format!("dump {} is lost: {why}; {hint}", entry.name))
        }
        DumpState::Complete(_) | DumpState::Unfinished(_) => None,
    };
    kept.filter_map(warning).collect()
}

/// Databases of which not one dump is good: the rules count none, and all that is there stays.
fn without_any(entries: &[DumpEntry], verdicts: &Verdicts) -> Vec<String> {
    let known = entries.iter().filter_map(|entry| known(entry, verdicts));
    let mut good: BTreeMap<Subject, bool> = BTreeMap::new();
    for dump in known.filter(|dump| dump.part.is_none()) {
        *good.entry(dump.subject).or_default() |= dump.problem.is_none();
    }
    let bad = good.into_iter().filter(|(_, is_good)| !is_good);
    bad.map(|(subject, _)| {
        format!("not one dump of {subject} is good: `pgstow list --dumps` tells why, make one with `pgstow dump`")
    })
    .collect()
}

/// What `verify` said against dumps, all of it.
fn flaws(repository: &Repository) -> Result<Verdicts> {
    let verdicts = repository.verdicts(|_| false)?;
    verdicts.all_read()?;
    Ok(verdicts)
}

/// What a repository that `sync` fills has not got yet stays; where nobody can tell, all dumps do. Remains are none.
fn keep_unsynced(decisions: &mut [Decision], entries: &[DumpEntry], elsewhere: &[Elsewhere]) {
    for (decision, entry) in decisions.iter_mut().zip(entries) {
        let mut lacking = elsewhere.iter().filter_map(|other| match &other.held {
            Ok(held) => Some(other.reason(held.lacks_dump(&decision.name)?)),
            Err(why) => Some(format!(
                "nobody can say what repository {} lacks: {why}",
                other.name
            )),
        });
        if !decision.keep
            && entry.whole().is_some()
            && let Some(why) = lacking.next()
        {
            decision.keep = true;
            decision.reasons = vec![why];
        }
    }
}

/// What is read by a restore that runs stays for now.
fn spare(decision: &mut Decision, restores: &Restores) {
    if !decision.keep
        && let Some(why) = restores.reading(&decision.name)
    {
        decision.keep = true;
        decision.reasons = vec![why];
    }
}

/// `now` by the store's clock.
fn decisions(
    entries: &[DumpEntry],
    verdicts: &Verdicts,
    rules: &Rules,
    now: Time,
) -> Vec<Decision> {
    let known = entries.iter().filter_map(|entry| known(entry, verdicts));
    let known: Vec<Known> = known.collect();
    let mut by_rules: BTreeMap<DumpName, Decision> = decide(&known, rules, now)
        .into_iter()
        .map(|decision| (decision.name.clone(), decision))
        .collect();
    let decision = |entry: &DumpEntry| {
        by_rules
            .remove(&entry.name)
            .unwrap_or_else(|| of_other(entry, now))
    };
    entries.iter().map(decision).collect()
}

fn known(entry: &DumpEntry, verdicts: &Verdicts) -> Option<Known> {
    let (dump, problem) = match &entry.state {
        DumpState::Complete(dump) => {
            let why = verdicts.against(&entry.name);
            let is_lost = false;
            (dump, why.map(|why| Problem { why, is_lost }))
        }
        DumpState::Damaged(dump, why) => {
            let (why, is_lost) = (why.clone(), true);
            (dump, Some(Problem { why, is_lost }))
        }
        DumpState::Unfinished(_) | DumpState::Unreadable { .. } => return None,
    };
    Some(Known {
        name: entry.name.clone(),
        subject: dump.subject(),
        part: dump.part(),
        stored_bytes: entry.stored_bytes,
        problem,
    })
}

/// Of what is no dump that counts, or did.
fn of_other(entry: &DumpEntry, now: Time) -> Decision {
    let (keep, reason) = match &entry.state {
        DumpState::Unfinished(unfinished) if claim::is_remains(unfinished, now) => {
            (false, "remains: interrupted, or half deleted".to_owned())
        }
        DumpState::Unfinished(unfinished) => (true, claim::maker(unfinished)),
        DumpState::Unreadable { why, hint } => {
            (true, format!("{why}: {}", hint.trim_end_matches('.')))
        }
        DumpState::Complete(_) | DumpState::Damaged(..) => (true, "not decided about".to_owned()),
    };
    Decision {
        name: entry.name.clone(),
        keep,
        reasons: vec![reason],
        stored_bytes: entry.stored_bytes,
    }
}

/// `latest` of each database that lost dumps; a convenience, which must not make a cleanup fail.
fn link_newest(repository: &Repository, entries: &[DumpEntry], decisions: &[Decision]) {
    let mut newest: BTreeMap<Subject, Option<&Dump>> = BTreeMap::new();
    let mut lost = false;
    for (entry, decision) in entries.iter().zip(decisions) {
        let (DumpState::Complete(dump) | DumpState::Damaged(dump, _)) = &entry.state else {
            continue;
        };
        lost |= !decision.keep;
        let own = newest.entry(dump.subject()).or_default();
        if decision.keep && entry.whole().is_some() && dump.part().is_none() {
            *own = Some(dump);
        }
    }
    if !lost {
        return;
    }
    for (subject, dump) in newest {
        if let Err(error) = repository.link_latest(&subject, dump) {
            tracing::warn!(
                "the link to the latest dump of {subject}: {}",
                error.in_one_line()
            );
        }
    }
}
