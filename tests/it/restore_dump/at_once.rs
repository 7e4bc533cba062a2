//! Two restores at once.

use std::fs;

use super::{Site, make_shop};
use crate::harness::pg;

#[test]
fn of_two_that_make_one_database_one_wins_and_nothing_is_lost() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    let go = site.make_it_wait();
    let source = cluster.dump("shop");
    site.dump("shop", &["--format", "plain"]);
    let restore = ["restore-dump", "shop", "-d", "copy"];
    let both = [site.pgstow(&restore).spawn(), site.pgstow(&restore).spawn()];
    site.wait_for_restores(2);
    fs::write(&go, "").unwrap();
    let both = both.map(|one| one.wait());
    let mut codes = both.each_ref().map(|output| output.status.code());
    codes.sort();
    assert_eq!(codes, [Some(0), Some(1)], "{} {}", both[0], both[1]);
    for output in both {
        if !output.status.success() {
            let output = output.stderr_contains("somebody else made database \"copy\" meanwhile");
            drop(output.stderr_contains("beside it, as \"copy_after_restore\""));
        }
    }
    for name in ["copy", "copy_after_restore"] {
        assert!(cluster.dump(name) == source, "{name}");
    }
    site.assert_clean("copy,copy_after_restore,shop");
}
