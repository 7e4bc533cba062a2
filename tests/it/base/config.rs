//! Configuration files outside the data directory, as Debian has them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::harness::{Scratch, Stow, pg, user};

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n";

/// Moves the configuration to a folder beside, and makes the server use it there.
fn move_outside(scratch: &Scratch, stow: &mut Stow) -> PathBuf {
    let folder = scratch.folder("etc");
    let data_dir = stow.cluster.data_dir().to_owned();
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        user::own(&folder.join(name));
    };
    for name in ["pg_hba.conf", "pg_ident.conf"] {
        write(name, &fs::read_to_string(data_dir.join(name)).unwrap());
    }
    write("extra.conf", "work_mem = '5MB'\n");
    // A key has no place among the settings, but somebody may put it there.
    write(
        "key.conf",
        &format!(
            "maintenance_work_mem = '6MB'\n# {}",
            KEY.replace('\n', "\n#")
        ),
    );
    let mut conf = OpenAppend::new(&data_dir.join("postgresql.conf"));
    for (name, file) in [("hba_file", "pg_hba.conf"), ("ident_file", "pg_ident.conf")] {
        conf.line(&format!("{name} = '{}'", folder.join(file).display()));
    }
    for name in ["extra.conf", "key.conf"] {
        conf.line(&format!("include '{}'", folder.join(name).display()));
    }
    stow.cluster.restart();
    folder
}

struct OpenAppend(PathBuf);

impl OpenAppend {
    fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn line(&mut self, line: &str) {
        let text = fs::read_to_string(&self.0).unwrap();
        fs::write(&self.0, format!("{text}{line}\n")).unwrap();
    }
}

#[test]
fn files_outside_are_kept_and_keys_are_not() {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg(15));
    let folder = move_outside(&scratch, &mut stow);
    let output = stow
        .base(&[])
        .expect_warning("key.conf: holds a private key")
        .ok();
    let backup = stow.stored(&output);
    let inside = |name: &str| folder.join(name).display().to_string();
    let json = backup.json();
    let mut files: Vec<&str> = json["config_files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file.as_str().unwrap())
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            inside("extra.conf"),
            inside("pg_hba.conf"),
            inside("pg_ident.conf")
        ]
    );
    let missing = json["config_missing"][0].as_str().unwrap();
    assert!(missing.contains("key.conf"), "{missing}");

    let members = backup.members(&backup.object("config.tar.zst"));
    assert_eq!(members.len(), 3, "{members:?}");
    assert!(
        members.contains(&inside("pg_hba.conf")[1..].to_owned()),
        "{members:?}"
    );
    let tar = fs::read(backup.object("config.tar.zst")).unwrap();
    let plain = zstd::decode_all(&tar[..]).unwrap();
    let has = |text: &[u8]| plain.windows(text.len()).any(|window| window == text);
    assert!(has(b"work_mem = '5MB'") && !has(b"PRIVATE KEY"));
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg(18));
    let folder = move_outside(&scratch, &mut stow);
    let hba = folder.join("pg_hba.conf");
    // The server has read it; now it is root's alone.
    std::os::unix::fs::chown(&hba, Some(0), Some(0)).unwrap();
    fs::set_permissions(&hba, fs::Permissions::from_mode(0o600)).unwrap();
    let output = stow
        .base(&[])
        .expect_warning("key.conf")
        .expect_warning("pg_hba.conf: Permission denied")
        .ok();
    let text = stow.tool.command(&["list", stow.stored(&output).id()]).ok();
    drop(text.stdout_contains("pg_hba.conf: Permission denied"));
}
