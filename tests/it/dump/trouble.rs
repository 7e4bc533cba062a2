//! What goes wrong is said clearly, with the right exit code, and leaves nothing that looks like a dump.

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Site, fill};
use crate::harness::{
    Cluster, FullDisk, Scratch, Shutdown, Stow, pg,
    random::{Random, rounds},
    stow::ROLE,
    tool::Running,
};

/// A dump of it, when its data is on its way.
fn running(site: &Site, arguments: &[&str]) -> Running {
    let mut running = site
        .dump(&[&["postgres", "--no-globals"], arguments].concat())
        .spawn();
    site.stow.cluster.wait_until(
        "select count(*) > 0 from pg_stat_activity where application_name = 'pgstow' and query like 'COPY%'",
        "t",
    );
    assert!(running.is_running(), "{}", running.stderr());
    running
}

fn sessions_end(site: &Site) {
    site.stow.cluster.wait_until(
        "select count(*) from pg_stat_activity where application_name = 'pgstow'",
        "0",
    );
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    let site = Site::start(pg(15));
    fill(&site.stow.cluster);
    for (signal, format) in [
        (Signal::INT, "custom"),
        (Signal::TERM, "plain"),
        (Signal::HUP, "directory"),
    ] {
        let running = running(&site, &["--format", format]);
        running.signal(signal);
        let output = running.wait();
        assert_eq!(output.status.code(), Some(130), "{output}");
        assert_eq!(site.files(), [""; 0], "{output}");
        sessions_end(&site);
    }
    let left = fs::read_dir("/tmp").unwrap().flatten();
    let left = left.filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("pgstow-dump-")
    });
    let own = crate::harness::user::ids().0;
    use std::os::unix::fs::MetadataExt;
    let mut left = left.filter(|entry| {
        entry.metadata().is_ok_and(|found| found.uid() == own)
            && fs::read_dir(entry.path()).is_ok_and(|mut files| files.next().is_some())
    });
    assert!(left.next().is_none());
    site.dumped(&["postgres"]);
}

#[test]
fn killed_at_any_moment() {
    let mut random = Random::new("dump killed_at_any_moment");
    let site = Site::start(pg(18));
    fill(&site.stow.cluster);
    let begun = Instant::now();
    site.dumped(&["postgres"]);
    let whole = begun.elapsed().as_micros() as u64;
    for round in 0..rounds(8, 60) {
        let before = good(&site);
        let moment = Duration::from_micros(random.below(whole));
        let mut running = site.dump(&["postgres", "--no-globals"]).spawn();
        thread::sleep(moment);
        if running.is_running() {
            running.signal(Signal::KILL);
        }
        let done = running.wait().status.success();
        let listed = site.list();
        let now = good(&site);
        // Killed behind its commit point, it counts all the same.
        assert!(
            (before + usize::from(done)..=before + 1).contains(&now),
            "round {round}: {listed:?}"
        );
        for dump in &listed {
            let state = dump["state"].as_str().unwrap();
            assert!(
                ["good", "remains"].contains(&state),
                "round {round}: {dump}"
            );
        }
        if round % 2 == 0 {
            // Also of what was committed, though its claim is left.
            site.stow.tool.command(&["cleanup"]).ok();
        } else {
            site.dumped(&["postgres"]);
        }
        let files = site.files();
        assert_eq!(files.len(), 3 * good(&site), "round {round}: {files:?}");
    }
    // What pg_restore makes of each: it is whole.
    for dump in site.list() {
        let name = dump["name"].as_str().unwrap();
        let file = site.dumps().join(format!("{name}.dump"));
        let mut list = site.stow.cluster.client("pg_restore");
        crate::harness::user::run_ok(list.arg("-f").arg("/dev/null").arg(file));
    }
}

fn good(site: &Site) -> usize {
    site.list()
        .iter()
        .filter(|dump| dump["state"] == "good")
        .count()
}

#[test]
fn one_that_is_being_made_is_left_alone() {
    let site = Site::start(pg(17));
    fill(&site.stow.cluster);
    let mut first = running(&site, &[]);
    site.stow.tool.command(&["cleanup"]).ok();
    site.dumped(&["template1"]);
    assert!(first.is_running());
    let listed = site.list();
    assert_eq!(listed[0]["state"], "running");
    let note = listed[0]["note"].as_str().unwrap();
    assert!(note.contains(&first.id().to_string()), "{note}");
    let output = first.wait();
    assert!(output.status.success(), "{output}");
    assert_eq!(good(&site), 2);
}

