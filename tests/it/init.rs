//! `init`, from an empty folder to a server that archives.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{Cluster, PgBin, Scratch, Tool, pg, tool::Invocation, user};

#[test]
fn apply_leads_to_working_archiving_15() {
    apply_leads_to_working_archiving(pg(15));
}

#[test]
fn apply_leads_to_working_archiving_18() {
    apply_leads_to_working_archiving(pg(18));
}

/// Settings for `cluster` and a repository in the scratch folder; its name needs quotes
/// everywhere.
fn configured(scratch: &Scratch, cluster: &Cluster) -> (Tool, PathBuf) {
    let root = scratch.join("it's 100% a \\repository");
    let toml = format!(
        "state_dir = '{}'\n[repo.local]\nurl = \"{}\"\n[cluster.main]\nhost = '{}'\nuser = 'postgres'\n",
        scratch.join("state").display(),
        root.display().to_string().replace('\\', "\\\\"),
        cluster.host().display(),
    );
    (Tool::new(scratch).config(&toml), root)
}

/// Server and repository of these tests are on one file system.
#[track_caller]
fn all_but_the_place_is_well(check: Invocation) {
    let checked = check.fails(3);
    let bad = checked
        .stdout
        .lines()
        .filter(|line| line.starts_with("warning"));
    let bad: Vec<&str> = bad.collect();
    assert!(
        bad.len() == 1 && bad[0].contains("same file system"),
        "{checked}"
    );
}

fn apply_leads_to_working_archiving(pg: PgBin) {
    let scratch = Scratch::new();
    let mut main = Cluster::build(&scratch, pg)
        .conf("wal_level", "minimal")
        .conf("max_wal_senders", "0")
        .start();
    let (tool, root) = configured(&scratch, &main);

    let printed = tool.command(&["init"]).ok();
    for line in [
        "made",
        "registered, WAL as zstd",
        "wal_level = 'replica'  # now minimal; needs a restart",
        "archive_mode = 'on'  # now off; needs a restart",
        "archive-wal %p'  # now empty; needs a reload",
        "archive_timeout = '60'  # now 0; needs a reload",
        "max_wal_senders = '10'  # now 0; needs a restart",
        "max_replication_slots = '10'  # fits",
        "restart the server",
    ] {
        assert!(printed.stdout.contains(line), "no {line:?} in {printed}");
    }
    assert_eq!(main.psql("show archive_mode"), "off");
    assert!(scratch.join("state/main").is_dir());
    let mode = fs::metadata(&root).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);

    // Again is success, and nothing is registered twice.
    let again = tool.command(&["--json", "init", "--apply"]).ok().json();
    assert_eq!(again["repositories"][0]["repository_made"], false);
    assert_eq!(again["repositories"][0]["system_registered"], false);
    assert_eq!(again["applied"], true);
    let changes = |document: &serde_json::Value| -> Vec<String> {
        let settings = document["settings"].as_array().unwrap();
        let change = |one: &serde_json::Value| one["change"].as_str().unwrap().to_owned();
        settings.iter().map(change).collect()
    };
    let pending = ["pending", "pending", "fits", "fits", "pending", "fits"];
    assert_eq!(changes(&again), pending);
    main.restart();
    let fits = tool.command(&["--json", "init"]).ok().json();
    assert_eq!(changes(&fits), ["fits"; 6]);
    tool.command(&["init", "--apply"])
        .ok()
        .stdout_contains("settings fit");

    let segment = main.switch_wal();
    let system = main.psql("select system_identifier from pg_control_system()");
    let folder = root.join("main/wal").join(system).join(&segment[..16]);
    assert!(folder.join(format!("{segment}.zst")).is_file());
    all_but_the_place_is_well(tool.command(&["check"]));
}

#[test]
fn the_printed_lines_work_in_postgresql_conf() {
    let scratch = Scratch::new();
    let mut main = Cluster::build(&scratch, pg(16)).start();
    let (tool, _) = configured(&scratch, &main);
    let printed = tool.command(&["init"]).ok().stdout;
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| line.contains(" = '"))
        .collect();
    assert_eq!(lines.len(), 6);
    let conf = main.data_dir().join("postgresql.conf");
    let text = fs::read_to_string(&conf).unwrap() + &lines.join("\n") + "\n";
    fs::write(&conf, text).unwrap();
    main.restart();
    main.switch_wal();
    all_but_the_place_is_well(tool.command(&["check"]));
}

