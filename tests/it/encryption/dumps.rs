//! Dumps that are encrypted.

use std::fs;

use super::{MARKER, Site, holds};
use crate::harness::{keys::IDENTITY, pg, user};

#[test]
fn dumps_of_every_format_come_back() {
    let site = Site::start(pg(17));
    let main = site.main();
    let plain = main.dump("postgres");
    for format in ["custom", "plain", "directory", "tar"] {
        let report = site
            .pgstow(&[
                "--json",
                "dump",
                "postgres",
                "--no-globals",
                "--format",
                format,
            ])
            .env("PGSTOW_CLUSTER_USER", "postgres")
            .ok()
            .json();
        let dump = &report["dumps"][0];
        let name = dump["name"].as_str().unwrap();
        let data = dump["data"]["name"].as_str().unwrap();
        assert!(data.ends_with(".age"), "{data}");
        let path = site
            .stow
            .root()
            .join("main/dumps")
            .join(name)
            .with_file_name(data);
        assert!(!holds(&fs::read(&path).unwrap(), MARKER));
        let sums = path.with_file_name(format!("{}.sha256", name.rsplit('/').next().unwrap()));
        user::run_ok(
            user::command("sha256sum", "KILL")
                .arg("-c")
                .arg(sums)
                .current_dir(path.parent().unwrap()),
        );

        let restored = |from: &[&str], into: &str| {
            let fixed = ["restore-dump", "--to-database", into, "--yes"];
            site.pgstow(&[&fixed, from].concat())
                .env("PGSTOW_CLUSTER_USER", "postgres")
                .ok();
            assert!(main.dump(into) == plain, "{format} {from:?}");
            main.psql(&format!("drop database {into}"));
        };
        restored(&[name], "again");
        // The file alone, wherever it lies.
        let copy = site.scratch.join(data);
        fs::copy(&path, &copy).unwrap();
        user::own(&copy);
        restored(&["--from", copy.to_str().unwrap()], "from_file");
        // By hand, without pgstow.
        let opened = user::run_ok(user::command("bash", "KILL").args([
            "-c",
            &format!(
                "age -d -i <(echo {IDENTITY}) '{}' | head -c 5 | od -An -c",
                path.display()
            ),
        ]));
        assert!(!opened.trim().is_empty());
        fs::remove_file(copy).unwrap();
    }
    site.pgstow(&["verify", "--dumps"])
        .env("PGSTOW_CLUSTER_USER", "postgres")
        .ok();
}

#[test]
fn without_the_key_a_dump_is_made_but_not_restored() {
    let site = Site::start(pg(15));
    site.take_key_away();
    let dump = ["--json", "dump", "postgres", "--no-globals", "--verify"];
    // It is made; only trying it out needs the key.
    let made = site.pgstow(&dump).env("PGSTOW_CLUSTER_USER", "postgres");
    let made = made.fails(1).json();
    assert_eq!(made["dumps"].as_array().unwrap().len(), 1, "{made}");
    assert_eq!(made["unverified"][0]["dump"], made["dumps"][0]["name"]);
    let why = made["unverified"][0]["error"].as_str().unwrap();
    assert!(why.contains("no identity to decrypt with"), "{why}");
    // Who sets that up hears of it before.
    let check = site.pgstow(&["check"]).env("PGSTOW_DUMP_VERIFY", "on");
    let check = check.env("PGSTOW_CLUSTER_USER", "postgres").spawn().wait();
    check.stdout_contains("this host has no private key");
    // It can be read all the same.
    site.pgstow(&["verify", "--all"]).ok();
    let report = site.pgstow(&["--json", "list", "--dumps"]).ok().json();
    let recipients = report["dumps"][0]["recipients"].as_array();
    assert_eq!(recipients.map(Vec::len), Some(1), "{report}");
    let name = report["dumps"][0]["dump"]["name"]
        .as_str()
        .map(str::to_owned);
    let name = name.unwrap_or_else(|| report["dumps"][0]["name"].as_str().unwrap().to_owned());
    site.pgstow(&["restore-dump", &name, "--to-database", "again", "--yes"])
        .env("PGSTOW_CLUSTER_USER", "postgres")
        .fails(1)
        .stderr_contains("no identity");
    assert_eq!(
        site.main()
            .psql("select count(*) from pg_database where datname = 'again'"),
        "0"
    );
}
