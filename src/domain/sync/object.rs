//! An object of a backup, or the data of a dump, whose hash the source's description tells: copied, encrypted where
//! the target does that and the source doesn't, and hashed on the way. Other bytes than those never get their name.
//! What heals an object takes its place at once, when it is whole.

use std::io::{self, BufReader, Read, Write};

use super::pass::{Pass, Trouble, of_source, of_target};
use crate::{
    error::Error,
    repo::{backup::StoredObject, layout::ObjectName, sealed_upload::SealedUpload},
    util::hash::{Sha256, Sha256Writer},
};

/// What is copied, and what it must be.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub from: ObjectName,
    pub to: ObjectName,
    /// As the source has it.
    pub bytes: u64,
    pub sha256: Sha256,
    pub unencrypted_sha256: Option<Sha256>,
    pub way: Way,
    /// Whether it takes the place of what may be there.
    pub over: bool,
}

/// What happens on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    AsItIs,
    Encrypted,
    /// For what is healed alone: `sync` decrypts nothing.
    Decrypted,
}

impl Way {
    pub fn between(source_is_encrypted: bool, target_is_encrypted: bool) -> Self {
        match (source_is_encrypted, target_is_encrypted) {
            (false, true) => Way::Encrypted,
            (true, false) => Way::Decrypted,
            _ => Way::AsItIs,
        }
    }
}

impl Wanted {
    /// Whether an object of this hash and length is what comes of copying it.
    pub fn is_made(&self, (sha256, bytes): (Sha256, u64)) -> bool {
        match self.way {
            Way::AsItIs => (self.sha256, self.bytes) == (sha256, bytes),
            Way::Decrypted => self.unencrypted_sha256 == Some(sha256),
            // What was encrypted for itself nobody can know again without its description.
            Way::Encrypted => false,
        }
    }
}

/// Copies it; how the target has it.
pub fn copy(pass: &Pass<'_>, wanted: &Wanted) -> Result<StoredObject, Trouble> {
    let (source, target) = (&pass.source.repository, &pass.target.repository);
    let to = &wanted.to;
    let upload = target.storage().put_part(to).map_err(of_target)?;
    let mut sealed =
        SealedUpload::begin(target, to, upload, wanted.way == Way::Encrypted).map_err(of_target)?;
    let written = |error| {
        of_target(Error::passed(error, |error| {
            target.storage().failed("write", to, error)
        }))
    };
    let stored = source
        .storage()
        .get(&wanted.from, None)
        .map_err(of_source)?;
    let paced = pass.paced(stored);
    let mut reader: Box<dyn Read> = match wanted.way {
        Way::Decrypted => {
            let opened = source.keys().decryptor(BufReader::new(paced));
            Box::new(opened.map_err(of_source)?)
        }
        _ => Box::new(paced),
    };
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other
                .map_err(|error| of_source(source.storage().failed("read", &wanted.from, error)))?,
        };
        if count == 0 {
            break;
        }
        sealed.write_all(&buffer[..count]).map_err(written)?;
    }
    let length = sealed.length();
    let sealed = sealed.finish().map_err(written)?;
    let (read, expected) = match wanted.way {
        Way::AsItIs => (Some(sealed.sha256), Some(wanted.sha256)),
        Way::Encrypted => (sealed.unencrypted_sha256, Some(wanted.sha256)),
        Way::Decrypted => (Some(sealed.sha256), wanted.unencrypted_sha256),
    };
    if read != expected {
        let place = source.storage().place(&wanted.from);
        let what = match length == wanted.bytes || wanted.way == Way::Decrypted {
            true => format!("{place} has another SHA-256 than its description says"),
            false => format!("{place} has {length} bytes instead of {}", wanted.bytes),
        };
        return Err(of_source(Error::damaged(what).hint(
            "`pgstow verify` shows what else is damaged there; another repository may have it whole.",
        )));
    }
    let finished = match wanted.over {
        true => sealed.upload.finish_over(),
        false => sealed.upload.finish(),
    };
    finished.map_err(of_target)?;
    let stored = StoredObject {
        name: to.file_name().to_owned(),
        stored_bytes: sealed.stored_bytes,
        sha256: sealed.sha256,
        unencrypted_sha256: sealed.unencrypted_sha256.or(wanted.unencrypted_sha256),
    };
    if pass.verify {
        read_again(pass, wanted, &stored)?;
    }
    Ok(stored)
}

/// What the target took must be what it gives back; what is not goes at once, unless it was damaged before.
fn read_again(pass: &Pass<'_>, wanted: &Wanted, stored: &StoredObject) -> Result<(), Trouble> {
    let (target, name) = (&pass.target.repository, &wanted.to);
    let found = hash(pass, name)?;
    if found == (stored.sha256, stored.stored_bytes) {
        return Ok(());
    }
    if !wanted.over {
        target.delete_if_there(name).map_err(of_target)?;
    }
    Err(of_target(
        Error::failed(format!(
            "{} was stored, and has other bytes when it is read again",
            target.storage().place(name)
        ))
        .hint("look for errors of its disk, and of this host's memory."),
    ))
}

/// SHA-256 and length of an object of the target.
pub fn hash(pass: &Pass<'_>, name: &ObjectName) -> Result<(Sha256, u64), Trouble> {
    let storage = pass.target.repository.storage();
    let mut reader = storage.get(name, None).map_err(of_target)?;
    let mut hasher = Sha256Writer::new(io::sink());
    let mut buffer = vec![0; 128 << 10];
    loop {
        pass.cancel.check().map_err(of_target)?;
        let count = reader.read(&mut buffer);
        let count = count.map_err(|error| of_target(storage.failed("read", name, error)))?;
        if count == 0 {
            break;
        }
        hasher
            .write_all(&buffer[..count])
            .map_err(|error| of_target(storage.failed("hash", name, error)))?;
    }
    let length = hasher.length();
    Ok((hasher.finish().1, length))
}
