//! Heals a dump: its data first, then `.sha256` and the description, where they must tell something else or are damaged
//! themselves. A crash in between leaves a dump whose data is right, and which is healed once more.

use std::io::BufReader;

use super::report::Repair;
use crate::{
    domain::{
        logical::store,
        sync::{
            dumps,
            object::{self, Wanted, Way},
            pass::{Pass, Peer, Trouble, of_source, of_target},
        },
    },
    error::{Error, Kind, Result},
    repo::{
        backup::StoredObject,
        dump::Dump,
        dump_name::{DumpName, DumpObject},
    },
    util::hash::Sha256,
};

/// `own`: how it is described here; None: nothing tells.
pub fn heal<'a>(
    sources: &'a [Peer],
    pass: &impl Fn(&'a Peer) -> Pass<'a>,
    name: &DumpName,
    own: Option<&Dump>,
) -> Result<Vec<Repair>> {
    let mut errors = Vec::new();
    for source in sources {
        let pass = pass(source);
        pass.cancel.check()?;
        errors.push(match heal_from(&pass, name, own) {
            Ok(repairs) => return Ok(repairs),
            Err(Trouble::Target(error)) if error.kind() == Kind::Denied => error,
            Err(Trouble::Target(error)) => return Err(error),
            Err(Trouble::Source(error)) => {
                error.context(format!("repository {} can't heal it", source.name))
            }
        });
    }
    let left = Repair::by_none(format!("dump {name}"), &errors);
    Ok(left.into_iter().collect())
}

fn heal_from(pass: &Pass<'_>, name: &DumpName, own: Option<&Dump>) -> Result<Vec<Repair>, Trouble> {
    let target = &pass.target.repository;
    let (storage, object) = (target.storage(), |object| {
        target.layout().dump_object(name, object)
    });
    let described = pass.source.repository.dump(name).map_err(|error| {
        of_source(match error.kind() {
            Kind::NotFound => Error::failed("it has no dump of this name"),
            _ => error,
        })
    })?;
    if own.is_some_and(|own| !own.is_same_as(&described)) {
        let what = "it has another dump of this name";
        return Err(of_source(Error::failed(what)));
    }
    let encrypted = match own {
        Some(own) => own.coding().encrypted,
        None => match target.system(described.system_id) {
            Ok(system) => system.encrypted,
            Err(_) => target.keys().encrypt(),
        },
    };
    let way = Way::between(described.coding().encrypted, encrypted);
    let wanted = Wanted {
        over: true,
        ..dumps::wanted(pass, &described, encrypted, way)
    };
    // What can't be read is not right.
    let found = object::hash(pass, &wanted.to).ok();
    let is_right = found.is_some_and(|found| match own {
        Some(own) => (own.data.sha256, own.data.stored_bytes) == found,
        None => wanted.is_made(found) || is_made_within(pass, &wanted, &described),
    });
    if own.is_none() && !is_right && !sums_tell(pass, &described) {
        let what = "nothing that is left of it here tells that it is the same dump";
        return Err(of_source(Error::failed(what)));
    }
    let mut repairs = Vec::new();
    let mut healed = |place: String, bytes| repairs.push(Repair::of(place, pass.source, bytes));
    let now = match (is_right, own, found) {
        (true, Some(own), _) => own.clone(),
        (true, None, Some((sha256, stored_bytes))) => {
            let there = StoredObject {
                name: wanted.to.file_name().to_owned(),
                stored_bytes,
                sha256,
                unencrypted_sha256: Some(described.data.identity()),
            };
            dumps::copied(pass, &described, there, way)?
        }
        _ => {
            pass.meter
                .begin(&format!("healing dump {}", name.stem()), wanted.bytes);
            let stored = object::copy(pass, &wanted)?;
            healed(storage.place(&wanted.to), stored.stored_bytes);
            dumps::copied(pass, &described, stored, way)?
        }
    };
    let sums = object(DumpObject::Sums);
    let told = store::sums(&now.data);
    if storage.read(&sums, 1 << 20).ok().as_deref() != Some(told.as_bytes()) {
        storage.replace(&sums, told.as_bytes()).map_err(of_target)?;
        healed(storage.place(&sums), told.len() as u64);
    }
    if own.is_none_or(|own| own.data != now.data) {
        let description = object(DumpObject::Description);
        let written = match storage.head(&description) {
            Err(error) if error.kind() == Kind::NotFound && own.is_none() => target
                .confirm()
                .and_then(|()| storage.create_json(&description, &now)),
            // A cleanup that began meanwhile has deleted it first: then it stays away.
            there => there.and_then(|_| storage.replace_json(&description, &now)),
        };
        let length = written.and_then(|()| storage.head(&description));
        healed(storage.place(&description), length.map_err(of_target)?.size);
    }
    Ok(repairs)
}

/// Whether what is encrypted here for itself is, decrypted, what the source describes.
fn is_made_within(pass: &Pass<'_>, wanted: &Wanted, described: &Dump) -> bool {
    let target = &pass.target.repository;
    let plain = || {
        let stored = BufReader::new(target.storage().get(&wanted.to, None).ok()?);
        let hash = Sha256::of_reader(target.keys().decryptor(stored).ok()?);
        Some(hash.ok()?.0)
    };
    wanted.way != Way::Decrypted
        && target.keys().can_decrypt()
        && plain() == Some(described.data.identity())
}

/// Whether `.sha256` tells that it is the dump that the source describes: of two of one name, none may take the place of
/// the other.
fn sums_tell(pass: &Pass<'_>, described: &Dump) -> bool {
    let target = &pass.target.repository;
    let sums = target
        .layout()
        .dump_object(&described.name, DumpObject::Sums);
    let told = target.storage().read(&sums, 1 << 20).ok();
    told.as_deref() == Some(store::sums(&described.data).as_bytes())
}
