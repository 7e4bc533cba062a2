//! Into which database, and what of the dump.

use std::fs;

use super::{Site, make_shop};
use crate::harness::{PgBin, on_every_major, pg};

#[test]
fn a_database_that_is_there_is_asked_for_and_replaced_only_when_all_is_well() {
    let site = Site::with(pg(17), "[dump]\nproduction = [\"prod*\"]\n");
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    cluster.psql("create role keeper; ");
    cluster.psql("alter database shop owner to keeper");
    let source = cluster.dump("shop");
    site.dump("shop", &[]);
    site.sql("shop", "delete from orders; create table later (x int)");
    // Nobody is there to be asked.
    let restore = ["restore-dump", "shop"];
    site.pgstow(&restore).fails(2).stderr_contains("--yes");
    // What is there is in the way, and all of it stays: one transaction.
    let into = site.pgstow(&["restore-dump", "shop", "--yes"]).fails(1);
    into.stderr_contains("already exists");
    assert_eq!(site.sql("shop", "select count(*) from orders"), "0");
    // Somebody is in it.
    let clean = ["restore-dump", "shop", "--clean", "--yes"];
    let mut psql = cluster.client("psql");
    let mut guest = psql
        .args(["-d", "shop", "-c", "select pg_sleep(1000)"])
        .spawn()
        .unwrap();
    cluster.wait_until("select count(*) from pg_stat_activity where query like '%sleep(1000)%' and datname = 'shop'", "1");
    site.pgstow(&clean).fails(1).stderr_contains("in use");
    guest.kill().unwrap();
    guest.wait().unwrap();
    cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'shop'");
    cluster.wait_until(
        "select count(*) from pg_stat_activity where datname = 'shop'",
        "0",
    );
    // A dump with errors doesn't take its place.
    assert_eq!(site.sql("shop", "select to_regclass('later')"), "later");
    let report = site.pgstow(&clean).ok().json();
    assert_eq!(report["replaced"], true, "{report}");
    assert!(cluster.dump("shop") == source);
    let owner = "select datdba::regrole from pg_database where datname = 'shop'";
    assert_eq!(cluster.psql(owner), "keeper");
    site.assert_clean("shop");
    // Production stays, whoever asks.
    cluster.psql("create database production");
    let arguments = [
        "restore-dump",
        "shop",
        "-d",
        "production",
        "--clean",
        "--yes",
    ];
    site.pgstow(&arguments)
        .fails(1)
        .stderr_contains("never dropped");
    site.assert_clean("production,shop");
}

/// The database that the settings of the cluster name is one of that cluster's server.
#[test]
fn a_server_to_verify_on_needs_no_database_of_the_clusters() {
    let site = Site::start(pg(16));
    make_shop(&site.stow.cluster, "shop");
    site.dump("shop", &[]);
    let verify = site.pgstow(&["verify", "shop"]);
    verify
        .env("PGSTOW_CLUSTER_DATABASE", "elsewhere")
        .env("PGSTOW_VERIFY_PLACE", "server")
        .ok();
    site.assert_clean("shop");
}

#[test]
fn a_dump_in_another_encoding_goes_into_a_database_of_the_servers() {
    let site = Site::start(pg(17));
    site.stow.cluster.psql("create database letters");
    site.sql("letters", "create table t as select 'Größe' as x");
    site.dump("letters", &["--format", "plain", "--", "--encoding=LATIN1"]);
    site.pgstow(&["restore-dump", "letters", "-d", "again"])
        .ok();
    let told = "select x, getdatabaseencoding() from t";
    assert_eq!(site.sql("again", told), "Größe|UTF8");
}

