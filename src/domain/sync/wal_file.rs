//! One WAL file from the source into the target, as it is compressed there.
//!
//! Its plain bytes are looked at on the way: what is cut off, damaged or another file than its name says gets no name
//! in the target. What it is to heal there it takes the place of. Where the target encrypts, the file is read twice, since its hash stands before it, in the clear;
//! a difference between the two is damage. What is encrypted in the source is looked at where there is a key for it. Else its
//! header alone is, and it is read twice as well: nothing tells the hash of what is stored, and an answer that was altered on the way
//! would show at the restore.

use std::io::{self, BufReader, Read, Write};

use super::{
    merge::{Seen, What},
    pass::{Pair, Pass, Trouble, of_source, of_target},
};
use crate::{
    domain::wal::stored::Stored,
    error::{Error, Kind},
    postgres::wal_name::WalName,
    repo::{
        document::{self, LIMIT},
        repository::System,
        storage::Upload,
    },
    util::hash::{Sha256, Sha256Reader, Sha256Writer, copy},
};

/// Stored bytes in the target; None: the same is there meanwhile.
type Brought = Result<Option<u64>, Trouble>;

pub fn bring(pass: &Pass<'_>, pair: &Pair, seen: &Seen) -> Brought {
    let file = match seen.what {
        What::Note(..) => return bring_note(pass, seen),
        What::File(file) => file,
    };
    if let WalName::Segment(segment) | WalName::Partial(segment) = file {
        pair.refuse_two_servers(pass, segment).map_err(of_source)?;
    }
    let from = pair.source.coding_of(file).encrypted;
    let to = pair.target.coding_of(file).encrypted;
    let one = One {
        pass,
        // As it is on the way.
        system: match (from, to) {
            (true, false) => &pair.target,
            _ => &pair.source,
        },
        target_system: &pair.target,
        file,
        seen,
        is_decrypted: from && !to,
    };
    match (from, to) {
        (false, true) => one.encrypt(),
        (true, true) if !pass.source.repository.keys().can_decrypt() => one.unseen(),
        _ => one.seen_on_the_way(),
    }
}

struct One<'a> {
    pass: &'a Pass<'a>,
    system: &'a System,
    target_system: &'a System,
    file: WalName,
    seen: &'a Seen,
    /// On the way, for what is healed alone: `sync` decrypts nothing.
    is_decrypted: bool,
}

