//! What is restored: a dump of a repository, or a file that perhaps nobody but its maker knows.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::warn;

use super::{
    script::{Scan, Script},
    shape::Shape,
    sums::{Sums, read_small},
};
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{archive_toc::ArchiveToc, version::Major},
    repo::{
        codec::Codec,
        coding::Coding,
        crypt::Keys,
        document,
        dump::Dump,
        dump_name::{DumpFormat, DumpObject},
        repository::Repository,
    },
    util::{
        cancel::Cancel,
        hash::{self, Sha256Reader},
        meter::{Meter, Watched},
    },
};

pub struct Material {
    from: From,
    pub shape: Shape,
    /// What is known of it; of a file what lies beside it.
    pub description: Option<Box<Dump>>,
    /// Of the bytes as they are stored.
    sums: Sums,
    keys: Arc<Keys>,
}

enum From {
    Repository(Repository, Box<Dump>),
    Path(PathBuf),
}

/// Whether pg_dump was told how to write texts: then a script doesn't tell the encoding of its database.
fn is_recoded(dump: &Dump) -> bool {
    let mut options = dump.options.iter();
    options.any(|option| option.starts_with("--enc") || option.starts_with("-E"))
}

/// What reading it once told.
pub struct Checked {
    /// Whether there was a SHA-256 to compare with.
    pub compared: bool,
    pub bytes: u64,
    pub about: About,
    /// What is wrong beside the data, which is right: its `.sha256` tells another sum, or nothing.
    pub flaw: Option<String>,
    /// Whether there is a `.sha256` that tells its sum.
    pub has_sum_file: bool,
}

impl Checked {
    /// For who restores: the data is right, and that is what counts.
    pub fn tell_flaw(&self) {
        match &self.flaw {
            Some(flaw) if self.compared => {
                warn!("{flaw}; the data is restored, which is as its description tells");
            }
            Some(flaw) => {
                warn!("{flaw}; the data is restored all the same, which nobody could compare")
            }
            None => {}
        }
    }
}

/// What it says of itself.
pub enum About {
    Archive(ArchiveToc),
    Script(Script),
}

impl About {
    pub fn toc(&self) -> Option<&ArchiveToc> {
        match self {
            About::Archive(toc) => Some(toc),
            About::Script(_) => None,
        }
    }

    /// The major of the server that was dumped, and of the pg_dump that did it.
    pub fn majors(&self) -> (Option<u32>, Option<u32>) {
        let (server, client) = match self {
            About::Archive(toc) => (&toc.server_version, &toc.client_version),
            About::Script(script) => (&script.server_version, &script.client_version),
        };
        let major = |version: &Option<String>| {
            let version = version.as_ref()?;
            let end = version.find(|c: char| !c.is_ascii_digit());
            version[..end.unwrap_or(version.len())].parse().ok()
        };
        (major(server), major(client))
    }

    /// The oldest pg_restore that surely reads it.
    pub fn maker(&self) -> Option<Major> {
        self.majors().1.and_then(|major| Major::new(major).ok())
    }
}

impl Material {
    pub fn stored(repository: &Repository, dump: Box<Dump>) -> Result<Self> {
        Ok(Self {
            shape: match dump.dump_format {
                DumpFormat::Plain => Shape::Plain(dump.coding()),
                DumpFormat::Custom | DumpFormat::Tar => Shape::Archive(dump.coding()),
                DumpFormat::Directory => Shape::Packed(dump.coding()),
            },
            description: Some(dump.clone()),
            sums: Sums::stored(repository, &dump)?,
            keys: repository.shared_keys(),
            from: From::Repository(repository.clone(), dump),
        })
    }

    /// A file, with what lies beside it: `.sha256` in sha256sum's format, `.json` of pgstow.
    pub fn file(path: &Path, keys: &Arc<Keys>) -> Result<Self> {
        // What lies beside it lies beside what a link leads to.
        let path = &fs::canonicalize(path).at("read", path)?;
        let shape = Shape::of(path, keys)?;
        let description = description_beside(path)?;
        Ok(Self {
            from: From::Path(path.to_owned()),
            shape,
            sums: Sums::of_file(path, description.as_deref())?,
            description,
            keys: Arc::clone(keys),
        })
    }

    /// As people call it.
    pub fn name(&self) -> String {
        match &self.from {
            From::Repository(_, dump) => dump.name.to_string(),
            From::Path(path) => path.display().to_string(),
        }
    }

    /// The dump of a repository that it is.
    pub fn in_repository(&self) -> Option<(&Repository, &Dump)> {
        match &self.from {
            From::Repository(repository, dump) => Some((repository, dump)),
            From::Path(_) => None,
        }
    }

    /// The file or folder, where it is one of this host.
    pub fn path(&self) -> Option<PathBuf> {
        match &self.from {
            From::Repository(repository, dump) => {
                let object = repository.layout().dump_object(&dump.name, dump.object());
                let folder = repository.location().folder()?;
                Some(folder.join(object.as_str()))
            }
            From::Path(path) => Some(path.clone()),
        }
    }

    /// For who restores: that something is not there is no error of the restore.
    pub fn tell_lacks(&self) {
        if let Some(lacks) = self.description.as_ref().and_then(|dump| dump.lacks()) {
            warn!(
                "{} was made with {lacks}: what that leaves out does not come back",
                self.name()
            );
        }
        // Of a database it is what was told of it alone, such as counts.
        let globals = self
            .description
            .iter()
            .filter(|dump| dump.database.is_none());
        for missing in globals.flat_map(|dump| &dump.missing) {
            warn!("{} does not bring back {missing}", self.name());
        }
    }

