//! `pgstow init --make-key`: a pair of keys, before a repository is made that is encrypted with them.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::report::Report;
use crate::{
    error::{Error, IoContext, Kind, Result},
    repo::crypt::make_pair,
    util::fs::NewFile,
};

/// The owner's alone.
const MODE: u32 = 0o600;

#[derive(Debug, Serialize)]
pub struct KeyReport {
    /// The file of the private key, which nobody else has.
    identity_file: PathBuf,
    /// The public one.
    recipient: String,
}

/// Writes a new private key to `path`, where nothing may be.
pub fn run(path: &Path) -> Result<KeyReport> {
    let path = std::path::absolute(path).at("find", path)?;
    let (secret, recipient) = make_pair();
    let mut file = NewFile::create(&path, MODE)?;
    file.write_all(secret.expose().as_bytes())
        .at("write", &path)?;
    file.publish_new().map_err(|error| match error.kind() {
        Kind::AlreadyExists => Error::new(
            Kind::AlreadyExists,
            format!("{} is there already, and is left as it is", path.display()),
        )
        .hint("give the path of a new file: backups may be encrypted for the key that is in this one."),
        _ => error,
    })?;
    Ok(KeyReport {
        identity_file: path,
        recipient: recipient.to_string(),
    })
}

impl Report for KeyReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let file = self.identity_file.display();
        let recipient = &self.recipient;
        write!(
            out,
            "private key (identity) written to {file}
public key (recipient): {recipient}

In pgstow.toml, in the section of the repository, before `pgstow init`:
  encryption.recipients = [\"{recipient}\"]
On hosts that restore, and only there:
  encryption.identity_file = \"{file}\"

Nothing that is encrypted can be read without the private key, and nobody can make it again. Keep it:
1. Copy the file to two places apart from this host and from the repository, such as a password manager and a
   printed sheet in a safe.
2. Make sure of a copy: `age-keygen -y COPY` must print the public key above.
3. Where nothing is restored, remove it: `shred -u {file}`.
"
        )
    }
}
