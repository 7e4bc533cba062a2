//! Uploads that a killed process left.

use std::{io::Write, mem};

use pgstow::{repo::layout, util::clock::now};

use super::open;
use crate::harness::{Scratch, bucket::Bucket};

#[test]
fn what_a_killed_process_began_is_forgotten() {
    let scratch = Scratch::new();
    let (mut bucket, admin) = Bucket::moto_with_rights(&scratch);
    bucket.access = admin;
    let store = &*open(&bucket);
    let begin = |name: &str| {
        let mut upload = store.put_part(&layout::probe().object(name)).unwrap();
        upload.write_all(&[7; 9 << 20]).unwrap();
        upload
    };
    for name in ["a/1", "a/2"] {
        // As if the process had ended here.
        mem::forget(begin(name));
    }
    let living = begin("b");
    let forget = |folder, before| store.forget_unfinished(&folder, before).unwrap();
    let elsewhere = layout::Layout::new("main".parse().unwrap()).all();
    assert_eq!(forget(elsewhere, None), 0, "none are there");
    // moto dates all of them 2010.
    let old = "2009-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(forget(layout::probe(), Some(old)), 0, "none is so old");
    drop(living);
    assert_eq!(forget(layout::probe(), Some(now())), 2);
    assert_eq!(forget(layout::probe(), None), 0, "they are gone");
}
