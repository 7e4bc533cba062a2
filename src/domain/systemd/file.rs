//! A file that `install` writes, and whether the one that is there may be replaced or removed: it bears a
//! checksum of what follows it, so an operator's change is seen.

use std::path::Path;

use serde::Serialize;

use crate::{
    error::{Error, Result},
    util::{
        fs::{read_if_there, write_over},
        hash::Sha256,
    },
};

/// The first line of a unit.
pub const UNIT_NOTE: &str = "# Written by `pgstow systemd install`. To change it, make a drop-in: `systemctl edit` and the unit's name.";
/// The first line of a crontab.
pub const CRON_NOTE: &str =
    "# Written by `pgstow systemd install --cron`: to change it, call that again.";

/// Before the checksum of all that follows the line.
const SUM: &str = "# sha256 of what follows: ";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemdFile {
    pub name: String,
    pub text: String,
}

/// What is there in the place of a file.
#[derive(Debug, PartialEq, Eq)]
enum There {
    Nothing,
    /// Written by pgstow, and as it was written.
    Ours,
    /// Somebody else's, or changed since.
    Others,
}

/// What was done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Written,
    Replaced,
    Unchanged,
    Removed,
}

impl SystemdFile {
    pub fn new(name: String, note: &str, content: &str) -> Self {
        let sum = Sha256::of(content.as_bytes());
        Self {
            name,
            text: format!("{note}\n{SUM}{sum}\n{content}"),
        }
    }

    /// Puts the file into `folder`, durably, unless it is there already.
    pub fn write(&self, folder: &Path) -> Result<Action> {
        let path = folder.join(&self.name);
        let old = read_if_there(&path)?;
        if old.as_deref() == Some(self.text.as_bytes()) {
            return Ok(Action::Unchanged);
        }
        write_over(&path, 0o644, self.text.as_bytes())?;
        Ok(match old {
            None => Action::Written,
            Some(_) => Action::Replaced,
        })
    }
}

/// Refuses where one of the files is somebody else's work; nothing was touched then.
pub fn refuse_others<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let mut others = Vec::new();
    for path in paths {
        if there(path)? == There::Others {
            others.push(path.display().to_string());
        }
    }
    match others.as_slice() {
        [] => Ok(()),
        others => Err(Error::failed(format!(
            "not as pgstow wrote it, and left alone: {}",
            others.join(", ")
        ))
        .hint(
            "move what was changed to a drop-in (`systemctl edit` and the unit's name) and the file out of the \
             way; or take --force, and the change is lost.",
        )),
    }
}

fn there(path: &Path) -> Result<There> {
    Ok(match read_if_there(path)? {
        None => There::Nothing,
        Some(bytes) if is_as_written(&String::from_utf8_lossy(&bytes)) => There::Ours,
        Some(_) => There::Others,
    })
}

fn is_as_written(text: &str) -> bool {
    let sealed = text
        .split_once('\n')
        .and_then(|(_, rest)| rest.strip_prefix(SUM)?.split_once('\n'));
    sealed.is_some_and(|(sum, content)| sum == Sha256::of(content.as_bytes()).to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.service");
        let file = |content| SystemdFile::new("x.service".to_owned(), UNIT_NOTE, content);
        assert_eq!(there(&path).unwrap(), There::Nothing);
        for (content, action) in [
            ("a=1\n", Action::Written),
            ("a=1\n", Action::Unchanged),
            ("a=2\n", Action::Replaced),
        ] {
            assert_eq!(file(content).write(folder.path()).unwrap(), action);
            assert_eq!(there(&path).unwrap(), There::Ours);
        }
        refuse_others([path.as_path()]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for other in [
            text.replace("a=2", "a=3"),
            format!("{text}b=1\n"),
            String::new(),
        ] {
            fs::write(&path, other).unwrap();
            assert_eq!(there(&path).unwrap(), There::Others);
        }
        let refusal = refuse_others([path.as_path()]).unwrap_err();
        assert!(refusal.message().contains("x.service"), "{refusal}");
    }
}