#[test]
fn a_server_that_stops_is_an_error_and_nothing_is_left() {
    let mut site = Site::start(pg(16));
    fill(&site.stow.cluster);
    for how in [Shutdown::Fast, Shutdown::Immediate] {
        let running = running(&site, &[]);
        site.stow.cluster.stop(how);
        let output = running.wait();
        assert_eq!(output.status.code(), Some(1), "{output}");
        assert!(output.stderr.contains("can't dump postgres"), "{output}");
        // pg_dump's own words.
        assert!(output.stderr.contains("pg_dump: error"), "{output}");
        assert_eq!(site.files(), [""; 0], "{output}");
        site.stow.cluster.start();
    }
    site.dumped(&["postgres"]);
}

#[test]
fn a_repository_that_gets_full_is_an_error_and_nothing_is_left() {
    let scratch = Scratch::new();
    let disk = FullDisk::mount(&scratch, "disk", 2 << 20);
    let pg = pg(15);
    let bindir = format!("bindir = \"{}\"", pg.bindir.display());
    let builder = Stow::build(&scratch, pg).no_archiving().setting(&bindir);
    let mut stow = builder.root(disk.path()).start();
    stow.tool = stow.tool.env("PGSTOW_CLUSTER_USER", "postgres");
    let site = Site { scratch, stow };
    // What doesn't compress.
    site.stow.cluster.psql(
        "create table noise as select gen_random_bytes from
         (select decode(string_agg(md5(random()::text), ''), 'hex') as gen_random_bytes
          from generate_series(1, 300000) n group by n % 1000) x",
    );
    for format in ["custom", "plain", "tar", "directory"] {
        site.dump(&["postgres", "--no-globals", "--format", format])
            .fails(1)
            .stderr_contains("No space left on device")
            .stderr_contains("free space on this file system");
        assert_eq!(site.files(), [""; 0], "{format}");
    }
    disk.resize(64 << 20);
    site.dumped(&["postgres"]);
}

/// Such as it is on hosts with a small /tmp.
#[test]
fn the_directory_format_alone_goes_through_a_temporary_folder() {
    let site = Site::start(pg(16));
    fill(&site.stow.cluster);
    let small = FullDisk::mount(&site.scratch, "small", 1 << 20);
    let dump = |arguments: &[&str]| {
        let arguments = [&["postgres", "--no-globals"], arguments].concat();
        site.dump(&arguments).env("TMPDIR", small.path())
    };
    for format in ["custom", "plain", "tar"] {
        dump(&["--format", format]).ok();
    }
    let before = site.files();
    let directory = ["--format", "directory", "--level", "0", "--jobs", "1"];
    dump(&directory)
        .fails(1)
        .stderr_contains("No space left on device");
    assert_eq!(site.files(), before);
    small.resize(256 << 20);
    dump(&directory).ok();
    assert!(fs::read_dir(small.path()).unwrap().next().is_none());
}

#[test]
fn without_a_repository_nothing_is_dumped() {
    let site = Site::start(pg(15));
    let nowhere = site.scratch.folder("nowhere");
    site.dump(&["postgres"])
        .env("PGSTOW_REPO_URL", &nowhere)
        .fails(1)
        .stderr_contains("init`");
    assert!(fs::read_dir(nowhere).unwrap().next().is_none());
}

