//! One repository: whether what it has can be restored, up to this day.

use std::collections::BTreeMap;

use super::{
    super::{
        facts::minimal::Spell,
        thresholds::Thresholds,
        verdict::{Figure, State, Unit, Verdict},
    },
    good,
};
use crate::{
    domain::setup::{
        finding::{self, Finding},
        given_up as gaps,
        stored::{Stored, TAKE_FULL},
    },
    error::Result,
    postgres::lsn::TimelineId,
    repo::{backup::Backup, dump_name::DumpName, gap::Gap},
    util::{clock::Time, units},
};

/// When stored data was read again: by `base` itself, or by `verify`.
pub fn verification(stored: &Stored, limits: &Thresholds, now: Time) -> Verdict {
    const NAME: &str = "verification";
    const HINT: &str =
        "run `pgstow verify`, best regularly: what nobody reads may be damaged for long.";
    let limits = limits.verify_age;
    let Some(time) = good::verified(stored, now) else {
        return match stored.archive.backups.is_empty() {
            true => Verdict::ok(NAME, "there is no backup to verify yet"),
            false => Verdict::new(
                NAME,
                State::Warning,
                "no backup was read again since it was written, or only by a clock that ran ahead",
                HINT,
            ),
        };
    };
    let age = (now - time).to_std().unwrap_or_default();
    let mut what = format!(
        "a backup was read and found whole {} ago",
        units::duration(age)
    );
    if good::is_sealed(stored) {
        what.push_str(match stored.is_closed() {
            true => {
                "; of what is encrypted that can't be proven on this host, which has no identity, but for the hashes of \
                 what is stored"
            }
            false => {
                "; of what is encrypted only the hashes of what is stored, without the identity that is set here now"
            }
        });
    }
    let figure = limits.figure("age", age, Unit::Seconds);
    Verdict::new(NAME, limits.judge(age), what, HINT).with(figure)
}

/// The newest backup on the way to the server's timeline, and the WAL that leads on from it: without a gap, and
/// such as can be replayed.
pub fn restorable(
    stored: &Stored,
    timeline: Option<TimelineId>,
    minimal: &Result<Option<Spell>>,
) -> Verdict {
    const NAME: &str = "restorable";
    let Some(way) = stored.way(timeline) else {
        // Whether there should be one, the check of its age says.
        return Verdict::ok(NAME, "there is no backup yet");
    };
    let verdict = Verdict::of_findings(NAME, "", vec![way]);
    if verdict.state != State::Ok {
        return verdict;
    }
    let system = stored.system.system_id;
    let noted = minimal.as_ref().ok().and_then(Option::as_ref);
    let noted = noted.filter(|spell| spell.system_id == system);
    let seen = noted.map(|spell| (spell.timeline, spell.position));
    if let Some((place, what)) = stored.minimal(timeline, seen) {
        let of_note = noted.filter(|_| seen == Some(place));
        let what = of_note.map_or(what, Spell::describe);
        let (timeline, at) = place;
        let spell = Finding::critical(NAME, what, TAKE_FULL);
        let spell = spell.about(format!("minimal at {at} of {timeline}"));
        return Verdict::of_findings(NAME, "", vec![spell]);
    }
    let damaged = stored.damaged_wal(timeline);
    if !damaged.is_empty() {
        return Verdict::of_findings(NAME, "", damaged);
    }
    match minimal {
        Err(error) => Verdict::of_error(NAME, State::Unknown, error),
        Ok(_) => verdict,
    }
}

/// WAL that the safety valve gave up behind the newest full backup, as the repository has it and as it
/// is noted on this host.
pub fn given_up(stored: &Stored, noted: &Result<Vec<Gap>>) -> Verdict {
    let system = stored.system.system_id;
    let mut findings = match noted {
        Err(error) => vec![Finding::of_error("given up", error)],
        Ok(noted) => gaps::untold(noted.iter().filter(|gap| gap.system_id == system)),
    };
    findings.extend(gaps::stored(&stored.archive, &stored.name));
    Verdict::of_findings("given_up", "no WAL was given up", findings)
}

