//! A repository on another host.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use pgstow::{
    error::{Error, Kind},
    repo::{
        layout,
        location::Location,
        sftp::{Remote, SftpStorage},
        storage::Storage,
    },
    util::clock::now,
};

use super::contract::keeps_the_contract;
use crate::harness::{Scratch, Sshd, Stow, pg, user};

fn remote(sshd: &Sshd) -> Remote {
    let Location::Remote(remote) = sshd.url().parse().unwrap() else {
        panic!("{}", sshd.url());
    };
    Remote {
        key: Some(sshd.key.clone()),
        known_hosts: Some(sshd.known_hosts.clone()),
        ..*remote
    }
}

fn open(sshd: &Sshd) -> Arc<dyn Storage> {
    Arc::new(SftpStorage::open(&remote(sshd)).unwrap())
}

#[test]
fn another_host_keeps_the_contract() {
    let scratch = Scratch::new();
    let sshd = Sshd::start(&scratch);
    let store = open(&sshd);
    keeps_the_contract(&*store);
    assert_eq!(
        fs::read_dir(&sshd.folder).unwrap().count(),
        0,
        "folders and leftovers go too"
    );

    // Closed to others, whatever the umask there is.
    let name = layout::probe().object("folder/object");
    store.create(&name, b"x").unwrap();
    for (path, mode) in [
        ("probe", 0o750),
        ("probe/folder", 0o750),
        ("probe/folder/object", 0o640),
    ] {
        let found = fs::metadata(sshd.folder.join(path)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
    }

    // A disk that isn't mounted there is no empty repository.
    fs::rename(&sshd.folder, sshd.folder.with_extension("away")).unwrap();
    let gone = store.list(&layout::probe(), None).err().unwrap();
    assert!(gone.to_string().contains("can't list"), "{gone}");
}

#[test]
fn what_breaks_on_the_way_is_asked_for_again() {
    let scratch = Scratch::new();
    let sshd = Sshd::start(&scratch);
    let store = open(&sshd);
    let at = |name: &str| layout::probe().object(name);
    let large: Vec<u8> = (0..30_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut upload = store.put_part(&at("large")).unwrap();
    upload.write_all(&large).unwrap();
    upload.finish().unwrap();

    let mut reader = store.get(&at("large"), None).unwrap();
    let mut found = vec![0; 1_000_000];
    reader.read_exact(&mut found).unwrap();
    sshd.kill_connections();
    reader.read_to_end(&mut found).unwrap();
    assert!(found == large, "other bytes");

    sshd.kill_connections();
    assert_eq!(store.head(&at("large")).unwrap().size, 30_000_000);
    sshd.kill_connections();
    assert_eq!(store.list(&layout::probe(), None).unwrap().count(), 1);
    sshd.kill_connections();
    store.create(&at("small"), b"bytes").unwrap();

    // What is being written is not there, and no part of it under its name.
    let mut upload = store.put_part(&at("broken")).unwrap();
    upload.write_all(&large[..5_000_000]).unwrap();
    sshd.kill_connections();
    let written = upload.write_all(&large);
    let failed = match written {
        Err(error) => Err(Error::io("write", "broken".as_ref(), error)),
        Ok(()) => upload.finish(),
    };
    let failed = failed.unwrap_err();
    assert!(
        failed.in_one_line().contains("can't write"),
        "{}",
        failed.in_one_line()
    );
    assert_eq!(
        store.head(&at("broken")).unwrap_err().kind(),
        Kind::NotFound
    );
    assert_eq!(store.list(&layout::probe(), None).unwrap().count(), 2);

    // A temporary file is left, and goes when it is old.
    let old = now() - chrono::TimeDelta::days(7);
    assert_eq!(
        store
            .forget_unfinished(&layout::probe(), Some(old))
            .unwrap(),
        0
    );
    for entry in fs::read_dir(sshd.folder.join("probe")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "tmp") {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(8 * 86_400))
                .unwrap();
        }
    }
    assert_eq!(
        store
            .forget_unfinished(&layout::probe(), Some(old))
            .unwrap(),
        1
    );
    assert_eq!(fs::read_dir(sshd.folder.join("probe")).unwrap().count(), 2);
}

#[test]
fn who_must_not_get_in_is_told_why() {
    let scratch = Scratch::new();
    let sshd = Sshd::start(&scratch);
    let of_cluster = Scratch::new();
    let stow = Stow::build(&of_cluster, pg(17))
        .url(&sshd.url())
        .repo(&sshd.settings())
        .start();
    let stranger = scratch.join("stranger");
    fs::write(&stranger, "").unwrap();
    user::own(&stranger);
    stow.tool
        .command(&["list"])
        .env("PGSTOW_REPO_KNOWN_HOSTS", &stranger)
        .fails(1)
        .stderr_contains("Host key verification failed")
        .stderr_contains("compare the host's key");
    stow.tool
        .command(&["list"])
        .env("PGSTOW_REPO_SSH_KEY", &stranger)
        .fails(1)
        .stderr_contains("Permission denied")
        .stderr_contains("authorized_keys");
    // Others' objects are not ours to write over, nor to read.
    thread::sleep(Duration::from_millis(10));
    fs::set_permissions(sshd.folder.join("main"), fs::Permissions::from_mode(0o000)).unwrap();
    stow.tool
        .command(&["base"])
        .fails(1)
        .stderr_contains("permission denied there");
    fs::set_permissions(sshd.folder.join("main"), fs::Permissions::from_mode(0o750)).unwrap();
    stow.base(&[]).ok();
    // No program of ours stays behind.
    let ssh = std::process::Command::new("pgrep")
        .args(["-f", &format!("ssh .*{}", sshd.port)])
        .output();
    assert_eq!(String::from_utf8_lossy(&ssh.unwrap().stdout), "");
}
