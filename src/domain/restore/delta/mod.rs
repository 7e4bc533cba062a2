//! `--delta`: into a folder that holds an older or damaged state. What is right stays.
//!
//! The order, and what a crash leaves behind each step:
//! 1. WAL that the archive has not gets a second name outside of the folder (the old cluster, whole);
//! 2. the folder is marked, and the marker knows where that WAL lies (the same, with a stray file);
//! 3. pg_control loses its name, durably, and the folder is asked once more for a server (from here on
//!    no server starts it, and the next restore goes on from what it finds);
//! 4. what the backup has not is removed, links of tablespaces are made, files are compared, and what
//!    differs is written;
//! 5. the rest is as in any restore, `super`: recovery settings, all synced, pg_control, marker.
//!
//! Links are never followed, but for those of tablespaces that the plan names, and only once they are
//! what the plan says. Of a tablespace's folder only those in it that the backup has are touched:
//! another major version of PostgreSQL may have its own beside it.

mod compare;
pub mod outlook;
pub mod owned;
mod tree;
pub mod wal;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    contents::Contents,
    folders::Owner,
    index::{Found, Member},
    marker::{Marker, Notes},
    tablespaces::Tablespace,
};
use crate::{
    error::{IoContext, Result},
    postgres::{control, postmaster::Postmaster},
    repo::backup::Backup,
    util::{
        cancel::Cancel,
        fs::{rename_new, sync_folder},
        meter::Meter,
    },
};
use outlook::Outlook;
pub use tree::names_in;
use tree::{Act, Seen, Tree, open_up};

/// Where the old pg_control waits to be removed: with it goes the last that could be started.
const OLD_CONTROL: &str = "global/pg_control.pgstow-old";

/// Steps 2 and 3.
pub fn begin(data_dir: &Path, notes: &Notes) -> Result<Marker> {
    let marker = Marker::over(data_dir, notes)?;
    let named = data_dir.join(control::PATH);
    let folder = data_dir.join("global");
    let found = fs::symlink_metadata(&folder);
    if let Ok(found) = &found
        && found.is_dir()
    {
        open_up(&folder, found)?;
    }
    match found {
        // What a link leads to is not ours to change.
        Ok(found) if !found.is_dir() => {
            fs::remove_file(&folder).at("remove", &folder)?;
            sync_folder(data_dir)?;
        }
        Ok(_) if named.symlink_metadata().is_ok() => {
            let old = data_dir.join(OLD_CONTROL);
            match fs::remove_file(&old) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.at("remove", &old)?,
            }
            rename_new(&named, &old)?;
            // One that was just starting has written its postmaster.pid before it reads pg_control
            // (PostmasterMain in `src/backend/postmaster/postmaster.c`).
            if let Err(error) = Postmaster::refuse_running(data_dir) {
                rename_new(&old, &named)?;
                marker.remove()?;
                return Err(error);
            }
        }
        _ => {}
    }
    Ok(marker)
}

/// What is compared with what.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    pub backup: &'a Backup,
    pub contents: &'a Contents,
    pub data_dir: &'a Path,
    pub tablespaces: &'a [Tablespace],
    pub owner: Option<Owner>,
    pub trust_times: bool,
    pub workers: usize,
    pub cancel: &'a Cancel,
    pub meter: &'a Meter,
}

impl Update<'_> {
    fn tree(&self, act: Act) -> Tree<'_> {
        let settled = self.trust_times.then(|| self.backup.settled_before());
        Tree::new(
            self.contents,
            self.data_dir,
            self.tablespaces,
            self.owner,
            settled,
            act,
            self.cancel,
        )
    }

    /// What the folders hold by names and sizes alone.
    pub fn look(&self) -> Result<Seen> {
        self.meter.begin("looking", 0);
        let (tree, mut seen) = (self.tree(Act::Look), Seen::nothing(self.contents));
        tree.data_dir(&mut seen)?;
        tree.tablespaces(&mut seen)?;
        Ok(seen)
    }

    /// What would be done; reads all files that may stay.
    pub fn outlook(&self) -> Result<Outlook> {
        let mut seen = self.look()?;
        self.compare(&mut seen)?;
        Ok(Outlook::of(self.contents, &seen.found, seen.extra))
    }

    /// Step 4 but for the writing: what is found then, and what that means. `link` makes the links
    /// of tablespaces, between what is in their way and what they lead to.
    pub fn clear(&self, link: impl FnOnce() -> Result<()>) -> Result<(Vec<Found>, Outlook)> {
        self.meter.begin("removing what is extra", 0);
        let (tree, mut seen) = (self.tree(Act::Clear), Seen::nothing(self.contents));
        tree.data_dir(&mut seen)?;
        link()?;
        tree.tablespaces(&mut seen)?;
        self.compare(&mut seen)?;
        let outlook = Outlook::of(self.contents, &seen.found, seen.extra);
        Ok((seen.found, outlook))
    }

    fn compare(&self, seen: &mut Seen) -> Result<()> {
        compare::compare(
            self.contents,
            &mut seen.found,
            |member| self.place(member),
            self.workers,
            self.cancel,
            self.meter,
        )
    }

    /// Where a member lies, also before the link of its tablespace is made.
    fn place(&self, member: &Member) -> PathBuf {
        let path = member.path.as_path();
        let below = |space: &Tablespace| {
            let rest = path.strip_prefix(format!("pg_tblspc/{}", space.oid)).ok()?;
            Some(space.path.join(rest))
        };
        let in_space = self.tablespaces.iter().find_map(below);
        in_space.unwrap_or_else(|| self.data_dir.join(path))
    }

    /// How many bytes the files will need beside those that are there, by tablespace; None is the
    /// data directory. `kept`: bytes of extra files that keep another name.
    pub fn needed(&self, kept: u64) -> Result<BTreeMap<Option<u32>, u64>> {
        let seen = self.look()?;
        let mut needed = self.contents.by_place(self.tablespaces, |_| true);
        for (place, needed) in &mut needed {
            let of = |bytes: &BTreeMap<Option<u32>, u64>| bytes.get(place).copied().unwrap_or(0);
            let kept = if place.is_none() { kept } else { 0 };
            let freed = of(&seen.freed).saturating_sub(kept);
            *needed = needed.saturating_sub(of(&seen.reused) + freed);
        }
        Ok(needed)
    }
}
