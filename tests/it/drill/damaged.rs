//! What was damaged in the repository.

use std::fs;

use super::{Site, result, says};
use crate::harness::{PgBin, damage::flip, keys, on_every_major, user};

on_every_major!(damage_in_the_repository_is_found);

fn damage_in_the_repository_is_found(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    let backup = site.stow.backup(&[]);
    let mut segments = Vec::new();
    for _ in 0..3 {
        cluster.psql("insert into shop.orders (customer) select 9 from generate_series(1, 1000)");
        segments.push(cluster.switch_wal());
    }
    let middle = site.stow.wal_object(&segments[1]);
    let whole = fs::read(&middle).unwrap();
    let put = |bytes: &[u8]| {
        fs::write(&middle, bytes).unwrap();
        user::own(&middle);
    };
    let monitored = |code| {
        let monitor = site.stow.tool.command(&["monitor", "--only", "drill"]);
        monitor.fails(code)
    };

    // A byte in a segment of WAL: the server says where it ended, and why.
    flip(&middle);
    let report = site.finds(site.drill(&[]), &["recovery"]);
    let told = says(&report, "recovery");
    assert!(told.contains(&segments[1]), "{told}");
    assert!(told.contains("can't be used"), "{told}");
    assert_eq!(result(&report, "amcheck"), "skipped");
    monitored(2).stdout_contains("recovery: ");
    site.stow
        .tool
        .command(&["list"])
        .ok()
        .stdout_contains("DRILL FAILED")
        .stdout_contains("NOT PROVEN by the drill of");

    // What is encrypted can't be made anew here.
    if !keys::are_wanted() {
        // A segment that ends in its midst: the server opens its database without a word.
        let mut plain = zstd::decode_all(&*whole).unwrap();
        let used = plain.iter().rposition(|byte| *byte != 0).unwrap();
        plain[used / 2..].fill(0);
        put(&zstd::encode_all(&*plain, 1).unwrap());
        let report = site.finds(site.drill(&[]), &["recovery"]);
        let told = says(&report, "recovery");
        assert!(told.contains("replay ended too early"), "{told}");

        // The same in the last one, where nothing follows: no server leaves a segment like that.
        put(&whole);
        let newest = site.stow.wal_object(&segments[2]);
        let sound = fs::read(&newest).unwrap();
        let mut plain = zstd::decode_all(&*sound).unwrap();
        let used = plain.iter().rposition(|byte| *byte != 0).unwrap();
        plain[used / 2..].fill(0);
        fs::write(&newest, zstd::encode_all(&*plain, 1).unwrap()).unwrap();
        let report = site.finds(site.drill(&[]), &["recovery"]);
        let told = says(&report, "recovery");
        assert!(
            told.contains(&segments[2]) && told.contains("is damaged there"),
            "{told}"
        );
        fs::write(&newest, sound).unwrap();
    }

    // A missing one: it is known before anything is copied.
    fs::remove_file(&middle).unwrap();
    let report = site.finds(site.drill(&[]), &["plan"]);
    let told = says(&report, "plan");
    assert!(
        told.contains(&segments[1]) && told.contains("is missing"),
        "{told}"
    );
    put(&whole);

    // A byte in a part.
    let part = &backup.parts()[0];
    let sound = fs::read(part).unwrap();
    flip(part);
    let report = site.finds(site.drill(&[]), &["restore"]);
    let told = says(&report, "restore");
    assert!(told.contains("part-0001"), "{told}");
    fs::write(part, sound).unwrap();

    // A byte in the manifest, without which the copy can't be judged.
    let base = site.stow.root().join("main/base");
    let manifest = base.join(backup.id()).join("backup_manifest.zst");
    let sound = fs::read(&manifest).unwrap();
    flip(&manifest);
    let report = site.finds(site.drill(&[]), &["backup_manifest"]);
    let told = says(&report, "backup_manifest");
    assert!(told.contains("the manifest is not restored"), "{told}");
    assert!(told.contains("backup_manifest.zst"), "{told}");
    fs::write(manifest, sound).unwrap();

    // All is as it was, and is proven.
    site.proves(site.drill(&[]));
    monitored(0).stdout_contains("proved");
}
