//! Each codec and other sizes of segments.

use super::copy::{opened, rows};
use crate::harness::{Scratch, Stow, pg};

#[test]
fn every_codec_and_small_and_large_segments() {
    for (major, megabytes, compression) in [
        (15, 64, "none"),
        (16, 1, "gzip:1"),
        (17, 64, "lz4"),
        (18, 64, "zstd:3"),
        (18, 1, "none"),
    ] {
        let scratch = Scratch::new();
        let stow = Stow::build(&scratch, pg(major))
            .compression(compression)
            .cluster(|cluster| cluster.initdb(&format!("--wal-segsize={megabytes}")))
            .start();
        stow.cluster.psql("create table t as select 1 as n");
        stow.backup(&[]);
        stow.cluster.psql("insert into t values (2)");
        let lsn = stow.cluster.psql("select pg_current_wal_insert_lsn()");
        stow.cluster.psql("insert into t values (3)");
        stow.cluster.switch_wal();
        for (name, target, expected) in [
            ("end", &[][..], "1,2,3"),
            (
                "middle",
                &["--target-lsn", &lsn, "--target-exclusive"],
                "1,2",
            ),
        ] {
            let copy = opened(&scratch, &stow, name, target);
            assert_eq!(rows(&copy), expected, "{major} {compression} {name}");
            assert_eq!(copy.psql("show wal_segment_size"), format!("{megabytes}MB"));
        }
    }
}
