//! The house keeps its order: a file of `src/` uses layers below its own and files of its own
//! folder, without circles, and third-party crates stay where they belong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::imports::imports;

/// From the top down; `main` and `lib` stand above all.
const LAYERS: [&str; 7] = [
    "cli", "commands", "domain", "repo", "postgres", "util", "error",
];

/// Which subject of `domain/` may use which other one.
const SUBJECTS: [(&str, &str); 31] = [
    ("backup", "wal"),
    ("demo", "backup"),
    ("demo", "restore"),
    ("demo", "setup"),
    ("drill", "logical"),
    ("drill", "restore"),
    ("drill", "wal"),
    ("history", "restore"),
    ("history", "wal"),
    ("list", "backup"),
    ("logical", "backup"),
    ("logical", "retention"),
    ("list", "restore"),
    ("restore", "wal"),
    ("retention", "backup"),
    ("retention", "restore"),
    ("monitor", "list"),
    ("monitor", "logical"),
    ("monitor", "retention"),
    ("monitor", "setup"),
    ("monitor", "wal"),
    ("regain", "drill"),
    ("regain", "logical"),
    ("regain", "restore"),
    ("setup", "backup"),
    ("setup", "logical"),
    ("setup", "restore"),
    ("setup", "wal"),
    ("sync", "backup"),
    ("sync", "logical"),
    ("sync", "wal"),
];

/// Crates that only these may use.
const HOMES: [(&str, &str); 15] = [
    ("age", "repo::crypt"),
    ("age_core", "repo::crypt"),
    ("clap", "cli"),
    ("indicatif", "cli"),
    ("object_store", "repo::object"),
    ("openssh_sftp_client", "repo::sftp"),
    ("quick_xml", "repo::object"),
    ("tokio_postgres", "postgres"),
    ("tokio_postgres_rustls", "postgres"),
    ("postgres_protocol", "postgres"),
    ("rustls", "postgres"),
    ("rustls", "util::http"),
    ("rustls", "util::trust"),
    ("ureq", "util::http"),
    ("lettre", "domain::monitor"),
];

/// Module path, such as `domain::backup::pack`, to source text.
type Sources = BTreeMap<String, String>;

#[test]
fn the_house_keeps_its_order() {
    let complaints = complaints(&read(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src").as_path(),
    ));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What has to be durable is made in one place, in one order.
#[test]
fn one_file_creates_and_renames() {
    let sources = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").as_path());
    assert!(sources["util::fs"].contains("OpenOptions::new"));
    for (module, source) in &sources {
        let in_tests = module.contains("tests") || module == "util::fs";
        let code = source.split("\nmod tests {").next().unwrap();
        let code = code.replace("NewFile::create", "");
        for call in [
            "File::create",
            "OpenOptions",
            "DirBuilder",
            "fs::rename",
            "fs::write(",
            "fs::create_dir",
            "symlink(",
        ] {
            assert!(in_tests || !code.contains(call), "{module} uses {call}");
        }
    }
}

fn read(folder: &Path) -> Sources {
    fn walk(folder: &Path, module: &str, sources: &mut Sources) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let inside = match (module, stem) {
                (_, "mod") => module.to_owned(),
                ("", _) => stem.to_owned(),
                _ => format!("{module}::{stem}"),
            };
            if path.is_dir() {
                walk(&path, &inside, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.insert(inside, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut sources = Sources::new();
    walk(folder, "", &mut sources);
    sources.remove("lib");
    sources.remove("main");
    sources
}

fn complaints(sources: &Sources) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, source) in sources {
        for path in imports(module, source) {
            if let Some(used) = own_module(sources, &path) {
                if let Some(why) = forbidden(module, used) {
                    complaints.push(format!("{module} uses {path}: {why}"));
                }
                uses.entry(module).or_default().insert(used);
                continue;
            }
            let homes = homes_of(&path);
            if !homes.is_empty() && !homes.iter().any(|home| is_within(module, home)) {
                let homes = homes.join(" and ");
                complaints.push(format!(
                    "{module} uses {path}: this crate belongs to {homes}"
                ));
            }
        }
    }
    complaints.extend(circles(&uses));
    complaints
}

/// The file that defines `path`: the longest beginning that is a module.
fn own_module<'a>(sources: &'a Sources, path: &str) -> Option<&'a str> {
    let mut path = path.strip_prefix("crate::")?;
    loop {
        if let Some((module, _)) = sources.get_key_value(path) {
            return Some(module);
        }
        path = path.rsplit_once("::")?.0;
    }
}

