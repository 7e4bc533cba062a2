//! Whether a dump may go where it is to go.

use super::material::{About, Checked, Material};
use crate::error::{Error, Result};

/// The database that it goes to: the one that is wanted, else that of its own.
pub fn name_of(wanted: Option<&str>, material: &Material, checked: &Checked) -> Result<String> {
    let of_description = || material.description.as_ref()?.database.clone();
    let of_archive = || checked.about.toc()?.database.clone();
    let is_globals = material
        .description
        .as_ref()
        .is_some_and(|dump| dump.database.is_none());
    if is_globals {
        let what = format!(
            "{} holds roles and tablespaces, no database",
            material.name()
        );
        return Err(Error::usage(what).hint(
            "restore a database with --globals, which restores them first; or write them with --to-file.",
        ));
    }
    let name = wanted
        .map(str::to_owned)
        .or_else(of_description)
        .or_else(of_archive);
    name.ok_or_else(|| {
        let what = format!("{} does not say which database it holds", material.name());
        Error::usage(what).hint("name one with --to-database.")
    })
}

/// Refuses to give up a database for a part of one.
pub fn check_is_all(material: &Material) -> Result<()> {
    let Some(part) = material.description.as_ref().and_then(|dump| dump.part()) else {
        return Ok(());
    };
    Err(Error::failed(format!(
        "{} holds a part of its database alone ({part}), which can't take the place of a whole one",
        material.name()
    ))
    .hint("leave out --clean, or restore into a new database (--to-database)."))
}

/// A script that goes to other databases would do so whatever we say.
pub fn check_stays(about: &About, name: &str) -> Result<()> {
    let About::Script(script) = about else {
        return Ok(());
    };
    let Some(line) = &script.connects else {
        return Ok(());
    };
    let what = format!("{name} chooses its database itself: {line}");
    Err(Error::failed(what).hint(
        "it was made by pg_dumpall, or by pg_dump with --create: look at it, and give it to psql by hand.",
    ))
}
