//! Which other files a configuration file includes, and by which words. Pure.
//!
//! Grammars: `src/backend/utils/misc/guc-file.l` for postgresql.conf, `next_token` in
//! `src/backend/libpq/hba.c` for pg_hba.conf and pg_ident.conf. Only includes are looked for: a
//! file that the server would refuse gives those that can be made out.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

/// Deeper nesting the server refuses (CONF_FILE_MAX_DEPTH in `src/include/utils/conffiles.h`).
pub const MAX_DEPTH: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Syntax {
    /// postgresql.conf.
    Settings,
    /// pg_hba.conf and pg_ident.conf.
    Access,
}

/// A configuration file of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigFile {
    pub path: PathBuf,
    pub syntax: Syntax,
}

/// What one line includes, as it names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Include {
    /// `include`, or `@file` among the words of a line.
    File(PathBuf),
    IfExists(PathBuf),
    /// The files in it that [`counts_in_folder`] names.
    Folder(PathBuf),
}

/// What `text` includes, in its order.
pub fn includes(syntax: Syntax, text: &[u8]) -> Vec<Include> {
    match syntax {
        Syntax::Settings => text
            .split(|byte| *byte == b'\n')
            .filter_map(setting)
            .collect(),
        Syntax::Access => logical_lines(text)
            .iter()
            .flat_map(|line| access(line))
            .collect(),
    }
}

/// The file that `named` means in the file `by`.
pub fn resolve(by: &Path, named: &Path) -> PathBuf {
    let folder = by.parent().unwrap_or(Path::new("/"));
    let mut path = PathBuf::new();
    // By name alone, as canonicalize_path does it (src/port/path.c).
    for part in folder.join(named).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}

/// Whether `include_dir` takes a file of this name (GetConfFilesInDir in conffiles.c).
pub fn counts_in_folder(name: &[u8]) -> bool {
    name.len() > b".conf".len() && !name.starts_with(b".") && name.ends_with(b".conf")
}

fn include(word: &[u8], path: &[u8]) -> Option<Include> {
    let path = PathBuf::from(OsStr::from_bytes(path));
    if path.as_os_str().is_empty() {
        return None;
    }
    match word {
        b"include" => Some(Include::File(path)),
        b"include_if_exists" => Some(Include::IfExists(path)),
        b"include_dir" => Some(Include::Folder(path)),
        _ => None,
    }
}

/// A line of postgresql.conf: `word value` or `word = value`.
fn setting(line: &[u8]) -> Option<Include> {
    let line = line.trim_ascii_start();
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = line.iter().position(|byte| !is_part(byte))?;
    let (word, rest) = line.split_at(end);
    // Else it is a longer word, such as a setting of an extension.
    if !matches!(rest.first()?, b' ' | b'\t' | b'\r' | b'=' | b'\'') {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii_start();
    let value = match rest.strip_prefix(b"'") {
        Some(rest) => unquoted(rest)?,
        None => {
            let is_part = |byte: &u8| is_part(byte) || b"-._:/".contains(byte) || *byte >= 0x80;
            let end = rest.iter().position(|byte| !is_part(byte));
            rest[..end.unwrap_or(rest.len())].to_owned()
        }
    };
    include(&word.to_ascii_lowercase(), &value)
}

/// What stands before the closing quote (DeescapeQuotedString); None where there is none.
fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    loop {
        match bytes.next()? {
            b'\'' if bytes.next_if_eq(&b'\'').is_some() => value.push(b'\''),
            b'\'' => return Some(value),
            b'\\' => value.push(match bytes.next()? {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                digit @ b'0'..=b'7' => {
                    let mut octal = digit - b'0';
                    for _ in 0..2 {
                        if let Some(digit) = bytes.next_if(|byte| matches!(byte, b'0'..=b'7')) {
                            // As in C, where what is too large for a byte falls off.
                            octal = octal.wrapping_shl(3) | (digit - b'0');
                        }
                    }
                    octal
                }
                other => other,
            }),
            other => value.push(other),
        }
    }
}

