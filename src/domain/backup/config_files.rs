//! `config.tar`: configuration files that lie outside the data directory (Debian's layout), and
//! so in no part. WAL doesn't carry changes of them either.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::{
    config_source::Source,
    member::{BLOCK, Member, padding},
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        conf_file::{self, ConfigFile, Include, MAX_DEPTH, Syntax},
        connection::Session,
        server_facts::ServerFacts,
    },
    repo::{file_index::FilePath, object_writer::ObjectWriter},
};

/// Nobody has more; a folder that is included by mistake may.
const MAX_FILES: usize = 1000;

/// What was stored, and what could not be read, with the reason.
#[derive(Debug, Default)]
pub struct Stored {
    pub files: Vec<String>,
    pub missing: Vec<String>,
}

/// Writes the files as a tar archive, under their full paths without the first slash, and returns
/// its writer to be finished; None where no file lies outside. `begin` makes the writer.
///
/// Read on the server's host if that is where we are, else through the server.
pub fn write<'a>(
    facts: &ServerFacts,
    session: &Session,
    begin: impl Fn() -> Result<ObjectWriter<'a>>,
) -> Result<(Stored, Option<ObjectWriter<'a>>)> {
    let source = Source::of(facts, session);
    let mut search = Search::begin(facts, &source);
    let mut stored = Stored::default();
    let mut out = None;
    while let Some((path, bytes)) = search.next() {
        if is_inside(facts, &source, &path) {
            continue;
        }
        // Keys never go into a backup: who may read it must not become the server.
        if holds_private_key(&bytes) {
            let path = path.display();
            let why = format!("{path}: holds a private key, which is never taken");
            search.missing.push(why);
            continue;
        }
        let out = match &mut out {
            Some(out) => out,
            None => out.insert(begin()?),
        };
        add(out, &source.member(&path, bytes.len()), &bytes)?;
        stored.files.push(path.display().to_string());
    }
    // The server does not start without them, even where nothing is in them.
    for folder in search
        .folders
        .iter()
        .filter(|path| !is_inside(facts, &source, path))
    {
        let out = match &mut out {
            Some(out) => out,
            None => out.insert(begin()?),
        };
        put(out, &source.folder(folder).header()?)?;
    }
    if let Some(out) = &mut out {
        put(out, &[0; 2 * BLOCK as usize])?;
    }
    stored.files.sort();
    stored.missing = search.missing;
    Ok((stored, out))
}

/// Whether a part of the backup holds the file already.
///
/// The server leaves links out (sendDir in `src/backend/backup/basebackup.c`), wherever they lead:
/// below the data directory a name counts only if no link is on its way.
fn is_inside(facts: &ServerFacts, source: &Source<'_>, path: &Path) -> bool {
    let below = path.strip_prefix(&facts.data_directory).ok();
    let real = || {
        let folder = fs::canonicalize(&facts.data_directory).ok()?;
        let path = fs::canonicalize(path).ok()?;
        Some(match below {
            Some(below) => path == folder.join(below),
            None => path.starts_with(folder),
        })
    };
    // What lies at the same path of another host says nothing.
    let real = source.is_here().then(real).flatten();
    real.unwrap_or(below.is_some())
}

/// Goes from the files that the server names to those that they include.
struct Search<'a> {
    facts: &'a ServerFacts,
    source: &'a Source<'a>,
    waiting: VecDeque<Wanted>,
    seen: BTreeSet<PathBuf>,
    /// Those that are included.
    folders: BTreeSet<PathBuf>,
    missing: Vec<String>,
}

struct Wanted {
    file: ConfigFile,
    /// How many files stand between it and one that the server names.
    depth: u32,
    optional: bool,
}

impl<'a> Search<'a> {
    fn begin(facts: &'a ServerFacts, source: &'a Source<'a>) -> Self {
        let mut search = Self {
            facts,
            source,
            waiting: VecDeque::new(),
            seen: BTreeSet::new(),
            folders: BTreeSet::new(),
            missing: Vec::new(),
        };
        let more = source.more_files(facts).unwrap_or_else(|error| {
            search.missing.push(error.in_one_line());
            Vec::new()
        });
        for file in facts.config_files.iter().cloned().chain(more) {
            search.want(file, 0, false);
        }
        search
    }