    /// The bytes as they are stored.
    fn open(&self) -> Result<Box<dyn Read + Send>> {
        match &self.from {
            From::Repository(repository, dump) => {
                let object = repository.layout().dump_object(&dump.name, dump.object());
                repository.storage().get(&object, None)
            }
            From::Path(path) => Ok(Box::new(File::open(path).at("read", path)?)),
        }
    }

    /// The bytes as pg_dump wrote them.
    pub fn plain(&self) -> Result<Box<dyn Read + Send>> {
        let decoded = self.decode(self.open()?);
        decoded.map_err(|error| self.damaged(error))
    }

    fn decode<'r>(&self, stored: impl Read + Send + 'r) -> io::Result<Box<dyn Read + Send + 'r>> {
        self.shape.coding().decoder(&self.keys, stored)
    }

    fn damaged(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Error::damaged(format!("{} is damaged", self.name())).because(error)
            }
            _ => match error.downcast::<Error>() {
                Ok(own) if own.kind() == Kind::Key => {
                    own.context(format!("can't decrypt {}", self.name()))
                }
                Ok(own) => own,
                Err(error) => Error::io("read", Path::new(&self.name()), error),
            },
        }
    }

    /// Reads it whole: an error of kind `Damaged` unless it is what was stored.
    pub fn check(&self, meter: &Meter, cancel: &Cancel) -> Result<Checked> {
        if self.shape == Shape::Folder {
            return self.check_folder();
        }
        meter.begin("checking the dump", 0);
        let mut stored = Sha256Reader::new(Watched {
            inner: self.open()?,
            meter,
            cancel,
        });
        let read = self.read_once(&mut stored);
        // What is behind the end of a stream belongs to the sum.
        let rest = hash::copy(&mut stored, &mut io::sink());
        cancel.check()?;
        rest.map_err(|error| self.damaged(error))?;
        let bytes = stored.length();
        let sum = stored.finish();
        let flaw = self.sums.compare(sum, &self.name())?;
        let mut about = read.map_err(|error| self.damaged(error))?;
        if let (About::Script(script), Some(dump)) = (&mut about, &self.description) {
            script.locale.clone_from(&dump.locale);
        }
        if let About::Script(script) = &about
            && script.is_cut_off()
        {
            let what = format!("{} is cut off: its last line is missing", self.name());
            return Err(Error::damaged(what).hint("use another dump, or a whole copy of this one."));
        }
        Ok(Checked {
            compared: self.sums.are_told(),
            has_sum_file: self.sums.are_told_beside(),
            bytes,
            about,
            flaw,
        })
    }

    fn read_once(&self, stored: &mut (impl Read + Send)) -> io::Result<About> {
        let mut plain = self.decode(stored)?;
        match self.shape {
            Shape::Plain(_) => {
                let mut scan = Scan::default();
                hash::copy(&mut plain, &mut scan)?;
                let mut script = scan.finish();
                if self.description.as_deref().is_some_and(is_recoded) {
                    script.encoding = None;
                }
                Ok(About::Script(script))
            }
            _ => {
                let toc = toc_of(&mut plain, matches!(self.shape, Shape::Packed(_)));
                // Damage of what is compressed shows at its end.
                hash::copy(&mut plain, &mut io::sink())?;
                Ok(About::Archive(toc?))
            }
        }
    }

    fn check_folder(&self) -> Result<Checked> {
        let From::Path(folder) = &self.from else {
            return Err(Error::failed("no folder"));
        };
        let path = folder.join("toc.dat");
        let file = File::open(&path).at("read", &path)?;
        let mut bytes = 0;
        for entry in fs::read_dir(folder).at("list", folder)? {
            bytes += entry
                .and_then(|entry| entry.metadata())
                .at("list", folder)?
                .len();
        }
        Ok(Checked {
            compared: false,
            bytes,
            about: About::Archive(ArchiveToc::read(io::BufReader::new(file))?),
            flaw: None,
            has_sum_file: false,
        })
    }
}

/// Where it is depends on the format: at the beginning, or in a member of a tar archive.
fn toc_of(plain: &mut (impl Read + Send), packed: bool) -> io::Result<ArchiveToc> {
    let mut plain = io::BufReader::new(plain);
    if !packed
        && io::BufRead::fill_buf(&mut plain)?.starts_with(crate::postgres::archive_toc::MAGIC)
    {
        return Ok(ArchiveToc::read(plain)?);
    }
    let mut archive = tar::Archive::new(plain);
    for member in archive.entries()? {
        let member = member?;
        let path = member.path()?.into_owned();
        if path.file_name().is_some_and(|name| name == "toc.dat") {
            return Ok(ArchiveToc::read(member)?);
        }
    }
    Err(Error::damaged("the archive has no toc.dat").into())
}

/// `x.json` of `x.sql.gz`.
fn description_beside(path: &Path) -> Result<Option<Box<Dump>>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Ok(None);
    };
    let Some(stem) = DumpObject::stem(name) else {
        return Ok(None);
    };
    let beside = path.with_file_name(format!("{stem}.json"));
    let bytes = match read_small(&beside, document::LIMIT)? {
        Some(bytes) => bytes,
        None => return Ok(None),
    };
    let dump: Box<Dump> = document::parse(&bytes, &beside.display().to_string())?;
    // A description of another file says nothing.
    Ok((dump.data.name == name).then_some(dump))
}

/// Whether what has this shape is SQL that is read as it comes.
pub fn is_script(shape: Shape) -> bool {
    matches!(shape, Shape::Plain(_))
}

/// Whether pg_restore can read a file of this shape as it lies.
pub fn is_archive_as_it_lies(shape: Shape) -> bool {
    match shape {
        Shape::Archive(coding) => coding == Coding::from(Codec::None),
        Shape::Folder => true,
        Shape::Plain(_) | Shape::Packed(_) => false,
    }
}
