//! `pgstow sync`: another repository is filled, and the first one is not needed any more.

mod answers;
mod elsewhere;
mod fallback;
mod faults;
mod further;
mod heal;
mod interrupted;
mod mend;
mod registration;
mod repair;
mod retention;
mod status;
mod trouble;

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::harness::{
    Cluster, PgBin, Scratch, Shutdown, Stored, Stow, bucket::Bucket, damage::flip, keys, pg,
    tool::Invocation,
};

/// A cluster that archives into one repository, and another one that is filled.
struct Site {
    // Dropped in this order: the server ends before its folder goes.
    stow: Stow,
    scratch: Scratch,
    offsite: PathBuf,
    copies: Cell<u32>,
}

impl Site {
    /// `lines`: of the section of the repository that is filled.
    fn start(pg: PgBin, lines: &str) -> Self {
        Self::at(pg, lines, None)
    }

    fn at(pg: PgBin, lines: &str, url: Option<&str>) -> Self {
        let scratch = Scratch::new();
        let bindir = format!("bindir = \"{}\"", pg.bindir.display());
        let library = pg.bindir.join("../lib");
        let mut stow = Stow::build(&scratch, pg)
            .cluster(|cluster| cluster.initdb("--wal-segsize=1"))
            .repo("part_size = \"1MB\"")
            .setting(&bindir)
            .setting("full_every = \"1d\"")
            .start();
        stow.tool = stow.tool.env("LD_LIBRARY_PATH", library);
        let offsite = scratch.folder("offsite");
        let site = Self {
            stow,
            scratch,
            offsite,
            copies: Cell::new(0),
        };
        let url = url.map_or(site.offsite.display().to_string(), str::to_owned);
        let section = format!("[repo.offsite]\nurl = \"{url}\"\nwal_mode = \"sync\"\n{lines}\n");
        site.configure("[cluster.main]", &format!("{section}[cluster.main]"));
        site.offsite(&["init"]).ok();
        site
    }

    fn main(&self) -> &Cluster {
        &self.stow.cluster
    }

    fn pgstow(&self, arguments: &[&str]) -> Invocation {
        self.stow.tool.command(arguments)
    }

    /// In the repository that is filled.
    fn offsite(&self, arguments: &[&str]) -> Invocation {
        self.pgstow(&[&["--repo", "offsite"], arguments].concat())
    }

    /// What `sync` tells of the only repository that it fills.
    #[track_caller]
    fn sync(&self, code: i32) -> Value {
        let sync = self.pgstow(&["--json", "sync"]);
        sync.fails(code).json()["repositories"][0].clone()
    }

