//! Dumps that pgstow did not make: as `pg_dump` writes them, whatever they are called, and compressed by others.

use std::{fs, path::Path};

use super::{Site, failed, make_shop};
use crate::harness::{pg, user};

/// Runs a line of shell with the programs of the cluster.
#[track_caller]
fn shell(site: &Site, line: &str) {
    let cluster = &site.stow.cluster;
    let mut shell = user::command("/bin/bash", "KILL");
    let path = format!("{}:/usr/bin:/bin", cluster.pg.bindir.display());
    shell
        .env("PATH", path)
        .env("LD_LIBRARY_PATH", cluster.pg.bindir.join("../lib"))
        .env("PGHOST", cluster.host())
        .env("PGUSER", "postgres")
        .args(["-e", "-o", "pipefail", "-c", line]);
    user::run_ok(&mut shell);
}

#[test]
fn files_of_others_are_known_by_their_bytes() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    let source = cluster.dump("shop");
    let folder = site.scratch.folder("of-others");
    let place = |name: &str| folder.join(name).display().to_string();
    for (name, made) in [
        ("backup", "pg_dump -Fc shop > FILE"),
        ("backup.bin", "pg_dump -Fc -Z0 shop | gzip > FILE"),
        ("b.dump", "pg_dump -Ft shop | zstd -q > FILE"),
        ("folder", "pg_dump -Fd -f FILE shop"),
        (
            "x.tar",
            "pg_dump -Fd -f FILE.d shop; tar -C FILE.d/.. -cf FILE x.tar.d; rm -r FILE.d",
        ),
        ("plain", "pg_dump shop > FILE"),
        ("plain.txt", "pg_dump shop | lz4 -q > FILE"),
        ("plain.sql", "pg_dump shop | zstd -q > FILE"),
        ("plain.gz", "pg_dump shop | gzip > FILE"),
    ] {
        let file = place(name);
        shell(&site, &made.replace("FILE", &file));
        let report = site
            .pgstow(&["restore-dump", "--from", &file, "-d", "copy"])
            .ok()
            .json();
        assert_eq!(report["checked"], false, "{report}");
        assert!(cluster.dump("copy") == source, "{name}");
        cluster.psql("drop database copy");
    }
    // psql would take what is in them for its commands.
    for (name, bytes) in [
        ("x.sql.xz", &b"\xFD7zXZ\0\0\x04"[..]),
        ("x.bz2", b"BZh91AY&SY\x0b\x1c\\! touch /tmp/x"),
        ("zeros.dump", &[0; 600]),
    ] {
        let file = place(name);
        fs::write(&file, bytes).unwrap();
        site.pgstow(&["restore-dump", "--from", &file, "-d", "copy"])
            .fails(1)
            .stderr_contains("is no dump: neither SQL nor an archive")
            .stderr_contains("unpack it first");
    }
    // What pgstow's are refused for, these are, too.
    let cut = place("cut");
    shell(
        &site,
        &format!("head -c 7000 '{}' > '{cut}'", place("backup")),
    );
    site.pgstow(&["restore-dump", "--from", &cut, "-d", "copy"])
        .fails(1);
    let created = place("created");
    shell(&site, &format!("pg_dump --create shop > '{created}'"));
    site.pgstow(&["restore-dump", "--from", &created, "-d", "copy"])
        .fails(1)
        .stderr_contains("chooses its database itself");
    // A sum beside it is used, in either form.
    for name in ["backup", "plain.gz"] {
        let file = place(name);
        shell(
            &site,
            &format!(
                "cd '{}'; sha256sum '{name}' > '{name}.sha256'",
                folder.display()
            ),
        );
        let restore = || site.pgstow(&["restore-dump", "--from", &file, "-d", "copy"]);
        assert_eq!(restore().ok().json()["checked"], true);
        cluster.psql("drop database copy");
        assert_eq!(
            failed(&site.pgstow(&["verify", "--from", &file]).ok()),
            [""; 0]
        );
        let sums = place(&format!("{name}.sha256"));
        let text = fs::read_to_string(&sums).unwrap();
        let first = if text.starts_with('0') { "1" } else { "0" };
        fs::write(&sums, format!("{first}{}", &text[1..])).unwrap();
        restore().fails(1).stderr_contains("its SHA-256 is");
        user::own(Path::new(&sums));
    }
    site.assert_clean("shop");
}
