//! What `verify --all` says of dumps: all of them are read, none is restored.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use serde::Serialize;

use super::repair::{self, Healer};
use crate::{
    commands::context::Context,
    domain::{
        logical::audit::{self, Found},
        sync::repair::Repair,
    },
    error::Result,
    repo::{
        dump_name::DumpName,
        repository::Repository,
        verified::{CheckState, INTACT, VerifiedCheck, VerifiedDump},
    },
    util::units,
};

#[derive(Debug, Serialize)]
pub struct ReadDump {
    pub dump: DumpName,
    pub stored_bytes: u64,
    /// What is wrong with it; null: it is as it was written.
    pub problem: Option<String>,
}

/// What came of reading all of them.
#[derive(Debug, Default)]
pub struct ReadDumps {
    pub dumps: Vec<ReadDump>,
    /// What is to be kept in the repository: what is wrong, and what was and is right again. What a restore proved isn't
    /// overtaken by a look at the bytes.
    pub words: Vec<VerifiedDump>,
}

/// Of those that are `wanted`.
pub fn read(
    context: &Context,
    repository: &Repository,
    wanted: impl Fn(&DumpName) -> bool,
) -> Result<ReadDumps> {
    let (meter, cancel) = (&context.meter, &context.cancel);
    let mut entries = repository.dumps()?;
    entries.retain(|entry| wanted(&entry.name));
    let mut read = ReadDumps::default();
    if entries.is_empty() {
        return Ok(read);
    }
    let verdicts = repository.verdicts(|_| false)?;
    let bytes = entries.iter().map(|entry| entry.stored_bytes).sum();
    meter.begin("reading dumps", bytes);
    for entry in entries {
        cancel.check()?;
        let Some(found) = audit::audit(repository, &entry, meter, cancel)? else {
            continue;
        };
        let known = verdicts.dumps.get(&entry.name).map(|(_, word)| word);
        read.words.extend(word(&entry.name, &found, known));
        read.dumps.push(ReadDump {
            dump: entry.name,
            stored_bytes: entry.stored_bytes,
            problem: match found {
                Found::Right(_) => None,
                Found::Wrong(why) | Found::Unknown(why) => Some(why),
            },
        });
    }
    Ok(read)
}

/// Reads them all; what is damaged is healed and read once more.
pub fn read_and_heal(
    context: &Context,
    repository: &Repository,
    healer: Option<&Healer<'_>>,
    repairs: &mut Vec<Repair>,
) -> Result<ReadDumps> {
    let mut read_dumps = read(context, repository, |_| true)?;
    let Some(healer) = healer else {
        return Ok(read_dumps);
    };
    let ReadDumps { dumps, words } = &mut read_dumps;
    let bad = dumps.iter().filter(|one| one.problem.is_some());
    let bad: BTreeSet<DumpName> = bad.map(|one| one.dump.clone()).collect();
    let healed = healer.dumps(&bad)?;
    if repair::has_healed(&healed) {
        let again = read(context, repository, |name| bad.contains(name))?;
        dumps.retain(|one| !bad.contains(&one.dump));
        dumps.extend(again.dumps);
        dumps.sort_by_key(|one| one.dump.time());
        words.retain(|word| !bad.contains(&word.dump));
        words.extend(again.words);
    }
    repairs.extend(healed);
    Ok(read_dumps)
}

/// What is to be said of a dump, if that is new. `known`: what was said last.
fn word(name: &DumpName, found: &Found, known: Option<&VerifiedDump>) -> Option<VerifiedDump> {
    let of_bytes_alone = |word: &&VerifiedDump| {
        let mut failed = word.checks.iter();
        !word.good && failed.all(|one| one.result != CheckState::Failed || one.name == INTACT)
    };
    let check = match found {
        Found::Wrong(why) => VerifiedCheck::failed(INTACT, why),
        Found::Right(_) => {
            known.filter(of_bytes_alone)?;
            VerifiedCheck::passed(INTACT, "its SHA-256 is right")
        }
        Found::Unknown(_) => return None,
    };
    Some(VerifiedDump::of_bytes(name.clone(), check))
}

/// Those that are right in one line, all others by themselves.
pub fn write(dumps: &[ReadDump], out: &mut dyn Write) -> io::Result<()> {
    let (right, wrong): (Vec<&ReadDump>, Vec<&ReadDump>) =
        dumps.iter().partition(|one| one.problem.is_none());
    if !right.is_empty() {
        let count = units::count(right.len() as u64, "dump");
        let bytes = right.iter().map(|one| one.stored_bytes).sum();
        let bytes = units::bytes(bytes);
        writeln!(
            out,
            "{count}: what is stored is as it was written ({bytes}); `pgstow verify --dumps` restores the newest"
        )?;
    }
    for ReadDump { dump, problem, .. } in wrong {
        let problem = problem.as_deref().unwrap_or_default();
        writeln!(out, "{dump}: DAMAGED: {problem}")?;
        writeln!(
            out,
            "  Heal it by what another repository has (--repair), put its files back from a copy, or delete them, the .json first."
        )?;
    }
    Ok(())
}