    /// Has pgstow.toml say something else.
    fn configure(&self, from: &str, to: &str) {
        let path = self.stow.tool.config_file();
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "no {from:?} in {text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// A third repository, encrypted as the second one is, on a host that has no private key any more. Where it is, and the
    /// setting of both.
    fn third_without_key(&self, keys: &Scratch) -> (PathBuf, String) {
        let setting = keys::setting(keys);
        let file = keys::identity_file(keys);
        let recipients = setting.replace(&format!(", identity_file = \"{}\"", file.display()), "");
        assert_ne!(recipients, setting);
        self.configure(&setting, &recipients);
        let third = self.scratch.folder("third");
        let section = format!(
            "[repo.third]\nurl = \"{}\"\nwal_mode = \"sync\"\ncompression = \"zstd:1\"\n{recipients}\n",
            third.display()
        );
        self.configure("[cluster.main]", &format!("{section}[cluster.main]"));
        self.pgstow(&["--repo", "third", "init"]).ok();
        (third, recipients)
    }

    /// Rows enough for several parts, a chain, a dump.
    fn fill(&self) -> [Stored; 2] {
        self.main().psql(
            "grant pg_read_all_data to pgstow;
             create table t (id int primary key, body text);
             insert into t select n, md5(n::text) || md5((n + 1)::text) from generate_series(1, 60000) n",
        );
        let full = self.stow.backup(&["--full"]);
        self.main()
            .psql("update t set body = 'changed' where id % 1000 = 0");
        let incremental = self.stow.backup(&["--incremental"]);
        self.main().psql("delete from t where id % 7 = 0");
        self.main().switch_wal();
        [full, incremental]
    }

    /// The same backup in the other repository.
    fn copied(&self, backup: &Stored) -> Stored {
        Stored::at(&self.folder_of(backup))
    }

    /// Where that is, or will be.
    fn folder_of(&self, backup: &Stored) -> PathBuf {
        self.offsite.join("main/base").join(backup.id())
    }

    /// The first repository is lost: all must come from the other one.
    #[track_caller]
    fn comes_back(&self, arguments: &[&str], expected: &str) {
        let gone = self.scratch.join("gone");
        fs::rename(self.stow.root(), &gone).unwrap();
        self.copies.set(self.copies.get() + 1);
        let name = format!("copy{}", self.copies.get());
        let to = self.scratch.join(&name);
        let fixed = ["restore", "--data-dir", to.to_str().unwrap()];
        self.offsite(&[&fixed, arguments].concat()).ok();
        let pg = self.main().pg.clone();
        pg.verifybackup(&to).unwrap();
        let run = format!("run{}", self.copies.get());
        let mut copy = Cluster::existing(&self.scratch, pg, &run, &to);
        copy.recover();
        assert!(copy.dump("postgres") == expected, "another database");
        copy.amcheck();
        copy.stop(Shutdown::Fast);
        fs::rename(&gone, self.stow.root()).unwrap();
    }
}

/// All files below `folder`, by their path in it.
fn files(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(root, &path, found),
                false => found.push(path.strip_prefix(root).unwrap().display().to_string()),
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

#[track_caller]
fn count(report: &Value, what: &str) -> usize {
    report[what].as_array().unwrap().len()
}

#[test]
fn a_copy_alone_brings_all_back_on_15() {
    a_copy_alone_brings_all_back(pg(15));
}

#[test]
fn a_copy_alone_brings_all_back_on_18() {
    a_copy_alone_brings_all_back(pg(18));
}

fn a_copy_alone_brings_all_back(pg: PgBin) {
    let site = Site::start(pg, "compression = \"zstd:1\"");
    let [full, incremental] = site.fill();
    site.pgstow(&["dump", "postgres"]).ok();
    let pin = ["pin", full.id(), "--reason", "the first"];
    site.pgstow(&pin).ok();
    let dump = site.main().dump("postgres");

    let dry = site.pgstow(&["--json", "sync", "--dry-run"]).ok().json();
    assert_eq!(count(&dry["repositories"][0], "backups"), 2, "{dry:#}");
    assert!(!site.offsite.join("main/base").exists());
    let status = site.pgstow(&["--json", "sync", "--status"]).ok().json();
    assert_eq!(status["status"][0]["backups"][1]["where"], "pending");
    assert!(status["status"][0]["wal"][0]["pending"]["objects"].as_u64() > Some(3));

    // Of a segment in progress: what is filled does without.
    let system = site
        .main()
        .psql("select system_identifier from pg_control_system()");
    let live = format!("main/wal/{system}/live/0000000100000000000000FF");
    let live = site.stow.root().join(live);
    fs::create_dir_all(&live).unwrap();
    fs::write(live.join("00000000-00002000.zst"), "").unwrap();
    let told = site.sync(0);
    assert_eq!(
        (count(&told, "backups"), count(&told, "dumps")),
        (2, 2),
        "{told:#}"
    );
    assert_eq!(told["pins"], 1);
    let copied = files(&site.offsite);
    assert!(
        !copied.iter().any(|file| file.contains("/live/")),
        "{copied:?}"
    );
    // Parts are the same bytes, nothing else than the first repository has is there.
    for backup in [&full, &incremental] {
        let copied = site.copied(backup);
        assert!(copied.check_sums().contains("OK"));
        let parts = backup.json()["parts"].clone();
        assert_eq!(copied.json()["parts"], parts);
        assert_eq!(copied.json()["verified"], true);
    }
    let own = files(site.stow.root());
    for file in files(&site.offsite) {
        let own_there = file.contains("/locks/") || file.contains("/brought/");
        assert!(own_there || own.contains(&file), "{file}");
    }

    // Again there is nothing to do, and nothing is made anew.
    let before = files(&site.offsite);
    let told = site.sync(0);
    assert_eq!(
        (count(&told, "backups"), count(&told, "dumps")),
        (0, 0),
        "{told:#}"
    );
    assert_eq!(
        (&told["wal"]["objects"], &told["bytes"]),
        (&0.into(), &0.into())
    );
    let lasting = |files: Vec<String>| -> Vec<String> {
        let lasting = files.into_iter().filter(|file| !file.contains("/locks/"));
        lasting.collect()
    };
    assert_eq!(lasting(files(&site.offsite)), lasting(before));
    let status = site.pgstow(&["sync", "--status"]).ok();
    assert!(!status.stdout.contains("pending"), "{status}");

    let list = site.offsite(&["list"]).ok();
    assert!(list.stdout.contains("the first"), "{list}");
    site.offsite(&["verify", "--all", "--wal"]).ok();
    site.comes_back(&[], &dump);
    site.comes_back(&[incremental.id()], &dump);
    // Its name is that of the source, where it was made.
    site.offsite(&["verify", "--dumps"]).ok();
    let runs = site.pgstow(&["list", "--runs"]).ok();
    assert!(runs.stdout.contains("sync"), "{runs}");
}

#[test]
fn a_plain_repository_is_encrypted_on_the_way() {
    if keys::are_wanted() {
        return;
    }
    let keys = Scratch::new();
    let site = Site::start(
        pg(17),
        &format!("compression = \"zstd:1\"\n{}", keys::setting(&keys)),
    );
    site.fill();
    site.pgstow(&["dump", "postgres"]).ok();
    let dump = site.main().dump("postgres");
    let told = site.sync(0);
    assert_eq!(
        (count(&told, "backups"), count(&told, "dumps")),
        (2, 2),
        "{told:#}"
    );
    let mut encrypted = 0;
    for file in files(&site.offsite) {
        let bytes = fs::read(site.offsite.join(&file)).unwrap();
        let is_age = bytes.starts_with(b"age-encryption.org/v1\n");
        assert_eq!(is_age, file.ends_with(".age"), "{file}");
        let holds_rows = [".tar", ".zst.age", ".dump", ".sql"];
        let holds_rows = holds_rows.iter().any(|word| file.contains(word));
        assert!(is_age || !holds_rows, "{file} is plain");
        encrypted += u32::from(is_age);
    }
    assert!(encrypted > 5, "only {encrypted} objects are encrypted");
    let told = site.sync(0);
    assert_eq!(told["bytes"], 0, "{told:#}");
    site.offsite(&["verify", "--all", "--wal"]).ok();
    site.comes_back(&[], &dump);
    site.offsite(&["verify", "--dumps"]).ok();
}

/// From an encrypted repository to another: the bytes stay as they are, also where nobody can read them.
#[test]
fn what_is_encrypted_is_copied_as_it_is() {
    let keys = Scratch::new();
    let setting = keys::setting(&keys);
    let site = Site::start(pg(16), &format!("compression = \"zstd:1\"\n{setting}"));
    if keys::are_wanted() {
        return;
    }
    site.fill();
    site.sync(0);
    let dump = site.main().dump("postgres");
    let (third, recipients) = site.third_without_key(&keys);
    let words = ["--repo", "third", "--json", "sync", "--from", "offsite"];
    let told = site.pgstow(&words).ok().json();
    assert_eq!(count(&told["repositories"][0], "backups"), 2, "{told:#}");
    for file in files(&site.offsite) {
        if file.ends_with(".age") {
            let read = |root: &Path| fs::read(root.join(&file)).unwrap();
            assert!(read(&site.offsite) == read(&third), "{file}");
        }
    }
    // It can be opened with the key.
    site.configure(
        &format!("{recipients}\n[cluster.main]"),
        &format!("{setting}\n[cluster.main]"),
    );
    let to = site.scratch.join("from-third");
    let words = [
        "--repo",
        "third",
        "restore",
        "--data-dir",
        to.to_str().unwrap(),
    ];
    site.pgstow(&words).ok();
    let mut copy = Cluster::existing(&site.scratch, site.main().pg.clone(), "copy-third", &to);
    copy.recover();
    assert!(copy.dump("postgres") == dump, "another database");
    copy.stop(Shutdown::Fast);
}

/// The last repository is copied on the day when there is no server any more.
#[test]
fn a_new_repository_is_made_and_filled_without_a_server() {
    let mut site = Site::start(pg(17), "compression = \"zstd:1\"");
    site.fill();
    let dump = site.main().dump("postgres");
    site.sync(0);
    site.stow.cluster.stop(Shutdown::Fast);
    let usb = site.scratch.folder("usb");
    let section = format!(
        "[repo.usb]\nurl = \"{}\"\nwal_mode = \"sync\"\ncompression = \"zstd:1\"\n[cluster.main]",
        usb.display()
    );
    site.configure("[cluster.main]", &section);
    fs::rename(site.stow.root(), site.scratch.join("lost")).unwrap();
    site.pgstow(&["--repo", "usb", "init"])
        .expect_warning("can't connect to the server")
        .fails(1);
    let made = site
        .pgstow(&["--repo", "usb", "--json", "init", "--without-server"])
        .ok();
    assert_eq!(made.json()["repositories"][0]["repository_made"], true);
    site.pgstow(&["--repo", "usb", "sync", "--from", "offsite"])
        .ok();
    fs::rename(&site.offsite, site.scratch.join("lost too")).unwrap();
    let to = site.scratch.join("from-usb");
    let words = [
        "--repo",
        "usb",
        "restore",
        "--data-dir",
        to.to_str().unwrap(),
    ];
    site.pgstow(&words).ok();
    let pg = site.main().pg.clone();
    pg.verifybackup(&to).unwrap();
    let mut copy = Cluster::existing(&site.scratch, pg, "usb-run", &to);
    copy.recover();
    assert!(copy.dump("postgres") == dump, "another database");
    copy.stop(Shutdown::Fast);
}

/// The key that docs/stores.md gives to the host.
#[test]
fn a_key_that_may_not_delete_fills_a_bucket() {
    let of_bucket = Scratch::new();
    let (bucket, _) = Bucket::moto_with_rights(&of_bucket);
    let lines = format!("compression = \"zstd:1\"\n{}", bucket.settings(&of_bucket));
    let site = Site::at(pg(16), &lines, Some(bucket.url));
    let backups = site.fill();
    let dump = site.main().dump("postgres");
    let told = site.sync(0);
    assert_eq!(count(&told, "backups"), backups.len(), "{told:#}");
    assert_eq!(site.sync(0)["bytes"], 0);
    site.offsite(&["verify", "--all", "--wal"]).ok();
    site.comes_back(&[], &dump);
}

#[test]
fn a_bucket_is_filled_and_restored_from() {
    let of_bucket = Scratch::new();
    let bucket = Bucket::moto(&of_bucket);
    let lines = format!("compression = \"zstd:1\"\n{}", bucket.settings(&of_bucket));
    let site = Site::at(pg(17), &lines, Some(bucket.url));
    site.fill();
    let dump = site.main().dump("postgres");
    let told = site.sync(0);
    assert_eq!(count(&told, "backups"), 2, "{told:#}");
    assert_eq!(site.sync(0)["bytes"], 0);
    site.offsite(&["verify", "--all", "--wal"]).ok();
    site.comes_back(&[], &dump);
}
