//! libpq's password file: `host:port:database:user:password` on each line, the first match wins.
//!
//! Rules: `passwordFromFile` in `src/interfaces/libpq/fe-connect.c`.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use crate::{
    error::{IoContext, Result},
    util::secret::Secret,
};

/// What a line must match.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `localhost` for the default socket folder, else the host or folder as it was given.
    pub host: &'a str,
    pub port: u16,
    pub database: &'a str,
    pub user: &'a str,
}

/// Looks the password up. A file that isn't there has none; one that others may read, or that we may not (a `HOME` of
/// somebody else), is ignored with a warning. libpq ignores them, too.
pub fn password(path: &Path, wanted: Wanted<'_>) -> Result<Option<Secret>> {
    let facts = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(passed_over(path, &error));
        }
        other => other.at("read", path)?,
    };
    if !facts.is_file() {
        tracing::warn!(
            "password file {} is not a plain file: ignored",
            path.display()
        );
        return Ok(None);
    }
    if facts.mode() & 0o077 != 0 {
        tracing::warn!(
            "password file {} has group or world access: ignored; its mode should be 0600 or less",
            path.display()
        );
        return Ok(None);
    }
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(passed_over(path, &error))
        }
        read => Ok(find(&read.at("read", path)?, wanted)),
    }
}

fn passed_over(path: &Path, error: &io::Error) -> Option<Secret> {
    let path = path.display();
    tracing::warn!("password file {path} can't be read ({error}): ignored");
    None
}

/// The password of the first line that matches. Lines that are no UTF-8 match nothing.
pub fn find(file: &[u8], wanted: Wanted<'_>) -> Option<Secret> {
    let port = wanted.port.to_string();
    let fields = [wanted.host, &port, wanted.database, wanted.user];
    file.split(|&byte| byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| password_of(line, fields))
}

fn password_of(line: &str, wanted: [&str; 4]) -> Option<Secret> {
    let mut rest = line;
    for want in wanted {
        let (field, behind) = field(rest);
        if field != want && !rest.starts_with("*:") {
            return None;
        }
        rest = behind?;
    }
    let (password, _) = field(rest);
    (!password.is_empty()).then(|| Secret::new(password))
}

/// The text up to the next colon, its escapes resolved, and what is behind the colon.
fn field(text: &str) -> (String, Option<&str>) {
    let mut field = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            ':' => return (field, text.get(at + 1..)),
            '\\' => field.extend(letters.next().map(|(_, escaped)| escaped)),
            other => field.push(other),
        }
    }
    (field, None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const WANTED: Wanted<'static> = Wanted {
        host: "db",
        port: 5432,
        database: "replication",
        user: "me",
    };

    #[test]
    fn the_first_matching_line_wins() {
        for (file, password) in [
            ("db:5432:replication:me:secret", Some("secret")),
            ("*:*:*:*:a\n*:*:*:*:b", Some("a")),
            ("#*:*:*:*:a\r\ndb:5432:*:me:b\r\n", Some("b")),
            ("db:5433:*:me:a\ndb:*:*:me:b", Some("b")),
            ("d\\b:5432:*:m\\e:a\\:b\\\\c", Some("a:b\\c")),
            ("db:5432:*:me:a:behind", Some("a")),
            ("\\*:5432:*:me:a", None),
            ("*x:5432:*:me:a", None),
            ("db:5432:*:me:", None),
            ("db:5432:*:me", None),
            ("db:5432:*", None),
            ("", None),
            ("db:5432:*:me:ä", Some("ä")),
            ("\\", None),
        ] {
            let found = find(file.as_bytes(), WANTED);
            assert_eq!(found.as_ref().map(Secret::expose), password, "{file:?}");
        }
        assert_eq!(find(b"db:5432:*:me:\xFF", WANTED), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        assert_eq!(password(&path, WANTED).unwrap(), None);
        fs::write(&path, "*:*:*:*:secret").unwrap();
        for (mode, found) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                password(&path, WANTED).unwrap().is_some(),
                found,
                "{mode:o}"
            );
        }
    }
}
