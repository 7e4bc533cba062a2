//! Files that may hold secrets: they must belong to the right user and be closed to others.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use crate::error::{Error, IoContext, Result};

/// Where container engines mount secrets, with modes that nobody can choose.
const MOUNTED: &str = "/run/secrets";

/// Reads a file that may hold secrets; refuses one that belongs to, or shows itself to, others.
pub fn read(path: &Path) -> Result<String> {
    match read_if_safe(path)? {
        (text, false) => Ok(text),
        (_, true) => Err(
            Error::usage(format!("{} can be read by every user", path.display()))
                .hint(format!("run: chmod o-rwx {}.", path.display())),
        ),
    }
}

/// The same, but only refuses one that others may change; whether they can read it.
pub fn read_if_safe(path: &Path) -> Result<(String, bool)> {
    let mut file = File::open(path).at("open", path)?;
    // Asked of the open file, so that nobody can exchange it in between.
    let facts = file.metadata().at("read the owner of", path)?;
    let user = rustix::process::geteuid().as_raw();
    // /dev/null is open to everybody, and holds nobody's secret.
    let device = facts.file_type().is_char_device();
    let judged = !device && !is_mounted(path);
    if judged {
        refuse_strangers(path, facts.uid(), facts.mode(), user)?;
    }
    // Room for all, so that no part of a secret stays behind where the text would have to move.
    let mut text = String::with_capacity(facts.len() as usize + 1);
    file.read_to_string(&mut text).at("read", path)?;
    Ok((text, judged && is_open(facts.mode())))
}

fn is_open(mode: u32) -> bool {
    mode & 0o007 != 0
}

fn is_mounted(path: &Path) -> bool {
    // Resolved, or `/run/secrets/../../tmp/x` would be one.
    path.starts_with(MOUNTED) && fs::canonicalize(path).is_ok_and(|path| path.starts_with(MOUNTED))
}

fn refuse_strangers(path: &Path, owner: u32, mode: u32, user: u32) -> Result<()> {
    let name = path.display();
    if owner != 0 && owner != user {
        let hint = format!("chown it to root or to the user who runs pgstow (uid {user}).");
        return Err(
            Error::usage(format!("{name} belongs to another user (uid {owner})")).hint(hint),
        );
    }
    if mode & 0o002 != 0 {
        return Err(Error::usage(format!("{name} can be changed by every user"))
            .hint(format!("run: chmod o-rwx {name}.")));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nothing_can_be_read_from_the_null_device() {
        assert_eq!(read(Path::new("/dev/null")).unwrap(), "");
    }

    #[test]
    fn only_the_user_and_root_own_and_nobody_else_reads() {
        let judge = |owner, mode| {
            refuse_strangers(Path::new("x"), owner, mode, 100).is_ok() && !is_open(mode)
        };
        for (owner, mode, good) in [
            (100, 0o100600, true),
            (0, 0o100640, true),
            (101, 0o100600, false),
            (100, 0o100644, false),
            (100, 0o100602, false),
        ] {
            assert_eq!(judge(owner, mode), good, "{owner} {mode:o}");
        }
    }

    #[test]
    fn a_file_that_all_can_read_is_refused_or_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "x").unwrap();
        for (mode, good) in [(0o600, true), (0o640, true), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_ok(), good, "{mode:o}");
            assert_eq!(read_if_safe(&path).unwrap().1, !good, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o606)).unwrap();
        assert!(read_if_safe(&path).is_err());
    }
}
