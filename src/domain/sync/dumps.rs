//! Dumps that the target lacks: each is claimed, its data copied, then its sums and its description. A crash before
//! that leaves remains, with which the next run begins anew: it is one object.

use std::collections::BTreeMap;

use super::{
    object::{self, Wanted, Way},
    pass::{Pair, Pass, Trouble, of_target},
    tally::CopiedDump,
};
use crate::{
    domain::logical::{claim, store},
    error::{Error, Kind, Result},
    repo::{
        backup::StoredObject,
        coding::Coding,
        document::FORMAT,
        dump::{Dump, DumpStarted, StoredDump},
        dump_name::{DumpName, DumpObject},
        dumps::{DumpEntry, DumpState},
    },
    util::{clock, host::ProcessId},
};

/// Those that the source has. One that was brought before and is gone the target's own retention deleted.
pub fn copy(
    pass: &Pass<'_>,
    pairs: &[Pair],
    there: &BTreeMap<DumpName, DumpEntry>,
    is_chosen: impl Fn(&DumpName) -> bool,
    is_brought: impl Fn(&DumpName) -> bool,
) -> Result<Vec<DumpName>> {
    let mut known = Vec::new();
    for entry in pass.source.repository.dumps()? {
        pass.cancel.check()?;
        let name = &entry.name;
        if !is_chosen(name) {
            continue;
        }
        let dump = match &entry.state {
            DumpState::Complete(dump) => dump,
            DumpState::Damaged(_, why) | DumpState::Unreadable { why, .. }
                if !there.contains_key(name) && !is_brought(name) =>
            {
                let error = Error::damaged(why.clone());
                pass.tally
                    .find(&pass.source.name, &format!("dump {name}"), &error);
                continue;
            }
            _ => continue,
        };
        known.push(name.clone());
        let copied = match there.get(name).map(|entry| &entry.state) {
            None if is_brought(name) => continue,
            Some(DumpState::Complete(other)) => compare(pass, dump, other).map(|()| None),
            other => copy_one(pass, pairs, dump, other).map(Some),
        };
        match copied {
            Ok(Some(copied)) => pass.tally.count(|all| all.dumps.push(copied)),
            Ok(None) => {}
            Err(trouble) => {
                pass.pass_over(&format!("dump {name}"), trouble)?;
            }
        }
    }
    Ok(known)
}

fn compare(pass: &Pass<'_>, dump: &Dump, other: &Dump) -> Result<(), Trouble> {
    if dump.is_same_as(other) {
        return Ok(());
    }
    Err(of_target(Error::new(
        Kind::AlreadyExists,
        format!("{} has another dump of this name", pass.target.name),
    )))
}

fn copy_one(
    pass: &Pass<'_>,
    pairs: &[Pair],
    dump: &Dump,
    there: Option<&DumpState>,
) -> Result<CopiedDump, Trouble> {
    let name = dump.name.clone();
    if pass.dry_run {
        let bytes = dump.data.stored_bytes;
        pass.tally.count(|all| all.bytes += bytes);
        return Ok(CopiedDump { name, bytes });
    }
    let (source, target) = (&pass.source.repository, &pass.target.repository);
    clear(pass, dump, there)?;
    let started = DumpStarted {
        format: FORMAT,
        name: name.clone(),
        time: clock::now(),
        process: ProcessId::own(),
        copied_from: Some(source.id().to_owned()),
    };
    let claim = target.layout().dump_object(&name, DumpObject::Started);
    target
        .storage()
        .create_json(&claim, &started)
        .map_err(of_target)?;
    let encrypted = pairs
        .iter()
        .find(|pair| pair.source.system_id == dump.system_id)
        .map_or(target.keys().encrypt(), |pair| pair.target.encrypted);
    let way = match encrypted && !dump.coding().encrypted {
        true => Way::Encrypted,
        false => Way::AsItIs,
    };
    let wanted = wanted(pass, dump, encrypted, way);
    pass.meter
        .begin(&format!("copying dump {}", name.stem()), wanted.bytes);
    let copied = object::copy(pass, &wanted).and_then(|stored| {
        let bytes = stored.stored_bytes;
        let copied = copied(pass, dump, stored, way)?;
        store::commit(target, &copied).map_err(of_target)?;
        Ok(bytes)
    });
    match copied {
        Ok(bytes) => {
            pass.tally.count(|all| all.bytes += bytes);
            Ok(CopiedDump { name, bytes })
        }
        Err(trouble) => {
            claim::give_up(target, &name);
            Err(trouble)
        }
    }
}

/// The data of the source's dump, for a target that has it encrypted or not.
pub fn wanted(pass: &Pass<'_>, dump: &Dump, encrypted: bool, way: Way) -> Wanted {
    let (source, target) = (&pass.source.repository, &pass.target.repository);
    let coding = Coding {
        encrypted,
        ..dump.coding()
    };
    let data = DumpObject::Data(dump.dump_format, coding);
    Wanted {
        from: source.layout().dump_object(&dump.name, dump.object()),
        to: target.layout().dump_object(&dump.name, data),
        bytes: dump.data.stored_bytes,
        sha256: dump.data.sha256,
        unencrypted_sha256: dump.data.unencrypted_sha256,
        way,
        over: false,
    }
}

/// How the target describes the source's dump, whose data it has.
pub fn copied(
    pass: &Pass<'_>,
    dump: &Dump,
    stored: StoredObject,
    way: Way,
) -> Result<Dump, Trouble> {
    let recipients = match way {
        Way::Encrypted => pass.target.repository.recipients().map_err(of_target)?,
        Way::AsItIs => dump.recipients.clone(),
        Way::Decrypted => Vec::new(),
    };
    let encrypted = !recipients.is_empty();
    Ok(Dump {
        data: StoredDump {
            name: stored.name,
            plain_bytes: dump.data.plain_bytes,
            stored_bytes: stored.stored_bytes,
            sha256: stored.sha256,
            unencrypted_sha256: stored.unencrypted_sha256.filter(|_| encrypted),
        },
        recipients,
        verified: pass.verify,
        ..dump.clone()
    })
}

/// Removes what an interrupted copy left; whatever else is there stays.
fn clear(pass: &Pass<'_>, dump: &Dump, there: Option<&DumpState>) -> Result<(), Trouble> {
    let target = &pass.target.repository;
    let taken = |what: String| {
        let error = Error::new(Kind::AlreadyExists, what);
        of_target(error.hint("see what `pgstow list --dumps` says of it there."))
    };
    match there {
        None => Ok(()),
        Some(DumpState::Unfinished(unfinished))
            if unfinished
                .started
                .as_ref()
                .is_none_or(|started| started.copied_from.is_some())
                || claim::is_remains(unfinished, clock::now()) =>
        {
            target.remove_dump(&dump.name).map(drop).map_err(of_target)
        }
        Some(DumpState::Unfinished(unfinished)) => Err(taken(claim::maker(unfinished))),
        Some(DumpState::Damaged(_, why) | DumpState::Unreadable { why, .. }) => {
            let error = Error::damaged(format!("it is damaged there: {why}"));
            Err(of_target(error.hint(pass.target.mending())))
        }
        Some(DumpState::Complete(_)) => Ok(()),
    }
}