/// A disk that keeps other bytes than it was given.
#[test]
fn what_was_stored_is_read_again() {
    let site = Site::start(pg(17));
    fill(&site.stow.cluster);
    let spoiled = |arguments: &[&str]| {
        let arguments = [&["--format", "plain"], arguments].concat();
        let running = running(&site, &arguments);
        let open = format!("/proc/{}/fd", running.id());
        let until = Instant::now() + Duration::from_secs(30);
        // It has no name yet.
        while !fs::read_dir(&open).unwrap().flatten().any(|file| {
            let is_it = |to: PathBuf| to.to_string_lossy().contains("/dumps/postgres/");
            let has_bytes = |found: fs::Metadata| found.is_file() && found.len() > 0;
            let path = file.path();
            let is_data =
                fs::read_link(&path).is_ok_and(is_it) && fs::metadata(&path).is_ok_and(has_bytes);
            if is_data {
                let file = fs::OpenOptions::new().write(true).open(&path);
                file.unwrap().write_all_at(b"X", 0).unwrap();
            }
            is_data
        }) {
            assert!(Instant::now() < until);
        }
        running.wait()
    };
    let output = spoiled(&[]).stderr_contains("is not what was written");
    assert_eq!(output.status.code(), Some(1), "{output}");
    assert_eq!(site.files(), [""; 0]);
    // Who doesn't want that gets what the disk has.
    let output = spoiled(&["--no-verify"]);
    assert!(output.status.success(), "{output}");
    assert_eq!(output.json()["dumps"][0]["verified"], false, "{output}");
    assert_eq!(site.dumped(&["postgres"]).json["verified"], true);
}

#[test]
fn a_wrong_password_is_an_error_and_the_right_one_is_seen_nowhere() {
    const PASSWORD: &str = "s3cr3t 'pass\\word";
    let scratch = Scratch::new();
    let pg = pg(17);
    let library = pg.bindir.join("../lib");
    let bindir = format!("bindir = \"{}\"", pg.bindir.display());
    let builder = Stow::build(&scratch, pg).no_archiving();
    let mut stow = builder.setting(&bindir).start();
    let tool = stow.tool.env("LD_LIBRARY_PATH", library);
    stow.tool = tool.env("PGSTOW_CLUSTER_USER", "dumper");
    let site = Site { scratch, stow };
    let cluster = &site.stow.cluster;
    let quoted = PASSWORD.replace('\'', "''");
    cluster.psql(&format!(
        "create role dumper superuser login password '{quoted}'"
    ));
    fill(cluster);
    let hba = cluster.data_dir().join("pg_hba.conf");
    let text = fs::read_to_string(&hba).unwrap();
    fs::write(&hba, format!("local all dumper scram-sha-256\n{text}")).unwrap();
    cluster.reload();
    let dump = |password: &str| {
        site.dump(&["postgres", "--no-globals", "--verbose"])
            .env("PGPASSWORD", password)
    };
    dump("wrong")
        .fails(1)
        .stderr_contains("password authentication failed");
    assert_eq!(site.files(), [""; 0]);
    let mut running = dump(PASSWORD).spawn();
    let mut seen = 0;
    while running.is_running() {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            seen += usize::from(line.contains("pg_dump"));
            assert!(!line.contains(PASSWORD), "{line}");
        }
    }
    assert!(seen > 0, "pg_dump was never seen");
    let output = running.wait();
    assert!(output.status.success(), "{output}");
    assert!(
        !output.stderr.contains("s3cr3t") && !output.stdout.contains("s3cr3t"),
        "{output}"
    );
    for file in site.files() {
        let bytes = fs::read(site.dumps().join(&file)).unwrap();
        assert!(
            !String::from_utf8_lossy(&bytes).contains("s3cr3t"),
            "{file}"
        );
    }
    // From a password file, too.
    let passfile = site.scratch.join("pgpass");
    fs::write(
        &passfile,
        format!("*:*:*:dumper:{}\n", PASSWORD.replace('\\', "\\\\")),
    )
    .unwrap();
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
    crate::harness::user::own(&passfile);
    site.dump(&["postgres", "--format", "directory"])
        .env("PGPASSFILE", &passfile)
        .ok();
    // One that we may not look at keeps nobody out who needs none.
    let closed = site.scratch.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    site.dump(&["postgres", "--no-globals"])
        .env("PGSTOW_CLUSTER_USER", "postgres")
        .env("PGPASSFILE", closed.join("pgpass"))
        .expect_warning("closed/pgpass can't be read")
        .ok();
}

