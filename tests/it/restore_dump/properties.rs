//! What a database has outside of itself comes back, and other encodings than UTF-8.

use std::{fs, process::Command};

use super::{Site, failed};
use crate::harness::{Cluster, PgBin, pg, user};

const NAME: &str = "odd 'name'; \"x\"";

/// Settings, comment, limit of connections and rights; each name of the database is `NAME`.
const PROPERTIES: &str = r#"
alter database NAME set search_path to 'odd; schema', "$user", public;
alter database NAME set work_mem to '64MB';
alter database NAME set application_name to 'it''s; ALTER DATABASE x \';
alter role reader in database NAME set statement_timeout to '3s';
alter database NAME connection limit 7;
comment on database NAME is E'it''s \\; two\nlines; DATABASE x';
revoke connect, temporary on database NAME from public;
grant connect on database NAME to reader with grant option;
"#;

/// All of that, as the catalogs have it.
fn properties(cluster: &Cluster, name: &str) -> String {
    let name = name.replace('\'', "''");
    cluster.psql(&format!(
        "select string_agg(setrole::regrole || ' ' || array_to_string(setconfig, '|'), E'\\n' order by setrole)
           from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where datname = '{name}';
         select datconnlimit, datacl, shobj_description(oid, 'pg_database') from pg_database where datname = '{name}'"
    ))
}

fn a_database_comes_back_with_what_lies_outside_of_it(pg: PgBin) {
    let site = Site::start(pg);
    let cluster = &site.stow.cluster;
    let quoted = format!("\"{}\"", NAME.replace('"', "\"\""));
    cluster.psql("create role reader");
    cluster.psql(&format!("create database {quoted}"));
    cluster.psql(&PROPERTIES.replace("NAME", &quoted));
    let source = properties(cluster, NAME);
    assert_eq!(
        source.matches("statement_timeout=3s").count(),
        1,
        "{source}"
    );
    site.sql(NAME, "create table t as select 1 as n");
    for format in ["custom", "directory"] {
        site.dump(NAME, &["--format", format]);
        site.pgstow(&["restore-dump", NAME, "-d", "copy"]).ok();
        assert_eq!(properties(cluster, "copy"), source, "{format}");
        cluster.psql("drop database copy");
    }
    // Without the words on roles.
    site.pgstow(&["restore-dump", NAME, "-d", "mine", "--no-owner"])
        .ok();
    let mine = properties(cluster, "mine");
    assert!(
        mine.contains("work_mem=64MB") && !mine.contains("reader"),
        "{mine}"
    );
    // In the place of one that lost them.
    cluster.psql(&format!("alter database {quoted} reset all"));
    site.pgstow(&["restore-dump", NAME, "--clean", "--yes"])
        .ok();
    assert_eq!(properties(cluster, NAME), source);
    // Where roles are left out, that one's own stays.
    let without = ["restore-dump", NAME, "--clean", "--yes", "--no-owner"];
    cluster.psql(&format!("alter database {quoted} connection limit 9"));
    let own = properties(cluster, NAME);
    site.pgstow(&without).ok();
    assert_eq!(properties(cluster, NAME), own);
    // One that is there keeps its own.
    cluster.psql("create database other");
    site.pgstow(&["restore-dump", NAME, "-d", "other", "--yes"])
        .ok();
    assert_eq!(properties(cluster, "other").trim(), "-1||");
    // A role that is missing is an error, and nothing is left.
    for name in ["mine", "other", &quoted] {
        cluster.psql(&format!("drop database {name}"));
    }
    cluster.psql("drop role reader");
    site.pgstow(&["restore-dump", NAME])
        .fails(1)
        .stderr_contains("role \"reader\" does not exist");
    assert_eq!(Site::databases(cluster), "");
}

#[test]
fn what_lies_outside_of_a_database_on_15() {
    a_database_comes_back_with_what_lies_outside_of_it(pg(15));
}

#[test]
fn what_lies_outside_of_a_database_on_18() {
    a_database_comes_back_with_what_lies_outside_of_it(pg(18));
}

#[test]
fn a_latin1_database_comes_back() {
    let site = Site::start(pg(17));
    let cluster = &site.stow.cluster;
    cluster.psql("create database latin encoding 'LATIN1' locale 'C' template template0");
    let sql = "create table \"Größe\" (\"ä\" text, b bytea);
               insert into \"Größe\" values ('ö', '\\x00ff'), ('ß''', null);
               comment on table \"Größe\" is 'süß';
               create type \"Art\" as enum ('groß')";
    // What is typed is UTF-8.
    let ask = |name: &str, sql: &str| {
        let mut psql = cluster.client("psql");
        let psql = psql
            .env("PGCLIENTENCODING", "UTF8")
            .args(["-XAtq", "-d", name]);
        user::run_ok(psql.args(["-v", "ON_ERROR_STOP=1", "-c", sql]))
    };
    ask("latin", sql);
    ask("latin", "comment on database latin is 'Äpfel'");
    let whole = |name: &str| {
        let mut dump = cluster.client("pg_dump");
        let fixed = ["--restrict-key=pgstow", "--encoding=UTF8", "-d"];
        user::run_ok(dump.args(fixed).arg(name))
    };
    let source = whole("latin");
    for format in ["custom", "plain", "directory", "tar"] {
        let data = site.dump("latin", &["--format", format]);
        let stem = data.file_name().unwrap().to_str().unwrap();
        let stem = stem.split_once('.').unwrap().0;
        let told = fs::read_to_string(data.with_file_name(format!("{stem}.json"))).unwrap();
        assert!(told.contains("Größe"), "{format}: {told}");
        site.pgstow(&["restore-dump", stem, "-d", "copy"]).ok();
        assert!(whole("copy") == source, "{format}");
        let encoding =
            "select pg_encoding_to_char(encoding) from pg_database where datname = 'copy'";
        assert_eq!(cluster.psql(encoding), "LATIN1");
        // A plain dump doesn't tell it.
        let comment =
            "select shobj_description(oid, 'pg_database') from pg_database where datname = 'copy'";
        let expected = if format == "plain" { "" } else { "Äpfel" };
        assert_eq!(ask("copy", comment), expected, "{format}");
        cluster.psql("drop database copy");
        let one = ["restore-dump", stem, "-d", "copy", "--table", "Größe"];
        site.pgstow(&one).ok();
        assert_eq!(ask("copy", "select count(*) from \"Größe\""), "2");
        cluster.psql("drop database copy");
        if format == "custom" || format == "plain" {
            assert_eq!(failed(&site.pgstow(&["verify", stem]).ok()), [""; 0]);
        }
    }
    site.assert_clean("latin");
    // By root, too; whoever comes next finds nothing that is root's.
    let mut root = Command::new(env!("CARGO_BIN_EXE_pgstow"));
    root.env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LD_LIBRARY_PATH", cluster.pg.bindir.join("../lib"))
        .env("TMPDIR", site.scratch.folder("of-root"))
        .env("PGSTOW_CLUSTER_USER", "postgres")
        .arg("--config")
        .arg(site.stow.tool.config_file())
        .args(["restore-dump", "latin", "-d", "copy", "--jobs", "2"]);
    user::run_ok(&mut root);
    assert!(whole("copy") == source);
    cluster.psql("drop database copy");
    site.pgstow(&["restore-dump", "latin", "-d", "copy"]).ok();
}