/// Lines of pg_hba.conf: one that ends in a backslash goes on in the next.
fn logical_lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    for part in text.split(|byte| *byte == b'\n') {
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        match part.strip_suffix(b"\\") {
            Some(part) => line.extend(part),
            None => {
                line.extend(part);
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    lines.push(line);
    lines
}

/// A word of pg_hba.conf.
#[derive(Default)]
struct Word {
    text: Vec<u8>,
    /// It begins with a quote: then `@` and keywords in it mean themselves.
    quoted: bool,
    /// A comma stands before it: it belongs to the same field as the word before.
    goes_on: bool,
}

fn access(line: &[u8]) -> Vec<Include> {
    let words = words(line);
    let fields = words.iter().filter(|word| !word.goes_on).count();
    if let ([first, second], 2) = (&words[..], fields)
        && let Some(include) = include(&first.text, &second.text)
    {
        return vec![include];
    }
    let files = words.iter().filter(|word| !word.quoted);
    files
        .filter_map(|word| word.text.strip_prefix(b"@"))
        .filter_map(|path| include(b"include", path))
        .collect()
}

fn words(line: &[u8]) -> Vec<Word> {
    let blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r');
    let mut words: Vec<Word> = Vec::new();
    let mut bytes = line.iter().copied().peekable();
    let mut comma = false;
    loop {
        while bytes
            .next_if(|byte| blank(*byte) || *byte == b',')
            .is_some()
        {}
        match bytes.peek() {
            None | Some(b'#') => return words,
            Some(_) => {}
        }
        let mut word = Word {
            goes_on: comma,
            ..Word::default()
        };
        comma = false;
        let (mut inside, mut was_quote) = (false, false);
        while let Some(byte) = bytes.next_if(|byte| inside || !(blank(*byte) || *byte == b'#')) {
            if byte == b',' && !inside {
                comma = true;
                break;
            }
            if byte != b'"' || was_quote {
                word.text.push(byte);
            }
            was_quote = inside && byte == b'"' && !was_quote;
            if byte == b'"' {
                inside = !inside;
                word.quoted |= word.text.is_empty();
            }
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Include {
        Include::File(path.into())
    }

    #[test]
    fn includes_of_settings() {
        for (line, expected) in [
            ("include 'a.conf'", Some(file("a.conf"))),
            ("  Include = 'a b.conf' # c", Some(file("a b.conf"))),
            ("include conf.d/a-1.conf#c", Some(file("conf.d/a-1.conf"))),
            ("include='it''s\\101\\\\'", Some(file("it'sA\\"))),
            (
                "include_if_exists '../x'",
                Some(Include::IfExists("../x".into())),
            ),
            (
                "include_dir 'conf.d'",
                Some(Include::Folder("conf.d".into())),
            ),
            ("#include 'a.conf'", None),
            ("include ''", None),
            ("include 'open", None),
            ("include", None),
            ("includes 'a.conf'", None),
            ("include.x = 'a.conf'", None),
            ("work_mem = 'include x'", None),
        ] {
            let found = includes(Syntax::Settings, line.as_bytes());
            assert_eq!(found, Vec::from_iter(expected), "{line}");
        }
    }

    #[test]
    fn includes_of_access_files() {
        for (text, expected) in [
            ("include a.conf", vec![file("a.conf")]),
            ("include \"a b.conf\" # c", vec![file("a b.conf")]),
            ("include_if_exists x", vec![Include::IfExists("x".into())]),
            ("include_dir hba.d", vec![Include::Folder("hba.d".into())]),
            ("include \\\n a.conf", vec![file("a.conf")]),
            ("include a.conf more", vec![]),
            ("include,a.conf", vec![]),
            ("# include a.conf", vec![]),
            (
                "local @dbs,x,@\"more dbs\" all @names trust",
                vec![file("dbs"), file("more dbs"), file("names")],
            ),
            ("local \"@dbs\" @ all trust # @x", vec![]),
            ("@a\n\n@b", vec![file("a"), file("b")]),
            ("local \"a\"\"@b\" all trust", vec![]),
        ] {
            assert_eq!(
                includes(Syntax::Access, text.as_bytes()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn names_lead_from_the_file_that_has_them() {
        for (named, expected) in [
            ("a.conf", "/etc/pg/a.conf"),
            ("./conf.d/../a.conf", "/etc/pg/a.conf"),
            ("../a.conf", "/etc/a.conf"),
            ("../../../a.conf", "/a.conf"),
            ("/x/a.conf", "/x/a.conf"),
        ] {
            let found = resolve(Path::new("/etc/pg/postgresql.conf"), Path::new(named));
            assert_eq!(found, Path::new(expected), "{named}");
        }
        for (name, counts) in [
            ("a.conf", true),
            (".a.conf", false),
            (".conf", false),
            ("a.conf~", false),
        ] {
            assert_eq!(counts_in_folder(name.as_bytes()), counts, "{name}");
        }
    }
}