#[test]
fn a_right_that_is_missing_is_named() {
    let site = Site::start(pg(18));
    let cluster = &site.stow.cluster;
    cluster.psql("create table open (n int); create table hidden (n int)");
    cluster.psql(&format!("grant select on open to {ROLE}"));
    let dump = |arguments: &[&str]| {
        let arguments = [&["postgres", "--no-globals"], arguments].concat();
        site.dump(&arguments).env("PGSTOW_CLUSTER_USER", ROLE)
    };
    dump(&[])
        .fails(1)
        .stderr_contains("can't dump postgres")
        .stderr_contains("permission denied for table hidden");
    assert_eq!(site.files(), [""; 0]);
    dump(&["--table", "open"]).ok();
    // Rows that a policy hides must not be left out in silence.
    cluster.psql("alter table open enable row level security");
    dump(&["--table", "open"])
        .fails(1)
        .stderr_contains("query would be affected by row-level security policy");
}

#[test]
fn a_pg_dump_that_is_missing_or_too_old_is_named_with_its_package() {
    let site = Site::with(pg(17), "[dump]\nformat = \"custom\"\n");
    let older = crate::harness::pg(15).bindir;
    // `check` tells it before the first night.
    let checked = |bindir: &Path, state: &str, text: &str| {
        let check = site.stow.tool.command(&["--json", "check"]);
        // This server archives nothing.
        let report = check.env("PGSTOW_CLUSTER_BINDIR", bindir).fails(1).json();
        let mut findings = report["findings"].as_array().unwrap().iter();
        let found = findings.find(|one| one["name"] == "pg_dump").unwrap();
        assert_eq!(found["state"], state, "{found}");
        assert!(found.to_string().contains(text), "{text:?} in {found}");
    };
    checked(&pg(17).bindir, "ok", "version 17.");
    checked(&older, "critical", "postgresql-client-17");
    let with = |bindir: &Path| {
        site.dump(&["postgres"])
            .env("PGSTOW_CLUSTER_BINDIR", bindir)
    };
    with(&older)
        .fails(1)
        .stderr_contains("the newest pg_dump here is 15.")
        .stderr_contains("the server is PostgreSQL 17")
        .stderr_contains("postgresql-client-17");
    let empty = site.scratch.folder("empty");
    checked(&empty, "critical", "no pg_dump in");
    with(&empty)
        .fails(1)
        .stderr_contains("no pg_dump in")
        .stderr_contains("postgresql-client-17");
    // A newer one will do.
    let newer = crate::harness::pg(18).bindir;
    let report = with(&newer)
        .env("LD_LIBRARY_PATH", newer.join("../lib"))
        .ok()
        .json();
    let client = report["dumps"][1]["client_version"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(client.starts_with("18."), "{client}");
    // But what it made, nobody older reads.
    site.stow
        .tool
        .command(&["restore-dump", "postgres", "-d", "copy"])
        .fails(1)
        .stderr_contains("made by pg_dump 18: the newest here is 17.")
        .stderr_contains("postgresql-client-18")
        .stderr_contains("name that folder by bindir");
    // Nor can a server of its own be of an older version.
    site.stow
        .tool
        .command(&["verify", "postgres"])
        .env("PGSTOW_CLUSTER_BINDIR", &older)
        .fails(1)
        .stderr_contains("the dump is of PostgreSQL 17, and the server programs in")
        .stderr_contains("verify.place = \"server\"");
}

#[test]
fn options_that_would_lead_pg_dump_elsewhere_are_refused() {
    let site = Site::start(pg(16));
    for option in [
        "--file=/tmp/x",
        "-Fp",
        "-d",
        "-hlocalhost",
        "--snap=x",
        "postgres",
    ] {
        site.dump(&["postgres", "--", option])
            .fails(2)
            .stderr_contains("pg_dump");
    }
    assert_eq!(site.files(), [""; 0]);
    // What pg_dump itself refuses is told in its words.
    site.dump(&["postgres", "--no-globals", "--", "--nonsense"])
        .fails(1)
        .stderr_contains("unrecognized option '--nonsense'");
    assert_eq!(site.files(), [""; 0]);
}

/// Needs a repository that knows the server.
#[test]
fn another_clusters_repository_is_refused() {
    let site = Site::start(pg(15));
    let other = Cluster::build(&site.scratch, crate::harness::pg(15))
        .name("other")
        .start();
    site.dump(&["postgres"])
        .env("PGSTOW_CLUSTER_HOST", other.host())
        .fails(1)
        .stderr_contains("is not registered for cluster main");
    assert_eq!(site.files(), [""; 0]);
}
