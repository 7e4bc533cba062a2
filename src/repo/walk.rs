//! Walks folders in the order of full object names, one folder of each level in memory.

use std::cmp::Ordering;

use super::{layout::ObjectName, storage::ObjectInfo};
use crate::{
    error::{Kind, Result},
    util::{clock::Time, fs::TEMPORARY},
};

/// Folders of this host or another.
pub trait Folders {
    /// What is in `folder`, which is named from the repository's own; nothing where it isn't there.
    fn entries(&self, folder: &str) -> Result<Vec<Entry>>;

    fn look(&self, name: &str) -> Result<ObjectInfo>;
}

pub struct Entry {
    /// Of a folder with `/` at its end.
    pub name: String,
    /// Size and time, where they came with the name.
    pub known: Option<(u64, Time)>,
}

/// A listing in the order that `Storage` promises.
pub struct Walk<F> {
    folders: F,
    after: Option<String>,
    /// Still to come, the next one last, by whole names.
    pending: Vec<Entry>,
}

impl<F: Folders> Walk<F> {
    pub fn below(folders: F, prefix: &str, after: Option<&str>) -> Result<Self> {
        let mut walk = Self {
            folders,
            after: after.map(str::to_owned),
            pending: Vec::new(),
        };
        walk.enter(prefix)?;
        Ok(walk)
    }

    fn enter(&mut self, folder: &str) -> Result<()> {
        let first = self.pending.len();
        for Entry { name, known } in self.folders.entries(folder)? {
            if is_hidden(&name) {
                continue;
            }
            let name = format!("{folder}{name}");
            if self.comes_after(&name) {
                self.pending.push(Entry { name, known });
            }
        }
        self.pending[first..].sort_unstable_by(|a, b| b.name.cmp(&a.name));
        Ok(())
    }

    /// Whether `name`, or something in that folder, lies behind `after`.
    fn comes_after(&self, name: &str) -> bool {
        let Some(after) = &self.after else {
            return true;
        };
        match name.cmp(after) {
            Ordering::Greater => true,
            _ => name.ends_with('/') && after.starts_with(name),
        }
    }
}

/// Whether it is no object: on its way, or somebody else's.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name.trim_end_matches('/').ends_with(TEMPORARY)
}

impl<F: Folders> Iterator for Walk<F> {
    type Item = Result<ObjectInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(Entry { name, known }) = self.pending.pop() {
            if name.ends_with('/') {
                if let Err(error) = self.enter(&name) {
                    return Some(Err(error));
                }
                continue;
            }
            if let Some((size, modified)) = known {
                let name = ObjectName::listed(name);
                return Some(Ok(ObjectInfo {
                    name,
                    size,
                    modified,
                }));
            }
            match self.folders.look(&name) {
                // Deleted since its folder was read.
                Err(error) if error.kind() == Kind::NotFound => {}
                found => return Some(found),
            }
        }
        None
    }
}
