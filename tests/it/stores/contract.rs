//! The contract of `Storage`, asked of every store.

use std::{
    fs,
    io::{Read, Write},
};

use pgstow::{
    error::Kind,
    repo::{layout, local::LocalStorage, storage::Storage},
};

use super::open;
use crate::harness::{Scratch, bucket::Bucket};

#[test]
fn a_folder_keeps_the_contract() {
    let scratch = Scratch::new();
    let folder = scratch.folder("repository");
    keeps_the_contract(&LocalStorage::new(&folder));
    let left = fs::read_dir(folder).unwrap().count();
    assert_eq!(left, 0, "folders and leftovers go too");
}

#[test]
fn s3_keeps_the_contract() {
    let scratch = Scratch::new();
    let bucket = Bucket::moto(&scratch);
    keeps_the_contract(&*open(&bucket));
    let uploads = bucket.ask("GET /backups?uploads HTTP/1.1\r\n");
    assert!(
        uploads.contains("ListMultipartUploadsResult") && !uploads.contains("<Upload>"),
        "{uploads}"
    );
}

/// Signatures are checked there, too.
#[test]
fn s3_that_checks_rights_keeps_the_contract() {
    let scratch = Scratch::new();
    let (mut bucket, admin) = Bucket::moto_with_rights(&scratch);
    bucket.access = admin;
    keeps_the_contract(&*open(&bucket));
}

#[test]
fn azure_keeps_the_contract() {
    let scratch = Scratch::new();
    keeps_the_contract(&*open(&Bucket::azurite(&scratch)));
}

#[test]
fn google_keeps_the_contract() {
    let scratch = Scratch::new();
    let bucket = Bucket::google(&scratch);
    let store = open(&bucket);
    keeps_the_contract(&*store);
    // More than a page of a listing.
    let at = |n: u32| layout::probe().object(&format!("{n:03}"));
    (0..130).for_each(|n| store.create(&at(n), b"x").unwrap());
    let list = |after: Option<u32>| {
        let after = after.map(at);
        let found = store.list(&layout::probe(), after.as_ref()).unwrap();
        found.map(|info| info.unwrap().name).collect::<Vec<_>>()
    };
    assert!(list(None).into_iter().eq((0..130).map(at)));
    assert!(list(Some(60)).into_iter().eq((61..130).map(at)));
}

/// A key of another service account, or of none.
#[test]
fn google_refuses_who_is_not_the_account() {
    let scratch = Scratch::new();
    let mut bucket = Bucket::google(&scratch);
    let others = Scratch::new();
    bucket.access.credentials_file = Bucket::google(&others).access.credentials_file;
    let error = open(&bucket).create(&layout::probe().object("a"), b"x");
    let error = error.unwrap_err();
    let told = error.in_one_line();
    assert!(told.contains("AuthenticationRequired"), "{told}");
    assert!(error.hint_text().unwrap().contains("credentials"));
}

