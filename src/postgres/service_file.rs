//! libpq's service files: named sets of connection settings.
//!
//! Where they lie and how they read: `parseServiceInfo` in `src/interfaces/libpq/fe-connect.c`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::{Error, IoContext, Kind, Result};

/// Debian's compiled-in folder for the system's file; `PGSYSCONFDIR` names another.
const SYSTEM_FOLDER: &str = "/etc/postgresql-common";

/// The settings of `service`, as keyword and value.
pub fn settings(
    service: &str,
    env: &dyn Fn(&str) -> Option<String>,
    home: Option<&Path>,
) -> Result<Vec<(String, String)>> {
    let own = env("PGSERVICEFILE")
        .map(PathBuf::from)
        .or_else(|| home.map(|home| home.join(".pg_service.conf")));
    let folder = env("PGSYSCONFDIR").unwrap_or_else(|| SYSTEM_FOLDER.to_owned());
    let files: Vec<PathBuf> = own
        .into_iter()
        .chain([Path::new(&folder).join("pg_service.conf")])
        .collect();
    for file in &files {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.at("read", file)?,
        };
        if let Some(found) =
            section(&text, service).map_err(|error| error.context(file.display().to_string()))?
        {
            return Ok(found);
        }
    }
    let looked: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
    Err(Error::new(
        Kind::NotFound,
        format!("definition of service {service:?} not found"),
    )
    .hint(format!("it was looked for in {}.", looked.join(" and "))))
}

/// The settings under `[service]`; none if there is no such section.
pub fn section(text: &str, service: &str) -> Result<Option<Vec<(String, String)>>> {
    let mut found: Option<Vec<(String, String)>> = None;
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            // The first section of a name counts, as in libpq.
            if found.is_some() {
                break;
            }
            inside = name == service;
            if inside {
                found = Some(Vec::new());
            }
        } else if inside {
            let wrong = || Error::usage(format!("syntax error in service file, line {number}"));
            if line.starts_with("ldap") {
                return Err(wrong().hint("a service that lives in LDAP is not supported."));
            }
            let (keyword, value) = line.split_once('=').ok_or_else(wrong)?;
            if keyword == "service" || keyword == "servicefile" {
                return Err(wrong().hint("services can't be nested."));
            }
            if let Some(settings) = &mut found {
                settings.push((keyword.to_owned(), value.to_owned()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_at_the_next() {
        let text = "# all\n[a]\nhost=x\nport=1\n\n[b]\n  user=you=me  \n[a]\nhost=second\n";
        let pairs = |name: &str| section(text, name).unwrap();
        let owned = |pairs: &[(&str, &str)]| {
            Some(
                pairs
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(pairs("a"), owned(&[("host", "x"), ("port", "1")]));
        assert_eq!(pairs("b"), owned(&[("user", "you=me")]));
        assert_eq!(pairs("c"), None);
        for bad in ["[a]\nnonsense", "[a]\nservice=b", "[a]\nldap://x"] {
            assert!(section(bad, "a").is_err(), "{bad}");
            assert!(section(bad, "b").is_ok(), "{bad}");
        }
    }

    #[test]
    fn the_users_file_comes_before_the_systems() {
        let folder = tempfile::tempdir().unwrap();
        let system = folder.path().join("system");
        fs::create_dir(&system).unwrap();
        fs::write(folder.path().join(".pg_service.conf"), "[a]\nhost=own").unwrap();
        fs::write(
            system.join("pg_service.conf"),
            "[a]\nhost=all\n[b]\nhost=all",
        )
        .unwrap();
        let env =
            |name: &str| (name == "PGSYSCONFDIR").then(|| system.to_string_lossy().into_owned());
        for (name, host) in [("a", "own"), ("b", "all")] {
            let found = settings(name, &env, Some(folder.path())).unwrap();
            assert_eq!(found, [("host".to_owned(), host.to_owned())]);
        }
        let missing = settings("c", &env, Some(folder.path())).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
    }
}
