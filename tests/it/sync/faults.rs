//! A repository elsewhere is filled whatever happens on the way.

use super::{Site, count};
use crate::{
    harness::{Scratch, Sshd, pg},
    stores::{behind_proxy, with_faults},
};

#[test]
fn a_sync_outlives_a_fault_of_any_of_its_requests() {
    let of_bucket = Scratch::new();
    let (bucket, proxy) = behind_proxy(&of_bucket);
    let lines = format!("compression = \"zstd:1\"\n{}", bucket.settings(&of_bucket));
    let site = Site::at(pg(17), &lines, Some(bucket.url));
    site.fill();
    with_faults("sync", &proxy, |round| {
        site.main().psql(&format!(
            "update t set body = 'round {round}' where id % 900 = 0"
        ));
        site.stow.backup(&["--incremental"]);
        let told = site.sync(0);
        assert!(count(&told, "backups") > 0, "{told:#}");
    });
    let dump = site.main().dump("postgres");
    site.main().switch_wal();
    assert_eq!(site.sync(0)["findings"].as_array().unwrap().len(), 0);
    site.offsite(&["verify", "--all", "--wal"]).ok();
    site.comes_back(&[], &dump);
}

#[test]
fn another_host_is_filled_and_restored_from() {
    let of_host = Scratch::new();
    let sshd = Sshd::start(&of_host);
    let lines = format!("compression = \"zstd:1\"\n{}", sshd.settings());
    let site = Site::at(pg(18), &lines, Some(&sshd.url()));
    let [full, _] = site.fill();
    site.pgstow(&["dump", "postgres"]).ok();
    let dump = site.main().dump("postgres");
    let told = site.sync(0);
    assert_eq!((count(&told, "backups"), count(&told, "dumps")), (2, 2));
    assert_eq!(site.sync(0)["bytes"], 0);
    site.offsite(&["verify", "--all", "--wal"]).ok();
    // What is damaged there is replaced there.
    let copied = sshd.folder.join("main/base").join(full.id());
    super::flip(&copied.join("part-0001.tar.zst"));
    site.offsite(&["verify", "--all"]).fails(3);
    site.offsite(&["verify", "--all", "--repair"]).ok();
    site.offsite(&["verify", "--all"]).ok();
    site.comes_back(&[], &dump);
}