    fn want(&mut self, file: ConfigFile, depth: u32, optional: bool) {
        // Relative paths are no paths of a server; deeper ones it refuses itself.
        if file.path.is_absolute() && depth <= MAX_DEPTH && self.seen.insert(file.path.clone()) {
            self.waiting.push_back(Wanted {
                file,
                depth,
                optional,
            });
        }
    }

    /// The next file that can be read.
    fn next(&mut self) -> Option<(PathBuf, Vec<u8>)> {
        loop {
            let Wanted {
                file,
                depth,
                optional,
            } = self.waiting.pop_front()?;
            match self.source.read(&file.path) {
                Ok(bytes) => {
                    self.follow(&file, &bytes, depth);
                    return Some((file.path, bytes));
                }
                Err(error) if optional && error.kind() == Kind::NotFound => {}
                Err(error) => self.note_missing(&file.path, &error),
            }
        }
    }

    fn note_missing(&mut self, path: &Path, error: &Error) {
        // The backup has those inside, and on another host there may be no right to see what
        // they include.
        if self.source.is_here() || !is_inside(self.facts, self.source, path) {
            self.missing.push(error.in_one_line());
        }
    }

    fn follow(&mut self, by: &ConfigFile, bytes: &[u8], depth: u32) {
        for include in conf_file::includes(by.syntax, bytes) {
            if self.seen.len() >= MAX_FILES {
                self.missing.push(format!(
                    "{}: more than {MAX_FILES} files are included, the others are left out",
                    by.path.display()
                ));
                return;
            }
            let resolve = |named: &Path| conf_file::resolve(&by.path, named);
            match include {
                Include::File(path) => self.want_at(resolve(&path), by.syntax, depth, false),
                Include::IfExists(path) => self.want_at(resolve(&path), by.syntax, depth, true),
                Include::Folder(folder) => self.want_all(&resolve(&folder), by.syntax, depth),
            }
        }
    }

    fn want_at(&mut self, path: PathBuf, syntax: Syntax, depth: u32, optional: bool) {
        self.want(ConfigFile { path, syntax }, depth + 1, optional);
    }

    fn want_all(&mut self, folder: &Path, syntax: Syntax, depth: u32) {
        match self.source.list(folder) {
            Ok(names) => {
                self.folders.insert(folder.to_owned());
                let mut names: Vec<_> = names
                    .into_iter()
                    .filter(|name| conf_file::counts_in_folder(name.as_bytes()))
                    .collect();
                names.sort();
                let room = MAX_FILES.saturating_sub(self.seen.len());
                if names.len() > room {
                    self.missing.push(format!(
                        "{}: more than {MAX_FILES} files, the others are left out",
                        folder.display()
                    ));
                }
                for name in names.into_iter().take(room) {
                    self.want_at(folder.join(name), syntax, depth, false);
                }
            }
            Err(error) => self.note_missing(folder, &error),
        }
    }
}

impl Source<'_> {
    fn folder(&self, path: &Path) -> Member {
        let mut member = self.member(path, 0);
        member.folder = true;
        if !self.is_here() {
            member.mode = 0o700;
        }
        member
    }

    /// How a file stands in the archive: as on disk, where we can see it there.
    fn member(&self, path: &Path, length: usize) -> Member {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let mut member = Member {
            path: FilePath(relative.as_os_str().as_bytes().into()),
            folder: false,
            size: length as u64,
            mode: 0o600,
            mtime: 0,
            uid: 0,
            gid: 0,
        };
        if self.is_here()
            && let Ok(found) = fs::metadata(path)
        {
            (member.mode, member.mtime) = (found.mode() & 0o7777, found.mtime());
            (member.uid, member.gid) = (found.uid().into(), found.gid().into());
        }
        member
    }
}

fn add(out: &mut ObjectWriter<'_>, member: &Member, bytes: &[u8]) -> Result<()> {
    put(out, &member.header()?)?;
    put(out, bytes)?;
    put(out, &[0; BLOCK as usize][..padding(member.size)])
}

fn put(out: &mut ObjectWriter<'_>, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes)
        .map_err(|error| Error::failed("can't store the configuration files").because(error))
}

/// PEM's mark of any kind of private key.
fn holds_private_key(bytes: &[u8]) -> bool {
    let mark = b"PRIVATE KEY-----";
    bytes.windows(mark.len()).any(|window| window == mark)
}
