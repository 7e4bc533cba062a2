//! The n-th deletion fails, or the process ends there, for n = 1, 2, 3 ...: what stays is whole, and the
//! next run brings about what an undisturbed one would have.

use std::{
    collections::BTreeSet,
    io::Read,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use pgstow::{
    domain::retention::run::{self, Order},
    error::{Error, Result},
    repo::{
        layout::{BackupObject, ObjectName, Prefix},
        repository::Repository,
        storage::{Listing, ObjectInfo, Storage, Upload},
    },
    util::{cancel::Cancel, clock::Time, meter::Meter},
};

use super::{
    planted::Planted,
    story::{rules, time},
};
use crate::harness::Scratch;

/// A store that fails at a deletion.
#[derive(Debug)]
struct Faulty {
    inner: Repository,
    /// Deletions that still succeed.
    left: AtomicI64,
    /// After it nothing works any more.
    ends: bool,
}

impl Faulty {
    fn check(&self) -> Result<()> {
        match self.ends && self.left.load(Ordering::Relaxed) < 0 {
            true => Err(Error::failed("the process has ended")),
            false => Ok(()),
        }
    }
}

impl Storage for Faulty {
    fn put_new(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.check()?;
        self.inner.storage().put_new(name)
    }

    fn put_part(&self, name: &ObjectName) -> Result<Box<dyn Upload>> {
        self.check()?;
        self.inner.storage().put_part(name)
    }

    fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Box<dyn Read + Send>> {
        self.check()?;
        self.inner.storage().get(name, range)
    }

    fn head(&self, name: &ObjectName) -> Result<ObjectInfo> {
        self.check()?;
        self.inner.storage().head(name)
    }

    fn list(&self, prefix: &Prefix, after: Option<&ObjectName>) -> Result<Listing<'_>> {
        self.check()?;
        self.inner.storage().list(prefix, after)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            return Err(Error::failed("injected"));
        }
        self.check()?;
        self.inner.storage().delete(name)
    }

    fn forget_unfinished(&self, prefix: &Prefix, before: Option<Time>) -> Result<u64> {
        self.check()?;
        self.inner.storage().forget_unfinished(prefix, before)
    }

    fn place(&self, name: &ObjectName) -> String {
        self.inner.storage().place(name)
    }
}

/// Five full backups, one with an incremental one, remains, and WAL; two of the full ones stay.
fn plant(scratch: &Scratch) -> (Planted, BTreeSet<String>) {
    let planted = Planted::new(scratch, "full = 2");
    for (day, segment) in [
        ("11-16", 4),
        ("11-17", 8),
        ("11-18", 12),
        ("11-19", 16),
        ("11-20", 20),
    ] {
        let full = planted.backup(time(day), segment, None);
        if day == "11-17" {
            planted.backup(time("11-17 12:00"), 10, Some(full));
        }
    }
    let remains = "20261115T020000Z-full".parse().unwrap();
    planted.claim(remains, 2, None);
    planted.put(remains, BackupObject::Sums, b"");
    planted.segments(1..=24);
    planted.wal_file("00000002.history");
    planted.wal_file("000000010000000000000004.00000028.backup");
    planted.wal_file("000000010000000000000014.00000028.backup");
    planted.wal_file("0000000100000000/000000010000000000000003.partial");
    planted.wal_file("gaps/000000010000000000000001-000000010000000000000002.json");
    planted.wal_file("what-is-this");
    planted.wal_file("live/000000010000000000000019/0-1");
    // What a receiver left: of a segment that goes, of the last one, and of the one behind it, which is in progress.
    for segment in ["05", "18", "19"] {
        planted.wal_file(&format!(
            "live/0000000100000000000000{segment}/00000000-00002000"
        ));
    }
    let all = planted.objects();
    let goes = |name: &&String| {
        let old = [
            "2026111501",
            "2026111502",
            "2026111601",
            "2026111701",
            "2026111711",
            "2026111801",
        ];
        let of_backup = name.starts_with("main/base/");
        let name = name.replace('T', "");
        of_backup && old.iter().any(|id| name.contains(id))
    };
    let mut stays: BTreeSet<String> = all.iter().filter(|name| !goes(name)).cloned().collect();
    stays.retain(|name| {
        let gone = (1..16)
            .map(Planted::segment_object)
            .any(|gone| gone == *name);
        !gone
            && !name.contains(".partial")
            && !name.contains("04.00000028")
            && !name.contains("/gaps/")
            && !name.contains("05/00000000-")
            && !name.contains("18/00000000-")
    });
    assert!(
        stays.len() < all.len() - 30 && stays.len() > 15,
        "{stays:?}"
    );
    (planted, stays)
}

fn order() -> Order {
    Order {
        policy: rules("full=2 min=2"),
        dry_run: false,
        drop_pending: None,
        synced: Vec::new(),
    }
}

fn cleanup(repository: &Repository) -> Result<()> {
    let done = run::run(repository, &order(), &Cancel::default(), &Meter::default())?;
    match done.undeleted.into_iter().next() {
        Some(undeleted) => Err(undeleted.error),
        None => Ok(()),
    }
}

/// Of every object that has its commit point, all is there.
#[track_caller]
fn whole(planted: &Planted, stays: &BTreeSet<String>) {
    let there = planted.objects();
    assert!(stays.is_subset(&there), "{:?}", stays.difference(&there));
    for name in there.iter().filter(|name| name.ends_with("/backup.json")) {
        let folder = name.strip_suffix("backup.json").unwrap();
        for object in ["started.json", "part-0001.tar"] {
            assert!(there.contains(&format!("{folder}{object}")), "{folder}");
        }
    }
    // No backup counts whose parent or WAL is gone.
    for entry in planted.repository.backups().unwrap() {
        use pgstow::repo::catalog::State;
        match entry.state {
            State::Complete(backup) => {
                let number = *backup.needed_segments().start();
                assert!(
                    there.contains(&Planted::segment_object(number)),
                    "{}",
                    backup.id
                );
            }
            State::Unfinished(unfinished) => assert!(unfinished.started.is_some()),
            other => panic!("{other:?}"),
        }
    }
}

fn fail_at_each_deletion(ends: bool) {
    let mut faults = 0;
    for n in 0.. {
        let scratch = Scratch::new();
        let (planted, stays) = plant(&scratch);
        let faulty = Faulty {
            inner: planted.repository.clone(),
            left: AtomicI64::new(n),
            ends,
        };
        let done = cleanup(&planted.repository.over(Arc::new(faulty)));
        whole(&planted, &stays);
        if done.is_ok() {
            assert_eq!(planted.objects(), stays);
            break;
        }
        faults += 1;
        if ends {
            planted.forget_leases();
        }
        cleanup(&planted.repository).unwrap();
        assert_eq!(planted.objects(), stays, "after the {n}-th deletion");
    }
    assert!(faults > 30, "{faults}");
}

#[test]
fn a_deletion_that_fails() {
    fail_at_each_deletion(false);
}

#[test]
fn an_end_at_a_deletion() {
    fail_at_each_deletion(true);
}