fn forbidden(module: &str, used: &str) -> Option<String> {
    let height = |module: &str| {
        let layer = module.split("::").next().unwrap();
        LAYERS.iter().position(|name| *name == layer)
    };
    let (Some(user_height), Some(used_height)) = (height(module), height(used)) else {
        return Some("a folder that is not in the list of layers".to_owned());
    };
    if used_height < user_height {
        return Some("a layer above its own".to_owned());
    }
    let subject = |module: &str| module.strip_prefix("domain::").map(first);
    if let (Some(user), Some(used)) = (subject(module), subject(used))
        && user != used
        && !SUBJECTS.contains(&(user.as_str(), used.as_str()))
    {
        return Some("another subject, which it may not use".to_owned());
    }
    None
}

fn first(path: &str) -> String {
    path.split("::").next().unwrap().to_owned()
}

fn homes_of(path: &str) -> Vec<&'static str> {
    let krate = first(path);
    let homes = HOMES.iter().filter(|(name, _)| *name == krate);
    homes.map(|(_, home)| *home).collect()
}

fn is_within(module: &str, folder: &str) -> bool {
    let rest = module.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Files that use each other, directly or through others.
fn circles(uses: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    fn reaches<'a>(
        uses: &BTreeMap<&'a str, BTreeSet<&'a str>>,
        path: &mut Vec<&'a str>,
        seen: &mut BTreeSet<&'a str>,
    ) -> bool {
        let last = path[path.len() - 1];
        for next in uses.get(last).into_iter().flatten() {
            if *next == path[0] && path.len() > 1 {
                return true;
            }
            if seen.insert(next) {
                path.push(next);
                if reaches(uses, path, seen) {
                    return true;
                }
                path.pop();
            }
        }
        false
    }
    let mut complaints = Vec::new();
    for module in uses.keys() {
        let mut path = vec![*module];
        // Each circle is told once, from its first member on.
        if reaches(uses, &mut path, &mut BTreeSet::from([*module]))
            && path.iter().min() == Some(module)
        {
            complaints.push(format!("circle: {} > {module}", path.join(" > ")));
        }
    }
    complaints
}

/// Complaints about made-up sources.
fn judge(sources: &[(&str, &str)]) -> Vec<String> {
    let owned = sources
        .iter()
        .map(|(module, source)| (module.to_string(), source.to_string()));
    complaints(&owned.collect())
}

#[test]
fn order_is_no_complaint() {
    let sources = [
        (
            "cli::args",
            "use clap::Parser; use crate::{commands::base, error::Result};",
        ),
        (
            "commands::base",
            "use crate::domain::backup::{self, pack::pack};",
        ),
        ("domain::backup", "pub mod pack; fn f() { pack::pack() }"),
        (
            "domain::backup::pack",
            "use crate::postgres::wire::Session; mod tests { use super::*; }",
        ),
        (
            "postgres::wire",
            "use rustls::ClientConfig; use crate::error::Result;",
        ),
        ("error", ""),
    ];
    assert_eq!(judge(&sources), [""; 0]);
}

#[test]
fn disorder_is_told() {
    let cases = [
        ("util::fs", "use crate::postgres::lsn::Lsn;", "above"),
        (
            "util::fs",
            "fn f() -> crate::postgres::lsn::Lsn {}",
            "above",
        ),
        (
            "util::fs",
            "use super::super::{postgres::lsn, error};",
            "above",
        ),
        (
            "util::fs",
            "use tokio_postgres::Client;",
            "belongs to postgres",
        ),
        (
            "util::fs",
            "#[derive(clap::Parser)] struct Args;",
            "belongs to cli",
        ),
        (
            "domain::wal::push",
            "use super::super::restore::plan;",
            "another subject",
        ),
        (
            "domain::monitor::mail",
            "use lettre::Message; use clap::Args;",
            "belongs to cli",
        ),
        ("helpers::misc", "use crate::util::fs;", "not in the list"),
        (
            "util::hash",
            "use super::fs;",
            "circle: util::fs > util::hash > util::fs",
        ),
        (
            "util",
            "mod fs; fn f() { fs::sync() }",
            "circle: util > util::fs > util::hash > util",
        ),
    ];
    for (module, source, complaint) in cases {
        let rest = [
            ("domain::restore::plan", ""),
            ("error", ""),
            ("postgres::lsn", ""),
            ("util", "pub mod fs; pub mod hash;"),
            ("util::fs", "use crate::util::hash;"),
            ("util::hash", "use super::Digest;"),
        ];
        let mut sources = rest.to_vec();
        sources.retain(|(other, _)| *other != module);
        sources.push((module, source));
        let told = judge(&sources);
        assert_eq!(told.len(), 1, "{module} {source}: {told:?}");
        assert!(told[0].contains(complaint), "{told:?}");
    }
}
