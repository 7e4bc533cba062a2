//! A stored backup, looked at as a person without pgstow would: with tar, the program of the
//! codec and sha256sum.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{keys, user};

pub struct Stored {
    folder: PathBuf,
}

impl Stored {
    pub fn at(folder: &Path) -> Self {
        assert!(folder.is_dir(), "no {}", folder.display());
        Self {
            folder: folder.to_owned(),
        }
    }

    pub fn id(&self) -> &str {
        self.folder.file_name().unwrap().to_str().unwrap()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn object(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `backup.json`.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&fs::read(self.object("backup.json")).unwrap()).unwrap()
    }

    /// Replaces text in `backup.json`, whose hash of itself is right again afterwards.
    #[track_caller]
    pub fn rewrite(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.object("backup.json")).unwrap();
        assert!(text.contains(from), "no {from:?} in {text}");
        let (body, _hash) = text.rsplit_once(",\n  \"sha256\": ").unwrap();
        self.seal(&body.replacen(from, to, 1));
    }

    /// `backup.json` from `json`, its hash among it or not, with the right one.
    #[track_caller]
    pub fn rewrite_json(&self, mut json: Value) {
        json.as_object_mut().unwrap().remove("sha256");
        let text = serde_json::to_string_pretty(&json).unwrap();
        self.seal(text.strip_suffix("\n}").unwrap());
    }

    fn seal(&self, body: &str) {
        let path = self.object("backup.json");
        fs::write(&path, format!("{body},\n")).unwrap();
        let sum = shell(&format!("sha256sum < {}", quoted(&path)));
        let (hash, _) = sum.split_once(' ').unwrap();
        let text = format!("{body},\n  \"sha256\": \"{hash}\"\n}}\n");
        fs::write(&path, text).unwrap();
        user::own(&path);
    }

    /// In order.
    pub fn parts(&self) -> Vec<PathBuf> {
        let mut parts: Vec<PathBuf> = fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .as_encoded_bytes()
                    .starts_with(b"part-")
            })
            .collect();
        parts.sort();
        parts
    }

    /// What is in an archive, as GNU tar names it.
    #[track_caller]
    pub fn members(&self, part: &Path) -> Vec<String> {
        let list = shell(&format!("{} | tar -t", decompress(part)));
        list.lines().map(str::to_owned).collect()
    }

    /// The plain text of a compressed object, without the last newline.
    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        shell(&decompress(&self.object(name)))
    }

    /// Unpacks all parts in order into `to`, whose tablespaces come to lie in `to` with
    /// `-OID` behind it.
    #[track_caller]
    pub fn unpack(&self, to: &Path) {
        let tablespaces = self.json()["tablespaces"].as_array().unwrap().clone();
        let links = to.join("pg_tblspc");
        for folder in [to, &links] {
            make(folder);
        }
        for tablespace in tablespaces {
            if tablespace["in_place"].as_bool().unwrap() {
                continue;
            }
            let oid = tablespace["oid"].as_u64().unwrap();
            let place = PathBuf::from(format!("{}-{oid}", to.display()));
            make(&place);
            symlink(&place, links.join(oid.to_string())).unwrap();
        }
        for part in self.parts() {
            shell(&format!("{} | tar -x -C {}", decompress(&part), quoted(to)));
        }
        let manifest = decompress(&self.object("backup_manifest.zst"));
        shell(&format!(
            "{manifest} > {}",
            quoted(&to.join("backup_manifest"))
        ));
    }

    #[track_caller]
    pub fn check_sums(&self) -> String {
        shell(&format!(
            "cd {} && sha256sum -c SHA256SUMS",
            quoted(&self.folder)
        ))
    }
}

fn make(folder: &Path) {
    fs::create_dir(folder).unwrap();
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    user::own(folder);
}

fn decompress(path: &Path) -> String {
    let ending = |path: &Path| {
        let ending = path.extension();
        ending.map(|ending| ending.to_str().unwrap().to_owned())
    };
    let (decrypt, inner) = match ending(path).as_deref() {
        Some("age") => {
            let identity = format!("age -d -i <(echo {})", keys::IDENTITY);
            (identity, path.with_extension(""))
        }
        _ => ("cat".to_owned(), path.to_owned()),
    };
    let program = match ending(&inner).as_deref() {
        Some("zst") => "zstd -dcq",
        Some("gz") => "gzip -dc",
        Some("lz4") => "lz4 -dcq",
        _ => "cat",
    };
    format!("{decrypt} {} | {program}", quoted(path))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Of a pipe, any failure counts.
#[track_caller]
fn shell(script: &str) -> String {
    user::run_ok(user::command("bash", "KILL").args(["-o", "pipefail", "-c", script]))
}
