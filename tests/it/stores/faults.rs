//! What a store is asked for is done, once, whatever happens to one of the requests.

use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use pgstow::{
    error::{Kind, Result},
    repo::{layout, storage::Storage},
};

use super::{behind_proxy, open};
use crate::harness::{Archive, Scratch, Tool, bucket::Bucket, proxy::Fault, wait_for};

const FAULTS: [Fault; 6] = [
    Fault::Cut,
    Fault::Deaf,
    Fault::Refuse(500),
    Fault::Refuse(503),
    Fault::Truncate,
    Fault::Delay(Duration::from_millis(300)),
];

#[test]
fn each_verb_outlives_a_fault_of_each_of_its_requests() {
    let scratch = Scratch::new();
    let (bucket, proxy) = behind_proxy(&scratch);
    let store = &*open(&bucket);
    let large: Vec<u8> = (0..17_000_000u32).map(|n| (n % 251) as u8).collect();
    for fault in FAULTS {
        let mut number = 1;
        loop {
            println!("{fault:?} at request {number}");
            proxy.fail(number, fault);
            let name = format!("{number}");
            do_all(store, &name, &large).unwrap();
            let sent = proxy.seen();
            assert_eq!(store.list(&layout::probe(), None).unwrap().count(), 0);
            if sent.len() < number {
                break;
            }
            number += 1;
        }
        assert!(number > 8, "there are more requests than that");
    }
}

/// Creates, streams, reads, lists and deletes.
fn do_all(store: &dyn Storage, name: &str, large: &[u8]) -> Result<()> {
    let small = layout::probe().object(&format!("small-{name}"));
    let part = layout::probe().object(&format!("part-{name}"));
    store.create(&small, b"bytes")?;
    assert_eq!(
        store.create(&small, b"other").unwrap_err().kind(),
        Kind::AlreadyExists
    );
    let mut upload = store.put_part(&part)?;
    upload.write_all(large).unwrap();
    upload.finish()?;
    let mut found = Vec::new();
    store
        .get(&part, Some(5..9_000_005))?
        .read_to_end(&mut found)
        .unwrap();
    assert!(found == large[5..9_000_005], "other bytes");
    assert_eq!(store.read(&small, 10)?, b"bytes");
    let listed = store.list(&layout::probe(), None)?;
    assert_eq!(listed.collect::<Result<Vec<_>>>()?.len(), 2);
    store.delete(&small)?;
    store.delete(&part)
}

/// Somebody else's object is not taken for the own, whose answer was lost.
#[test]
fn an_object_of_another_is_not_taken_for_the_own() {
    let scratch = Scratch::new();
    let (bucket, proxy) = behind_proxy(&scratch);
    let store = &*open(&bucket);
    let name = layout::probe().object("claimed");
    store.create(&name, b"theirs").unwrap();
    proxy.fail(1, Fault::Refuse(503));
    let refused = store.create(&name, b"mine!!").unwrap_err();
    assert_eq!(refused.kind(), Kind::AlreadyExists);
    assert_eq!(store.read(&name, 10).unwrap(), b"theirs");
}

/// It takes the connection, and nothing more comes: people are told long before that counts as failed.
#[test]
fn one_that_does_not_answer_is_told_of() {
    let scratch = Scratch::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bucket = Bucket::moto(&scratch);
    let port = silent.local_addr().unwrap().port();
    bucket.access.endpoint = Some(format!("http://127.0.0.1:{port}"));
    let config = format!(
        "state_dir = \"{}\"\n[repo.far]\nurl = \"{}\"\n{}[cluster.main]\n",
        scratch.folder("state").display(),
        bucket.url,
        bucket.settings(&scratch)
    );
    let tool = Tool::new(&scratch).config(&config);
    let list = tool.command(&["list"]).spawn();
    wait_for(|| list.stderr().contains("it doesn't answer"));
    drop(list);
    // Where there is another one, it is taken instead.
    let other = Scratch::new();
    Archive::new(&other, "none");
    let near = other.join("repository");
    let section = format!("[repo.near]\nurl = \"{}\"\n[cluster.main]", near.display());
    let tool = tool.config(&config.replace("[cluster.main]", &section));
    let list = tool.command(&["list"]);
    list.expect_warning("it doesn't answer")
        .expect_warning("repository near is used instead")
        .ok();
}