fn single_tables_come_with_all_that_is_theirs(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    site.sql(
        "shop",
        "create rule told as on delete to orders do also notify orders",
    );
    for format in ["custom", "plain", "directory", "tar"] {
        site.dump("shop", &["--format", format]);
        cluster.psql("create database target template shop");
        site.sql("target", "drop table orders cascade; drop table events");
        let restore = ["restore-dump", "shop", "-d", "target", "--yes"];
        let tables = ["--table", "orders", "--table", "public.events"];
        site.pgstow(&[&restore[..], &tables].concat()).ok();
        // But for the view that was dropped with its table.
        site.sql(
            "target",
            "create materialized view m as select count(*) from orders",
        );
        let whole = |name| {
            let dump = cluster.dump(name);
            let mut lines: Vec<_> = dump.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(whole("target"), whole("shop"), "{format}");
        let half = ["--table", "orders", "--table", "gone"];
        let half = site.pgstow(&[&restore[..], &half].concat());
        half.fails(1)
            .stderr_contains("the dump has no table \"gone\"");
        let absent = site.pgstow(&[&restore[..], &["--table", "gone"]].concat());
        absent.fails(1);
        cluster.psql("drop database target");
        site.assert_clean("shop");
    }
}
on_every_major!(single_tables_come_with_all_that_is_theirs);

#[test]
fn a_dump_becomes_sql() {
    let site = Site::start(pg(18));
    let cluster = &site.stow.cluster;
    make_shop(cluster, "shop");
    let source = cluster.dump("shop");
    for format in ["custom", "plain", "directory"] {
        site.dump("shop", &["--format", format]);
        let to_output = ["restore-dump", "shop", "--to-file", "-"];
        let output = site.stow.tool.command(&to_output).ok();
        let file = site.scratch.join(&format!("{format}.sql"));
        let to_file = ["restore-dump", "shop", "--to-file", file.to_str().unwrap()];
        site.pgstow(&to_file).ok();
        assert!(
            fs::read_to_string(&file)
                .unwrap()
                .contains("COPY public.orders")
        );
        site.pgstow(&to_file).fails(1).stderr_contains("exists");
        assert!(output.stdout.contains("COPY public.orders"), "{format}");
        cluster.psql("create database copy");
        let mut psql = cluster.client("psql");
        let file = file.to_str().unwrap();
        crate::harness::user::run_ok(psql.args([
            "-Xq",
            "-o",
            "/dev/null",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            "copy",
            "-f",
            file,
        ]));
        assert!(cluster.dump("copy") == source, "{format}");
        cluster.psql("drop database copy");
        let one = site
            .stow
            .tool
            .command(&[&to_output[..], &["--table", "orders"]].concat())
            .ok();
        assert!(
            one.stdout.contains("COPY public.orders")
                && !one.stdout.contains("COPY public.accounts")
        );
    }
    site.pgstow(&["restore-dump", "shop", "--to-file", "-"])
        .fails(2);
    // Who has seen enough is told nothing; the exit code says that it was not all.
    site.sql(
        "shop",
        "create table filler as select n, repeat(md5(n::text), 20) as x from generate_series(1, 20000) n",
    );
    for format in ["custom", "plain"] {
        site.dump("shop", &["--format", format]);
        let command = site.stow.tool.shell("restore-dump shop --to-file -");
        let script = format!("{{ {command}; echo code $? >&2; }} | head -n 1");
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LD_LIBRARY_PATH", pg(18).bindir.join("../lib"))
            .env("TMPDIR", &site.temporary)
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "code 1\n",
            "{format}"
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    }
    site.assert_clean("shop");
}

#[test]
fn roles_come_first_if_wanted() {
    let site = Site::start(pg(16));
    make_shop(&site.stow.cluster, "shop");
    site.pgstow(&["dump", "shop"]).ok();
    let newer = crate::harness::Cluster::build(&site.scratch, pg(16))
        .name("other")
        .start();
    let restore = |arguments: &[&str]| {
        site.pgstow(&[&["restore-dump", "shop"], arguments].concat())
            .env("PGSTOW_CLUSTER_HOST", newer.host())
    };
    // Without them it stops at the first, and no database is left.
    restore(&[]).fails(1).stderr_contains("odd role");
    assert_eq!(Site::databases(&newer), "");
    let report = restore(&["--continue-on-error", "-d", "partly"])
        .fails(3)
        .json();
    let errors = report["errors"]["list"].as_array().unwrap();
    assert_eq!(report["errors"]["count"], errors.len(), "{report}");
    // Owner, policy and grant.
    assert!(errors.len() >= 3, "{report}");
    assert!(
        errors
            .iter()
            .all(|error| error.as_str().unwrap().contains("odd role")),
        "{report}"
    );
    // In the place of another one nothing is given up, and all that is wrong is told.
    newer.psql("create database old");
    let clean = ["-d", "old", "--clean", "--yes", "--continue-on-error"];
    let report = restore(&clean).fails(1).json();
    assert_eq!(report["beside"], "old_after_restore", "{report}");
    assert_eq!(report["replaced"], false, "{report}");
    assert_eq!(
        report["errors"]["list"].as_array().unwrap().len(),
        errors.len(),
        "{report}"
    );
    assert_eq!(Site::databases(&newer), "old,old_after_restore,partly");
    newer.psql("drop database old");
    newer.psql("drop database old_after_restore");
    restore(&["--no-owner", "-d", "mine"])
        .fails(1)
        .stderr_contains("odd role");
    restore(&["--globals"]).ok();
    assert_eq!(Site::databases(&newer), "partly,shop");
    assert_eq!(
        newer.psql_in(
            "shop",
            "select relowner::regrole from pg_class where relname = 'orders'"
        ),
        "\"odd role\""
    );
}
