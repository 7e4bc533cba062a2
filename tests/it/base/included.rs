//! Configuration files that other ones include, from outside the data directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::harness::{PgBin, Scratch, Stow, pg, user};

struct Folder(PathBuf);

impl Folder {
    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        let folder = path.parent().unwrap();
        if !folder.is_dir() {
            fs::create_dir_all(folder).unwrap();
            user::own(folder);
        }
        fs::write(&path, text).unwrap();
        user::own(&path);
    }

    /// What the backup says that it has, without the folder's name.
    fn taken(&self, json: &serde_json::Value) -> Vec<String> {
        let files = json["config_files"].as_array().unwrap();
        let names = files.iter().map(|file| {
            let name = Path::new(file.as_str().unwrap()).strip_prefix(&self.0);
            name.unwrap().display().to_string()
        });
        names.collect()
    }
}

fn append(path: &Path, lines: &str) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, text + lines).unwrap();
}

/// None of these files has a setting in force, so that the server doesn't name them.
fn files_that_are_included_are_taken(pg: PgBin) {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg.clone());
    let etc = Folder(scratch.folder("etc"));
    let data_dir = stow.cluster.data_dir().to_owned();
    let path = etc.0.display();
    etc.write(
        "outer.conf",
        "work_mem = '1MB'\ninclude 'sub/../deep/inner.conf'\n",
    );
    etc.write(
        "deep/inner.conf",
        "INCLUDE = \"x\"\n"
            .replace("\"x\"", "'it''s.conf'")
            .as_str(),
    );
    etc.write("deep/it's.conf", "# nothing\n");
    etc.write("conf.d/a.conf", "work_mem = '2MB'\n");
    etc.write("conf.d/.hidden.conf", "");
    etc.write("conf.d/a.conf~", "");
    fs::create_dir(etc.0.join("conf.d/folder.conf")).unwrap();
    append(
        &data_dir.join("postgresql.conf"),
        &format!(
            "include '{path}/outer.conf'\ninclude_dir '{path}/conf.d' # all of it\n\
             include_if_exists '{path}/none.conf'\nwork_mem = '3MB'\n\
             hba_file = '{path}/pg_hba.conf'\n"
        ),
    );
    etc.write("dbs", "postgres, @more\n");
    etc.write("more", "template1\n");
    let mut hba = fs::read_to_string(data_dir.join("pg_hba.conf")).unwrap();
    hba += "local @dbs,\"@none\" all trust\n";
    let mut expected = vec![
        "conf.d/a.conf",
        "dbs",
        "deep/inner.conf",
        "deep/it's.conf",
        "more",
        "outer.conf",
        "pg_hba.conf",
    ];
    if pg.major >= 16 {
        hba += "include \\\n \"hba more\"\ninclude_if_exists none\ninclude_dir hba.d\n";
        etc.write("hba more", "# nothing\n");
        etc.write("hba.d/b.conf", "host @hosts_of_b all 127.0.0.1/32 trust\n");
        etc.write("hba.d/hosts_of_b", "postgres\n");
        etc.write("ident", "# nothing\n");
        append(
            &data_dir.join("pg_ident.conf"),
            &format!("include {path}/ident\n"),
        );
        expected.extend(["hba more", "hba.d/b.conf", "hba.d/hosts_of_b", "ident"]);
        expected.sort();
    }
    etc.write("pg_hba.conf", &hba);
    stow.cluster.restart();
    let named = stow
        .cluster
        .psql("select distinct sourcefile from pg_settings where sourcefile like '%/etc/%'");
    assert_eq!(named, "", "a file has a setting in force");

    let backup = stow.backup(&[]);
    let json = backup.json();
    assert_eq!(etc.taken(&json), expected);
    let missing = json["config_missing"].as_array();
    assert!(missing.is_none_or(Vec::is_empty), "{missing:?}");
    let members = backup.members(&backup.object("config.tar.zst"));
    let folders = members.iter().filter(|name| name.ends_with(".d/"));
    assert_eq!(folders.count(), if pg.major >= 16 { 2 } else { 1 });
    assert_eq!(
        members.iter().filter(|name| !name.ends_with('/')).count(),
        expected.len()
    );
    stow.tool.command(&["verify"]).ok();

    // The server has read it; then somebody removes it.
    fs::remove_file(etc.0.join("more")).unwrap();
    let output = stow.base(&[]).expect_warning("/etc/more").ok();
    let missing = &stow.stored(&output).json()["config_missing"];
    assert_eq!(missing.as_array().unwrap().len(), 1, "{missing}");
}

#[test]
fn files_that_are_included_are_taken_on_15() {
    files_that_are_included_are_taken(pg(15));
}

#[test]
fn files_that_are_included_are_taken_on_18() {
    files_that_are_included_are_taken(pg(18));
}

#[test]
fn a_folder_of_too_many_files() {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg(18));
    let etc = Folder(scratch.folder("etc"));
    for number in 0..1100 {
        etc.write(&format!("{number:04}.conf"), "");
    }
    append(
        &stow.cluster.data_dir().join("postgresql.conf"),
        &format!("include_dir '{}'\n", etc.0.display()),
    );
    stow.cluster.restart();
    let output = stow.base(&[]).expect_warning("more than 1000 files").ok();
    let taken = etc.taken(&stow.stored(&output).json());
    assert!((900..=1000).contains(&taken.len()), "{}", taken.len());
}
