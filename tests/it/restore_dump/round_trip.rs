//! What comes back, from every format and version.

use super::{Site, conninfo, failed, make_shop, results};
use crate::{
    dump::everything,
    harness::{Cluster, PgBin, on_every_major, pg},
};

/// A name that has to be quoted everywhere.
const NAME: &str = "Größe 'x' \"y\"=%";

const FORMATS: [&[&str]; 6] = [
    &["--format", "custom"],
    &["--format", "plain"],
    &["--format", "plain", "--compression", "zstd"],
    &["--format", "plain", "--compression", "none"],
    &["--format", "directory"],
    &["--format", "tar"],
];

fn every_format_comes_back_and_is_proven(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    make_shop(cluster, NAME);
    let source = cluster.dump(&conninfo(NAME));
    for (number, format) in FORMATS.iter().enumerate() {
        let data = site.dump(NAME, format);
        let copy = format!("copy \"{number}\"");
        let jobs = if number % 2 == 0 { "1" } else { "2" };
        let arguments = ["restore-dump", NAME, "--to-database", &copy, "--jobs", jobs];
        let report = site.pgstow(&arguments).ok().json();
        assert_eq!(report["created"], true, "{report}");
        assert_eq!(report["checked"], true, "{report}");
        assert!(cluster.dump(&conninfo(&copy)) == source, "{format:?}");
        cluster.psql(&format!("drop database \"{}\"", copy.replace('"', "\"\"")));
        // Proven on a server of its own, and as a file.
        let proven = site.pgstow(&["verify", NAME]).ok();
        let all = results(&proven);
        assert_eq!(failed(&proven), [""; 0], "{format:?}: {proven}");
        for check in [
            "intact",
            "restored",
            "row_counts",
            "orphans",
            "sequences",
            "indexes",
            "migration_version",
            "migration_clean",
            "tables",
            "enum_types",
            "foreign_keys",
            "extensions",
        ] {
            assert!(
                all.contains(&format!("{check} passed")),
                "{check} in {proven}"
            );
        }
        let from = site
            .pgstow(&["verify", "--from", data.to_str().unwrap()])
            .ok();
        assert_eq!(results(&from), all, "{format:?}");
        site.assert_clean(NAME);
    }
}
on_every_major!(every_format_comes_back_and_is_proven);

/// Partitions, generated columns, identity, domains, large objects, policies, publications, odd names and all else.
fn everything_comes_back(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    everything::make(cluster);
    let source = cluster.dump(&conninfo(everything::NAME));
    for (number, format) in FORMATS.iter().enumerate() {
        site.dump(everything::NAME, format);
        let copy = format!("copy{number}");
        let jobs = if number % 2 == 0 { "2" } else { "1" };
        let restore = [
            "restore-dump",
            everything::NAME,
            "-d",
            &copy,
            "--jobs",
            jobs,
        ];
        site.pgstow(&restore).ok();
        assert!(cluster.dump(&copy) == source, "{format:?}");
        cluster.psql(&format!("drop database {copy}"));
    }
    // In the place of one that has lost something.
    site.sql(everything::NAME, "drop table orders cascade");
    site.pgstow(&["restore-dump", everything::NAME, "--clean", "--yes"])
        .ok();
    assert!(cluster.dump(&conninfo(everything::NAME)) == source);
    site.assert_clean(everything::NAME);
}
on_every_major!(everything_comes_back);

#[test]
fn an_old_dump_goes_into_every_newer_server() {
    let site = Site::start(pg(15));
    make_shop(&site.stow.cluster, "shop");
    for (major, format) in [(16, "custom"), (17, "plain"), (18, "directory")] {
        let data = site.dump("shop", &["--format", format]);
        let newer = pg(major);
        let (bindir, library) = (newer.bindir.clone(), newer.bindir.join("../lib"));
        let name = format!("new{major}");
        let newer = Cluster::build(&site.scratch, newer).name(&name).start();
        newer.psql("create role \"odd role\"");
        let (data, bindir) = (data.to_str().unwrap(), bindir.to_str().unwrap());
        let restore = ["restore-dump", "--from", data, "--bindir", bindir];
        let on_newer = |arguments: &[&str]| {
            site.pgstow(arguments)
                .env("PGSTOW_CLUSTER_HOST", newer.host())
                .env("LD_LIBRARY_PATH", &library)
        };
        on_newer(&restore).ok();
        let rows = newer.psql_in("shop", "select count(*), sum(amount) from orders");
        assert_eq!(
            rows,
            site.sql("shop", "select count(*), sum(amount) from orders")
        );
        assert_eq!(
            newer.psql_in("shop", "select encode(lo_get(4242), 'hex')"),
            "00010203ff"
        );
        // The same server, in a database that is gone afterwards.
        let proven = on_newer(&["verify", "shop", "--bindir", bindir])
            .env("PGSTOW_VERIFY_PLACE", "server")
            .ok();
        assert_eq!(failed(&proven), [""; 0], "{proven}");
        assert!(
            proven.json()["dumps"][0]["server_version"]
                .as_u64()
                .unwrap()
                >= 160_000
        );
        assert_eq!(Site::databases(&newer), "shop");
    }
}