const LOOK_FOR_PAGES: &str = "keep older backups (`pgstow list` names the places); find out with pg_amcheck what is affected, and restore it from before.";

pub fn page_failures(stored: &Stored) -> Verdict {
    const NAME: &str = "page_failures";
    let failed = |backup: &&Backup| !backup.page_failures.is_empty();
    let backups = &stored.archive.backups;
    let count = backups.iter().filter(failed).count() as u64;
    let figure = |verdict: Verdict| {
        let figure = Figure {
            name: "backups",
            value: count as f64,
            unit: Unit::Count,
            warning: None,
            critical: None,
        };
        verdict.having(damaged_files(stored)).with(figure)
    };
    if let Some(newest) = stored.newest().filter(failed) {
        let file = newest.page_failures.first().map_or("", |one| &one.file);
        return figure(Verdict::new(
            NAME,
            State::Critical,
            format!(
                "backup {} has {} with damaged pages, such as {file}: the server itself is damaged",
                newest.id,
                units::count(newest.page_failures.len() as u64, "place")
            ),
            LOOK_FOR_PAGES,
        ));
    }
    if count > 0 {
        return figure(Verdict::new(
            NAME,
            State::Warning,
            format!(
                "{} with damaged pages; not the newest",
                units::count(count, "backup")
            ),
            "`pgstow list` names them; restores should use others.",
        ));
    }
    figure(Verdict::ok(NAME, "no backup has damaged pages"))
}

/// Each file with damaged pages once, however many backups have them.
fn damaged_files(stored: &Stored) -> Vec<Finding> {
    let mut files: BTreeMap<&str, Finding> = BTreeMap::new();
    for (number, backup) in stored.archive.by_age().into_iter().rev().enumerate() {
        for place in &backup.page_failures {
            let what = format!("damaged pages of {} in backup {}", place.file, backup.id);
            let found = match number {
                0 => Finding::critical("page_failures", what, LOOK_FOR_PAGES),
                _ => Finding::warning("page_failures", what, LOOK_FOR_PAGES),
            };
            files.entry(&place.file).or_insert(found.about(&place.file));
        }
    }
    files.into_values().collect()
}

/// Backups and dumps of which something is gone or was found damaged. Critical if it is the newest backup; how old the
/// newest good dump is, another check tells.
pub fn damaged(stored: &Stored, lost_dumps: &BTreeMap<DumpName, String>) -> Verdict {
    const NAME: &str = "damaged";
    let mut findings = stored.damaged_ones();
    let newest = stored.newest().map(|one| one.id);
    let lost = stored.damaged.iter().map(|one| one.id);
    let lost = lost.filter(|id| newest < Some(*id));
    let newest_damaged = good::damaged(stored).any(|id| newest == Some(id));
    findings.extend(good::damaged(stored).map(|id| {
        Finding::warning(
            NAME,
            format!("`pgstow verify` found damage in {id}"),
            format!(
                "`pgstow verify {id}` says what is lost; take a new backup with `pgstow base`."
            ),
        )
        .about(id)
    }));
    findings.extend(lost_dumps.iter().map(|(name, why)| {
        let finding = Finding::warning(
            NAME,
            format!("something of dump {name} is lost: {why}"),
            "`pgstow list --dumps` tells of each: put its files back from a copy of the repository, or delete what is \
             left of it, the .json first.",
        );
        finding.about(name)
    }));
    let is_of_newest = |one: &Finding| {
        let mut ids = lost.clone().chain(newest.filter(|_| newest_damaged));
        ids.any(|id| one.object == Some(id.to_string()))
    };
    for finding in findings.iter_mut().filter(|one| is_of_newest(one)) {
        finding.state = finding::State::Critical;
    }
    Verdict::of_findings(NAME, "no backup is damaged", findings)
}

/// Copies that wait for their WAL. Critical once it can't come any more.
pub fn pending(stored: &Stored) -> Verdict {
    let judged = stored
        .pending
        .iter()
        .map(|one| match stored.waits_in_vain(one) {
            true => Finding {
                state: finding::State::Critical,
                ..stored.pending(one)
            },
            false => stored.pending(one),
        });
    Verdict::of_findings("pending", "no backup waits for WAL", judged.collect())
}