#[test]
fn a_url_alone_is_enough() {
    let scratch = Scratch::new();
    let mut main = Cluster::build(&scratch, pg(17)).start();
    let root = scratch.join("repository");
    let tool = Tool::new(&scratch)
        .env("PGHOST", main.host())
        .env("PGUSER", "postgres")
        .env("PGSTOW_STATE_DIR", scratch.join("state"));
    let by_url = |words: &[&str]| {
        let url = ["--repo-url", root.to_str().unwrap()];
        tool.command(&[&url, words].concat())
    };
    let printed = by_url(&["init", "--apply"]).ok();
    let call = format!(
        "pgstow --repo-url {} --cluster main archive-wal %p",
        root.display()
    );
    assert!(printed.stdout.contains(&call), "{printed}");
    main.restart();
    main.switch_wal();
    all_but_the_place_is_well(by_url(&["check"]));
}

#[test]
fn another_archive_command_is_never_replaced() {
    let scratch = Scratch::new();
    let main = Cluster::build(&scratch, pg(18))
        .conf("archive_mode", "on")
        .conf("archive_command", "cp %p /somewhere/%f")
        .start();
    let (tool, root) = configured(&scratch, &main);
    tool.command(&["init", "--apply"])
        .fails(1)
        .stderr_contains("cp %p /somewhere/%f")
        .stderr_contains("ALTER SYSTEM RESET archive_command");
    assert_eq!(main.psql("show archive_command"), "cp %p /somewhere/%f");
    assert!(!root.exists(), "a refusal comes before anything is made");
    tool.command(&["init"])
        .ok()
        .stdout_contains("now cp %p /somewhere/%f; needs a reload");

    // An older call of our own is.
    main.set("archive_command", "/old/place/pgstow archive-wal %p");
    tool.command(&["init", "--apply"]).ok();
    let now = main.psql("show archive_command");
    assert!(now.ends_with("archive-wal %p") && !now.contains("/old/place"));

    main.set("archive_command", "");
    main.set("archive_library", "basic_archive");
    tool.command(&["init", "--apply"])
        .fails(1)
        .stderr_contains("basic_archive");
}

#[test]
fn another_system_is_registered_only_when_told() {
    let scratch = Scratch::new();
    let first = Cluster::build(&scratch, pg(15)).start();
    let second = Cluster::build(&scratch, pg(18)).name("second").start();
    let (tool, root) = configured(&scratch, &first);
    tool.command(&["init"]).ok();
    let to_second = |words: &[&str]| {
        tool.command(words)
            .env("PGSTOW_CLUSTER_HOST", second.host())
    };
    let system = first.psql("select system_identifier from pg_control_system()");
    to_second(&["init"])
        .fails(1)
        .stderr_contains(&format!("system {system} (PostgreSQL 15, registered"))
        .stderr_contains("(PostgreSQL 18)")
        .stderr_contains("--new-system");
    let systems = || fs::read_dir(root.join("main/systems")).unwrap().count();
    assert_eq!(systems(), 1);
    to_second(&["init", "--new-system"]).ok();
    to_second(&["init"]).ok();
    tool.command(&["init"]).ok();
    assert_eq!(systems(), 2);
}

#[test]
fn a_role_without_rights_hears_what_is_missing() {
    let scratch = Scratch::new();
    let main = Cluster::build(&scratch, pg(16)).start();
    main.psql("create role backup login replication; grant pg_read_all_settings to backup");
    let (tool, _) = configured(&scratch, &main);
    let as_backup = |words: &[&str]| tool.command(words).env("PGSTOW_CLUSTER_USER", "backup");
    as_backup(&["init"]).ok();
    as_backup(&["init", "--apply"])
        .fails(1)
        .stderr_contains("can't set archive_mode by ALTER SYSTEM")
        .stderr_contains("hint: run init --apply as a superuser");
    // Where a superuser did it before, there is nothing to be refused.
    tool.command(&["init", "--apply"]).ok();
    as_backup(&["init", "--apply"]).ok();
}