pub fn keeps_the_contract(store: &dyn Storage) {
    let at = |name: &str| layout::probe().object(name);
    let names = |after: Option<&str>| -> Vec<String> {
        store
            .list(&layout::probe(), after.map(at).as_ref())
            .unwrap()
            .map(|info| info.unwrap().name.as_str()["probe/".len()..].to_owned())
            .collect()
    };

    assert_eq!(store.head(&at("a")).unwrap_err().kind(), Kind::NotFound);
    let missing = store.get(&at("a"), None).err().unwrap();
    assert_eq!(missing.kind(), Kind::NotFound);
    assert!(names(None).is_empty());

    let all = ["b", "a/2", "a/1", "a.x", "a-", "c/d/e"];
    for name in all {
        store.create(&at(name), name.as_bytes()).unwrap();
    }
    // As sorted by bytes: `-` < `.` < `/`.
    assert_eq!(names(None), ["a-", "a.x", "a/1", "a/2", "b", "c/d/e"]);
    assert_eq!(names(Some("a/1")), ["a/2", "b", "c/d/e"]);
    assert_eq!(names(Some("a0")), ["b", "c/d/e"]);
    assert_eq!(names(Some("c/d")), ["c/d/e"]);
    // Another folder whose name begins the same.
    let inner = layout::probe().object("a/").to_string();
    assert_eq!(
        names(None)
            .iter()
            .filter(|name| name.starts_with("a/"))
            .count(),
        2,
        "{inner}"
    );

    let refused = store.create(&at("b"), b"other").unwrap_err();
    assert_eq!(refused.kind(), Kind::AlreadyExists);
    assert_eq!(store.read(&at("b"), 10).unwrap(), b"b");
    let large = store.read(&at("c/d/e"), 4).unwrap_err();
    assert_eq!(large.kind(), Kind::Damaged);
    assert_eq!(store.head(&at("c/d/e")).unwrap().size, 5);
    assert_eq!(store.head(&at("c/d/e")).unwrap().name, at("c/d/e"));

    assert_eq!(read(store, "c/d/e", 1..3), b"/d");
    assert_eq!(read(store, "c/d/e", 2..2), b"");
    let beyond = store.get(&at("c/d/e"), Some(3..9)).err().unwrap();
    assert_eq!(beyond.kind(), Kind::Damaged, "{beyond}");

    let mut unfinished = store.put_new(&at("never")).unwrap();
    unfinished.write_all(b"x").unwrap();
    assert!(!names(None).contains(&"never".to_owned()));
    drop(unfinished);

    large_objects(store);
    replaced(store);

    // One by one, and many at once; of these it is no matter if one is gone.
    let (one_by_one, at_once) = all.split_at(2);
    for name in one_by_one {
        store.delete(&at(name)).unwrap();
    }
    let at_once = [at_once, &["large", "gone"]].concat();
    let at_once: Vec<_> = at_once.into_iter().map(at).collect();
    store.delete_all(&at_once).unwrap();
    store.delete_all(&[]).unwrap();
    for name in all {
        assert_eq!(store.head(&at(name)).unwrap_err().kind(), Kind::NotFound);
    }
    assert!(names(None).is_empty());
}

/// Of more than one piece, where a store takes them in pieces.
fn large_objects(store: &dyn Storage) {
    let at = |name: &str| layout::probe().object(name);
    let bytes: Vec<u8> = (0..20_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut upload = store.put_part(&at("large")).unwrap();
    for piece in bytes.chunks(1_234_567) {
        upload.write_all(piece).unwrap();
    }
    assert_eq!(store.head(&at("large")).unwrap_err().kind(), Kind::NotFound);
    upload.finish().unwrap();
    assert!(store.read(&at("large"), 20_000_000).unwrap() == bytes);
    assert!(read(store, "large", 8_388_000..8_390_000) == bytes[8_388_000..8_390_000]);

    let mut dropped = store.put_part(&at("dropped")).unwrap();
    dropped.write_all(&bytes).unwrap();
    drop(dropped);
    assert_eq!(
        store.head(&at("dropped")).unwrap_err().kind(),
        Kind::NotFound
    );
}

/// What is damaged is replaced, however long both are; the old one is there until then.
fn replaced(store: &dyn Storage) {
    let at = |name: &str| layout::probe().object(name);
    let bytes = vec![7; 9_000_000];
    let mut upload = store.put_part(&at("large")).unwrap();
    upload.write_all(&bytes).unwrap();
    assert_eq!(store.head(&at("large")).unwrap().size, 20_000_000);
    upload.finish_over().unwrap();
    assert!(store.read(&at("large"), 9_000_000).unwrap() == bytes);
    for new in [&b"another"[..], b"b"] {
        store.replace(&at("b"), new).unwrap();
        assert_eq!(store.read(&at("b"), 10).unwrap(), new);
    }
    let mut dropped = store.put_new(&at("b")).unwrap();
    dropped.write_all(b"never").unwrap();
    drop(dropped);
    assert_eq!(store.read(&at("b"), 10).unwrap(), b"b");
    store.replace(&at("new"), b"x").unwrap();
    store.delete(&at("new")).unwrap();
}

fn read(store: &dyn Storage, name: &str, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let name = layout::probe().object(name);
    let mut reader = store.get(&name, Some(range)).unwrap();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}
