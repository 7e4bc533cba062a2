//! Tries out whether a store keeps what a repository relies on, with an object that is gone
//! afterwards.

use std::{io::Read, process};

use super::finding::Finding;
use crate::{
    error::{Error, Kind, Result},
    repo::{
        layout::{self, ObjectName},
        repository::overwrites,
        storage::Storage,
    },
    util::{clock, host},
};

/// More than one buffer of anything, little enough for a slow line.
const LENGTH: usize = 100_000;

/// Tries one verb after the other; stops at the first that fails.
pub fn probe(storage: &dyn Storage) -> Vec<Finding> {
    // Two hosts may try at once.
    let name = format!(
        "{}-{}-{}",
        host::name(),
        process::id(),
        clock::now().timestamp_micros()
    );
    let object = layout::probe().object(&name);
    let bytes: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
    let mut findings = Vec::new();
    let tried = try_all(storage, &object, &bytes, &mut findings);
    if let Err((name, error)) = tried {
        findings.push(Finding::of_error(name, &error));
        // What is left behind, or was never made, is named by the finding already.
        let _ = storage.delete(&object);
    }
    findings
}

fn try_all(
    storage: &dyn Storage,
    object: &ObjectName,
    bytes: &[u8],
    findings: &mut Vec<Finding>,
) -> Result<(), (&'static str, Error)> {
    let mut step = |name, what: &str, outcome: Result<()>| match outcome {
        Ok(()) => {
            findings.push(Finding::ok(name, what));
            Ok(())
        }
        Err(error) => Err((name, error)),
    };
    let place = storage.place(object);
    step("create", &place, storage.create(object, bytes))?;
    step(
        "create again",
        "refused, as it must be",
        refused(storage, object),
    )?;
    step("read", "the same bytes", read_back(storage, object, bytes))?;
    step(
        "range",
        "the bytes asked for",
        range(storage, object, bytes),
    )?;
    step("list", "finds it", listed(storage, object))?;
    match deleted(storage, object) {
        // A host whose key must not destroy anything.
        Err(error) if error.kind() == Kind::Denied => {
            step("delete", &left_to_others(&place), Ok(()))
        }
        other => step("delete", "gone", other),
    }
}

fn left_to_others(place: &str) -> String {
    format!("not allowed with these credentials: cleanup must run elsewhere; {place} stays")
}

fn refused(storage: &dyn Storage, object: &ObjectName) -> Result<()> {
    match storage.create(object, b"other bytes") {
        Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Err(overwrites()),
    }
}

fn read_back(storage: &dyn Storage, object: &ObjectName, bytes: &[u8]) -> Result<()> {
    same(&storage.read(object, bytes.len() as u64)?, bytes)
}

fn range(storage: &dyn Storage, object: &ObjectName, bytes: &[u8]) -> Result<()> {
    let (from, to) = (1_000, 70_000);
    let mut found = Vec::new();
    storage
        .get(object, Some(from as u64..to as u64))?
        .read_to_end(&mut found)
        .map_err(|error| storage.failed("read", object, error))?;
    same(&found, &bytes[from..to])
}

fn same(found: &[u8], bytes: &[u8]) -> Result<()> {
    if found == bytes {
        return Ok(());
    }
    Err(Error::damaged("other bytes came back than were stored")
        .hint("don't use this store; look for errors of its disks."))
}

fn listed(storage: &dyn Storage, object: &ObjectName) -> Result<()> {
    for info in storage.list(&layout::probe(), None)? {
        let info = info?;
        if info.name == *object {
            return match info.size {
                size if size == LENGTH as u64 => Ok(()),
                size => Err(Error::damaged(format!(
                    "listed with {size} bytes instead of {LENGTH}"
                ))),
            };
        }
    }
    Err(Error::failed(
        "the list of objects lacks the one just stored",
    ))
}

fn deleted(storage: &dyn Storage, object: &ObjectName) -> Result<()> {
    storage.delete(object)?;
    match storage.head(object) {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(Error::failed("the deleted object is still there")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::{super::finding::State, *};
    use crate::repo::local::LocalStorage;

    fn states(root: &Path) -> Vec<(&'static str, State)> {
        let findings = probe(&LocalStorage::new(root));
        findings.iter().map(|one| (one.name, one.state)).collect()
    }

    #[test]
    fn a_good_store_keeps_all_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let found = states(folder.path());
        assert_eq!(found.len(), 6);
        assert!(found.iter().all(|(_, state)| *state == State::Ok));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_store_that_takes_nothing_fails_at_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("probe"), "a file in the way").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
        assert_eq!(states(folder.path()), [("create", State::Critical)]);
    }

    /// Forgets objects, overwrites them, or answers with other bytes.
    #[derive(Debug)]
    struct Broken(LocalStorage, &'static str);

    impl Storage for Broken {
        fn put_new(&self, name: &ObjectName) -> Result<Box<dyn crate::repo::storage::Upload>> {
            if self.1 == "create again" {
                // Gone already where there was none.
                let _ = self.0.delete(name);
            }
            self.0.put_new(name)
        }

        fn put_part(&self, name: &ObjectName) -> Result<Box<dyn crate::repo::storage::Upload>> {
            self.0.put_new(name)
        }

        fn get(
            &self,
            name: &ObjectName,
            range: Option<std::ops::Range<u64>>,
        ) -> Result<Box<dyn Read + Send>> {
            match (self.1, range) {
                ("read", None) => Ok(Box::new(&b"other"[..])),
                ("range", Some(_)) => self.0.get(name, Some(0..69_000)),
                (_, range) => self.0.get(name, range),
            }
        }

        fn head(&self, name: &ObjectName) -> Result<crate::repo::storage::ObjectInfo> {
            self.0.head(name)
        }

        fn list(
            &self,
            prefix: &layout::Prefix,
            after: Option<&ObjectName>,
        ) -> Result<crate::repo::storage::Listing<'_>> {
            match self.1 {
                "list" => Ok(Box::new(std::iter::empty())),
                _ => self.0.list(prefix, after),
            }
        }

        fn delete(&self, name: &ObjectName) -> Result<()> {
            match self.1 {
                "delete" => Ok(()),
                _ => self.0.delete(name),
            }
        }

        fn forget_unfinished(
            &self,
            prefix: &layout::Prefix,
            before: Option<clock::Time>,
        ) -> Result<u64> {
            self.0.forget_unfinished(prefix, before)
        }

        fn place(&self, name: &ObjectName) -> String {
            self.0.place(name)
        }
    }

    #[test]
    fn every_broken_verb_is_seen() {
        for verb in ["create again", "read", "range", "list", "delete"] {
            let folder = tempfile::tempdir().unwrap();
            let store = Broken(LocalStorage::new(folder.path()), verb);
            let findings = probe(&store);
            let last = findings.last().unwrap();
            assert_eq!((last.name, last.state), (verb, State::Critical));
            assert!(last.hint.is_some());
        }
    }
}