/// `pgstow` as root, from where it was built.
fn as_root(scratch: &Scratch, tool: &Tool) -> Command {
    let mut command = Command::new(scratch.join("pgstow-home/pgstow"));
    command
        .env_clear()
        .arg("--config")
        .arg(tool.config_file())
        .current_dir("/");
    command
}

fn owners(path: &Path) -> Vec<u32> {
    let mut found = vec![fs::metadata(path).unwrap().uid()];
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(owners(&entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn what_root_makes_belongs_to_the_servers_user() {
    if !user::is_root() {
        return;
    }
    let scratch = Scratch::new();
    let main = Cluster::build(&scratch, pg(17)).start();
    let (tool, root) = configured(&scratch, &main);
    user::run_ok(as_root(&scratch, &tool).arg("init"));
    let (uid, _) = user::ids();
    for made in [&root, &scratch.join("state")] {
        let owners = owners(made);
        assert!(owners.iter().all(|owner| *owner == uid), "{owners:?}");
    }

    // What root alone can read, archive_command can't.
    let config = tool.config_file();
    std::os::unix::fs::chown(config, Some(0), Some(0)).unwrap();
    fs::set_permissions(config, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = user::run(as_root(&scratch, &tool).args(["init", "--apply"])).unwrap_err();
    assert!(
        refused.contains("user postgres can't use repository local"),
        "{refused}"
    );
    assert_eq!(main.psql("show archive_mode"), "off");
    assert_eq!(
        main.psql("select count(*) from pg_settings where pending_restart"),
        "0"
    );
    fs::set_permissions(config, fs::Permissions::from_mode(0o644)).unwrap();
    user::run_ok(as_root(&scratch, &tool).arg("init"));

    // A folder of somebody else, which is no repository yet, keeps its owner.
    let foreign = scratch.folder("foreign");
    fs::write(foreign.join("file"), "").unwrap();
    std::os::unix::fs::chown(&foreign, Some(0), Some(0)).unwrap();
    let refused = user::run(
        as_root(&scratch, &tool)
            .args(["init", "--repo-url"])
            .arg(&foreign),
    );
    assert!(refused.unwrap_err().contains("can't use repository local"));
    assert_eq!(fs::metadata(&foreign).unwrap().uid(), 0);
}

/// What is seen of a disk that is not mounted is an empty folder.
#[test]
fn in_the_place_of_a_disk_that_is_not_mounted_no_repository_is_made() {
    const FSTAB: &str = "LIBMOUNT_FSTAB";
    let scratch = Scratch::new();
    let mut main = Cluster::build(&scratch, pg(17)).start();
    let (tool, root) = configured(&scratch, &main);
    fs::create_dir(&root).unwrap();
    user::own(&root);
    let fstab = scratch.join("fstab");
    let point = root.display().to_string();
    let point = point.replace('\\', "\\134").replace(' ', "\\040");
    fs::write(
        &fstab,
        format!("/dev/x / ext4\n/dev/y {point} xfs defaults 0 2\n"),
    )
    .unwrap();
    let mount = format!("run: mount {}", root.display());
    let refused = tool.command(&["init"]).env(FSTAB, &fstab).fails(1);
    drop(refused.stderr_contains(&mount));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);

    // Where fstab says nothing of it, it is made.
    tool.command(&["init", "--apply"]).ok();
    main.restart();
    tool.command(&["base"]).ok();
    tool.command(&["init"]).env(FSTAB, &fstab).ok();

    // It is gone, and its folder is there.
    let aside = scratch.join("aside");
    fs::rename(&root, &aside).unwrap();
    fs::create_dir(&root).unwrap();
    user::own(&root);
    let hint = |fstab: &Path| {
        let words = ["--json", "monitor", "--only", "repository"];
        let report = tool.command(&words).env(FSTAB, fstab).fails(2).json();
        report["checks"][0]["hint"].as_str().unwrap().to_owned()
    };
    assert!(hint(&fstab).starts_with(&mount), "{}", hint(&fstab));
    let other = hint(&scratch.join("none"));
    assert!(
        other.starts_with("if there was one, see that its disk is mounted"),
        "{other}"
    );
    let made = tool.command(&["init"]);
    drop(
        made.expect_warning("is new, but this host took backup")
            .ok(),
    );
    // It is told once.
    tool.command(&["init"]).ok();
}
