//! Heals one WAL file. What of it can be read here stays, unless its records are broken and the other repository has
//! them whole: which of two files of one name is right nobody can know otherwise.

use std::io::{self, Write};

use super::report::Repair;
use crate::{
    domain::{
        sync::{
            merge::{Seen, What},
            pass::{Pair, Pass, Peer, Trouble, of_source, of_target},
            wal_file::bring,
        },
        wal::stored::Stored,
    },
    error::{Error, Kind, Result},
    postgres::{lsn::Lsn, wal_name::WalName, wal_records::WalRecords},
    repo::{
        layout::ObjectName,
        repository::{Repository, System},
    },
    util::hash::{Sha256, Sha256Writer},
};

/// None: it is whole here.
pub fn heal<'a>(
    sources: &'a [Peer],
    pass: &impl Fn(&'a Peer) -> Pass<'a>,
    system: &System,
    file: WalName,
) -> Result<Option<Repair>> {
    let (mut place, mut errors) = (String::new(), Vec::new());
    for source in sources {
        let pass = pass(source);
        let target = &pass.target.repository;
        place = target.storage().place(&target.wal_object(system, file));
        match heal_from(&pass, system, file) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => return Ok(Some(Repair::of(place, source, bytes))),
            // The next may be missing, and need not be written over.
            Err(Trouble::Target(error)) if error.kind() == Kind::Denied => {
                return Ok(Some(Repair::none(place, &error)));
            }
            Err(Trouble::Target(error)) => return Err(error),
            Err(Trouble::Source(error)) => {
                pass.cancel.check()?;
                errors.push(error.context(format!("repository {} can't heal it", source.name)));
            }
        }
    }
    Ok(Repair::by_none(place, &errors))
}

/// Bytes as they are stored now; None where there is nothing to heal.
fn heal_from(pass: &Pass<'_>, system: &System, file: WalName) -> Result<Option<u64>, Trouble> {
    let (source, target) = (&pass.source.repository, &pass.target.repository);
    let pair = pass.pair(system).map_err(of_source)?;
    let to = target.wal_object(system, file);
    let there = match target.storage().head(&to) {
        Err(error) if error.kind() == Kind::NotFound => None,
        other => Some(other.map_err(of_target)?),
    };
    let broken = match there.is_some().then(|| Read::of(target, system, file)) {
        None => None,
        Some(Ok(Read { broken: None, .. })) => return Ok(None),
        Some(Ok(Read { broken, .. })) => broken,
        // That it was found damaged is known from where the key is.
        Some(Err(error)) if error.kind() == Kind::Key => None,
        Some(Err(error)) if target.is_of_object(&error) || error.kind() == Kind::NotFound => None,
        Some(Err(error)) => return Err(of_target(error)),
    };
    let info = source
        .storage()
        .head(&source.wal_object(&pair.source, file))
        .map_err(of_source)?;
    match Read::of(source, &pair.source, file) {
        Ok(theirs) => {
            let reaches = |at: Lsn| theirs.broken.is_none_or(|theirs| theirs > at);
            if broken.is_some_and(|at| !reaches(at)) {
                let what = format!("{file} has the same damage there");
                return Err(of_source(Error::damaged(what)));
            }
            refuse_others(target, system, file, theirs.plain).map_err(of_source)?;
        }
        // Without the key its header alone tells: enough for what can't be read at all.
        Err(error) if error.kind() == Kind::Key && system.encrypted && broken.is_none() => {
            refuse_same(pass, &pair, file, &to)?;
        }
        Err(error) => return Err(of_source(error)),
    }
    let seen = Seen {
        what: What::File(file),
        info,
        to,
        there,
    };
    bring(pass, &pair, &seen)
}

/// What is damaged here, and stored there as the same bytes, is damaged there, too.
fn refuse_same(
    pass: &Pass<'_>,
    pair: &Pair,
    file: WalName,
    to: &ObjectName,
) -> Result<(), Trouble> {
    let hash = |repository: &Repository, object: &ObjectName| {
        let stored = repository.storage().get(object, None)?;
        let hash = Sha256::of_reader(stored);
        hash.map_err(|error| repository.storage().failed("read", object, error))
    };
    let source = &pass.source.repository;
    let theirs = hash(source, &source.wal_object(&pair.source, file)).map_err(of_source)?;
    match hash(&pass.target.repository, to) {
        Ok(own) if own == theirs => {
            let what = format!("{file} has the very same bytes there");
            Err(of_source(Error::damaged(what)))
        }
        // What is missing or can't be read is no copy of it.
        _ => Ok(()),
    }
}

/// The header of an encrypted segment tells what is in it, however damaged the rest is. Where the rest is not, nothing is
/// lost that it tells of: it is of another name, or its records are broken.
fn refuse_others(target: &Repository, system: &System, file: WalName, plain: Sha256) -> Result<()> {
    let coding = system.coding_of(file);
    if !coding.encrypted {
        return Ok(());
    }
    let object = target.wal_object(system, file);
    let is_whole = |told| {
        let read = target.read_coded(&object, coding).ok();
        let hash = read.and_then(|plain| Sha256::of_reader(plain).ok());
        hash.is_some_and(|(hash, _)| hash == told)
    };
    match target.clear_hash(&object) {
        Ok(Some(told)) if told != plain && !is_whole(told) => Err(Error::failed(format!(
            "{file} has other bytes there than its header tells here"
        ))
        .hint("two servers archived under one name: find out which of both is right.")),
        _ => Ok(()),
    }
}

/// A file that could be read whole.
struct Read {
    plain: Sha256,
    /// Where its records end before it does, which may be right: where a timeline was left.
    broken: Option<Lsn>,
}

impl Read {
    fn of(repository: &Repository, system: &System, file: WalName) -> Result<Self> {
        let object = repository.wal_object(system, file);
        let stored = Stored {
            repository,
            system,
            object: &object,
            file,
        };
        let mut plain = Sha256Writer::new(io::sink());
        let mut records = match file {
            WalName::Segment(segment) => Some(WalRecords::new(segment.timeline)),
            _ => None,
        };
        stored.read(repository.storage().get(&object, None)?, |bytes| {
            records.iter_mut().for_each(|records| records.feed(bytes));
            let hashed = plain.write_all(bytes);
            hashed.map_err(|error| Error::failed("can't hash").because(error))
        })?;
        let broken = records.and_then(|records| records.finish().broken);
        Ok(Self {
            plain: plain.finish().1,
            broken: broken.map(|broken| broken.at),
        })
    }
}