impl One<'_> {
    fn seen_on_the_way(&self) -> Brought {
        let target = self.pass.target.repository.storage();
        let mut tee = self.tee()?;
        let plain = self.check(&mut tee);
        let Tee {
            upload,
            bytes,
            failed,
            ..
        } = tee;
        if let Some(error) = failed {
            return Err(of_target(target.failed("write", &self.seen.to, error)));
        }
        let plain = plain?;
        if self.is_decrypted || self.system.coding_of(self.file).encrypted {
            self.compare_told(plain)?;
        }
        self.finish(upload, bytes, plain)
    }

    fn encrypt(&self) -> Brought {
        let (source, target) = (&self.pass.source.repository, &self.pass.target.repository);
        let mut first = Sha256Reader::new(self.open()?);
        let plain = self.check(&mut first)?;
        let before = first.finish();

        let to = &self.seen.to;
        let failed = |error| of_target(target.storage().failed("write", to, error));
        let upload = target.storage().put_new(to).map_err(of_target)?;
        let counted = Sha256Writer::new(upload);
        let mut sealer = target
            .seal(to, counted, true, Some(plain))
            .map_err(of_target)?;
        let mut again = Sha256Reader::new(self.open()?);
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = again.read(&mut buffer).map_err(|error| {
                of_source(source.storage().failed("read", &self.seen.info.name, error))
            })?;
            if count == 0 {
                break;
            }
            sealer.write_all(&buffer[..count]).map_err(failed)?;
        }
        if again.finish() != before {
            return Err(of_source(self.changed()));
        }
        let counted = sealer.finish().map_err(failed)?;
        let bytes = counted.length();
        self.finish(counted.finish().0, bytes, plain)
    }

    /// Of encrypted bytes nobody here can say more than what their header tells.
    fn unseen(&self) -> Brought {
        let target = self.pass.target.repository.storage();
        let told = self.told()?;
        let unreadable = |error| of_source(self.unreadable(error));
        let (before, _) = Sha256::of_reader(self.open()?).map_err(unreadable)?;
        let mut tee = self.tee()?;
        let read = Sha256::of_reader(&mut tee);
        if let Some(error) = tee.failed {
            return Err(of_target(target.failed("write", &self.seen.to, error)));
        }
        let (again, _) = read.map_err(unreadable)?;
        if tee.bytes != self.seen.info.size {
            return Err(of_source(self.damaged("it has another length than listed")));
        }
        if again != before {
            return Err(of_source(self.changed()));
        }
        self.finish(tee.upload, tee.bytes, told)
    }

    /// The stored bytes, which go to the target as they are read.
    fn tee(&self) -> Result<Tee<Box<dyn Read + Send + '_>>, Trouble> {
        let target = self.pass.target.repository.storage();
        Ok(Tee {
            upload: target.put_new(&self.seen.to).map_err(of_target)?,
            reader: self.open()?,
            bytes: 0,
            failed: None,
        })
    }

    fn open(&self) -> Result<Box<dyn Read + Send + '_>, Trouble> {
        let source = &self.pass.source.repository;
        let stored = source.storage().get(&self.seen.info.name, None);
        let stored = self.pass.paced(stored.map_err(of_source)?);
        if !self.is_decrypted {
            return Ok(Box::new(stored));
        }
        let opened = source.keys().decryptor(BufReader::new(stored));
        Ok(Box::new(opened.map_err(of_source)?))
    }

    /// Reads all of the stored bytes; the hash of the plain ones, which are what the name says.
    fn check(&self, reader: &mut (impl Read + Send)) -> Result<Sha256, Trouble> {
        let mut plain = Sha256Writer::new(io::sink());
        let stored = Stored {
            repository: &self.pass.source.repository,
            system: self.system,
            object: &self.seen.info.name,
            file: self.file,
        };
        let hash = |bytes: &[u8]| {
            let hashed = plain.write_all(bytes);
            hashed.map_err(|error| Error::failed("can't hash").because(error))
        };
        stored.read(&mut *reader, hash).map_err(of_source)?;
        // A decoder may leave the last of them.
        let rest = copy(reader, &mut io::sink());
        rest.map_err(|error| of_source(self.unreadable(error)))?;
        Ok(plain.finish().1)
    }

    /// The hash that the header of an encrypted segment tells in the clear.
    fn told(&self) -> Result<Sha256, Trouble> {
        let source = &self.pass.source.repository;
        let told = source.clear_hash(&self.seen.info.name).map_err(of_source)?;
        told.ok_or_else(|| of_source(self.damaged("its header tells no hash of what is in it")))
    }

    fn compare_told(&self, plain: Sha256) -> Result<(), Trouble> {
        match self.told()? == plain {
            true => Ok(()),
            false => Err(of_source(
                self.damaged("its header tells another hash than it has"),
            )),
        }
    }

    /// Gives it its name; success too where the same is there already.
    fn finish(&self, mut upload: Box<dyn Upload>, bytes: u64, plain: Sha256) -> Brought {
        upload.settle().map_err(of_target)?;
        if self.seen.there.is_some() {
            upload.finish_over().map_err(of_target)?;
            return Ok(Some(bytes));
        }
        match upload.finish() {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == Kind::AlreadyExists => self.compare(plain, error),
            Err(error) => Err(of_target(error)),
        }
    }

    fn compare(&self, plain: Sha256, taken: Error) -> Brought {
        let (target, to) = (&self.pass.target.repository, &self.seen.to);
        let there = match self.target_system.coding_of(self.file).encrypted {
            true => target.clear_hash(to).map_err(of_target)?,
            false => {
                let coding = self.target_system.coding_of(self.file);
                let read = target.read_coded(to, coding).map_err(of_target)?;
                let hashed = Sha256::of_reader(read);
                let failed = |error| of_target(target.storage().failed("read", to, error));
                Some(hashed.map_err(failed)?.0)
            }
        };
        match there == Some(plain) {
            true => Ok(None),
            false => Err(of_target(
                Error::new(
                    Kind::AlreadyExists,
                    format!("{} is stored there with other bytes", self.file),
                )
                .because(taken)
                .hint(
                    "two servers archived under one name into these repositories: find out which of both is right.",
                ),
            )),
        }
    }

    /// Nothing is known to be wrong with it.
    fn changed(&self) -> Error {
        self.damaged("two reads of it gave different bytes")
            .hint("the next sync reads it again; if that says the same, look at the way to that repository.")
    }

    fn damaged(&self, why: &str) -> Error {
        let source = self.pass.source.repository.storage();
        let place = source.place(&self.seen.info.name);
        Error::damaged(format!("{place} is damaged: {why}"))
    }

    fn unreadable(&self, error: io::Error) -> Error {
        let source = self.pass.source.repository.storage();
        source.failed("read", &self.seen.info.name, error)
    }
}

/// Documents seal themselves.
fn bring_note(pass: &Pass<'_>, seen: &Seen) -> Brought {
    let (source, target) = (
        pass.source.repository.storage(),
        pass.target.repository.storage(),
    );
    let name = &seen.info.name;
    let bytes = source.read(name, LIMIT).map_err(of_source)?;
    document::parse::<serde_json::Value>(&bytes, &source.place(name)).map_err(of_source)?;
    match target.create(&seen.to, &bytes) {
        Ok(()) => Ok(Some(bytes.len() as u64)),
        Err(error) if error.kind() == Kind::AlreadyExists => Ok(None),
        Err(error) => Err(of_target(error)),
    }
}

/// Writes what is read.
struct Tee<R> {
    reader: R,
    upload: Box<dyn Upload>,
    bytes: u64,
    /// Of the writing, which is no matter of what is read.
    failed: Option<io::Error>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if let Err(error) = self.upload.write_all(&buffer[..count]) {
            self.failed = Some(error);
            return Err(io::Error::other("what was read can't be written"));
        }
        self.bytes += count as u64;
        Ok(count)
    }
}
