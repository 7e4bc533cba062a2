//! `--replace`: what is in the way is renamed, never removed.
//!
//! The old cluster keeps its tablespaces: each is renamed too, and its link follows it, so that
//! the old folder, started by mistake, can't write into the new tablespaces.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::plan::Plan;
use crate::{
    error::{IoContext, Result},
    util::fs::{link_over, rename_new},
};

/// Renames what the plan says; gives the new names, the data directory's first.
pub fn rename(plan: &Plan) -> Result<Vec<PathBuf>> {
    let mut renamed = Vec::new();
    for folder in &plan.folders {
        let Some(aside) = &folder.aside else { continue };
        rename_new(&folder.facts.path, aside)?;
        renamed.push(aside.clone());
        if let (Some(oid), Some(old)) = (folder.tablespace, renamed.first()) {
            point(&old.join("pg_tblspc").join(oid.to_string()), aside)?;
        }
    }
    Ok(renamed)
}

/// Has a link point to `target`.
fn point(link: &Path, target: &Path) -> Result<()> {
    let old = fs::symlink_metadata(link).at("look at", link)?;
    link_over(target, link, Some((old.uid(), old.gid())))
}
