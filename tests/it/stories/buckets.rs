//! The repository is in a bucket or on another host: a full backup, one that builds on it, WAL, and restores to the end and to a moment.

use serde_json::Value;

use super::{Site, WITNESS, judge_and_end};
use crate::harness::{Cluster, PgBin, Scratch, Sshd, Witness, bucket::Bucket, pg, witness::rows};

#[test]
fn s3_on_15() {
    backed_up_and_restored(pg(15), Bucket::moto);
}

#[test]
fn s3_on_18() {
    backed_up_and_restored(pg(18), Bucket::moto);
}

#[test]
fn azure_on_17() {
    backed_up_and_restored(pg(17), Bucket::azurite);
}

#[test]
fn google_on_16() {
    backed_up_and_restored(pg(16), Bucket::google);
}

#[test]
fn sftp_on_16() {
    let of_host = Scratch::new();
    let sshd = Sshd::start(&of_host);
    story(pg(16), &sshd.url(), &sshd.settings());
}

fn backed_up_and_restored(pg: PgBin, start: fn(&Scratch) -> Bucket) {
    let of_bucket = Scratch::new();
    let bucket = start(&of_bucket);
    story(pg, bucket.url, &bucket.settings(&of_bucket));
}

fn story(pg: PgBin, url: &str, settings: &str) {
    let site = Site::build(pg, |stow| {
        let stow = stow.url(url).repo(settings);
        stow.repo("part_size = \"4MB\"")
            .setting("full_every = \"1d\"")
    });
    let server = site.main();
    server.psql(
        "create table plain (id int primary key, body text);
         insert into plain select n, repeat(md5(n::text), 40) from generate_series(1, 20000) n",
    );
    let witness = Witness::start(server, WITNESS);
    witness.wait_for(30);
    let full = base(&site, &["--full"]);
    server.psql("select pg_create_restore_point('before')");
    server.psql("update plain set body = 'changed' where id <= 50");
    witness.wait_for(60);
    let incremental = base(&site, &["--incremental"]);
    assert_eq!(incremental["parent"], full["id"]);
    assert_eq!(incremental["kind"], "incremental");
    witness.wait_for(90);
    let truth = witness.stop();
    let dump = server.dump("postgres");
    server.switch_wal();
    site.pgstow(&["verify", "--all", "--wal"]).ok();

    let mut copy = site.copy("end", &[]);
    copy.recover();
    truth.at_end().check(rows(&copy, WITNESS));
    assert!(copy.dump("postgres") == dump, "the dumps differ");
    judge_and_end(copy);

    let full_id = full["id"].as_str().unwrap();
    let mut copy = site.copy("moment", &[full_id, "--target-name", "before"]);
    copy.recover();
    assert_eq!(
        copy.psql("select count(*) from plain where body = 'changed'"),
        "0"
    );
    judge_and_end(copy);

    // What is not needed goes, and what is stays.
    site.pgstow(&[
        "pin",
        incremental["id"].as_str().unwrap(),
        "--reason",
        "it must stay",
    ])
    .ok();
    base(&site, &["--full"]);
    site.pgstow(&["cleanup"]).ok();
    let again = site.copy("again", &[]);
    judge(again, &dump);
}

fn judge(mut copy: Cluster, dump: &str) {
    copy.recover();
    assert!(copy.dump("postgres") == dump, "the dumps differ");
    judge_and_end(copy);
}

/// Takes a backup; what `base --json` tells of it.
#[track_caller]
fn base(site: &Site, arguments: &[&str]) -> Value {
    site.stow.base(arguments).ok().json()["backup"].clone()
}
