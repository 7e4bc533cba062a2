//! Memory does not grow with what is dumped, and what is stored is read again from the disk.

use super::{Site, fill};
use crate::harness::{Scratch, page_cache::resident, pg};

/// Of pgstow itself, beside pg_dump's: what the project promises.
const LIMIT: u64 = 64 << 20;

#[test]
fn a_dump_takes_little_memory() {
    let site = Site::start(pg(16));
    // More than the limit, of what hardly compresses.
    fill(&site.stow.cluster);
    site.stow.cluster.psql(
        "create table noise as select (select string_agg(gen_random_uuid()::text, '') from generate_series(1, 20) m
           where m + n > 0) as x from generate_series(1, 80000) n",
    );
    for format in [
        &["--format", "custom"][..],
        &["--format", "plain"],
        &["--format", "plain", "--compression", "zstd"],
        &["--format", "plain", "--compression", "none"],
        &["--format", "directory", "--jobs", "2"],
        &["--format", "tar"],
    ] {
        let arguments = [&["postgres", "--no-globals"], format].concat();
        let (output, peak) = site.dump(&arguments).spawn().watch();
        assert!(output.status.success(), "{output}");
        let data = &output.json()["dumps"][0]["data"];
        assert!(data["plain_bytes"].as_u64().unwrap() > LIMIT / 2, "{data}");
        assert!(peak < LIMIT, "{format:?}: {peak}");
    }
    let restore = ["--json", "restore-dump", "postgres", "-d", "copy"];
    let (output, peak) = site.stow.tool.command(&restore).spawn().watch();
    assert!(output.status.success() && peak < LIMIT, "{peak}: {output}");
}

/// What comes from the page cache says nothing of the disk: who reads it again has it leave the cache before.
#[test]
fn a_dump_is_read_again_from_the_disk() {
    let disk = Scratch::on_disk();
    let root = disk.folder("repository");
    let site = Site::build(pg(18), "", |stow| stow.root(&root));
    fill(&site.stow.cluster);
    let words = ["postgres", "--format", "plain", "--compression", "none"];
    let dumped = site.dumped(&words);
    let length = dumped.data.metadata().unwrap().len();
    // A page or two that the kernel read ahead may stay.
    let here = resident(&dumped.data);
    assert!(here < length / 10, "{here} of {length}");
}
