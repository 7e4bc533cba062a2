//! `config.tar`: configuration files that lie outside the data directory (Debian's layout), and
//! so in no part. WAL doesn't carry changes of them either.

use std::{
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use super::member::{BLOCK, Member, padding};
use crate::{
    error::{Error, IoContext, Result},
    postgres::{connection::Session, control::Control, server_facts::ServerFacts},
    repo::{file_index::FilePath, object_writer::ObjectWriter},
};

/// No configuration file is larger.
const LIMIT: u64 = 16 << 20;

/// What was stored, and what could not be read, with the reason.
#[derive(Debug, Default)]
pub struct Stored {
    pub files: Vec<String>,
    pub missing: Vec<String>,
}

/// The files that `facts` name outside the data directory.
pub fn outside(facts: &ServerFacts) -> Vec<&Path> {
    let real = fs::canonicalize(&facts.data_directory);
    let inside = |path: &Path| {
        path.starts_with(&facts.data_directory)
            || real
                .as_ref()
                .is_ok_and(|real| fs::canonicalize(path).is_ok_and(|path| path.starts_with(real)))
    };
    let paths = facts.config_files.iter().map(|path| path.as_path());
    paths
        .filter(|path| path.is_absolute() && !inside(path))
        .collect()
}

/// Writes the files as a tar archive, under their full paths without the first slash.
///
/// Read on the server's host if that is where we are, else through the server.
pub fn write(facts: &ServerFacts, session: &Session, out: &mut ObjectWriter<'_>) -> Result<Stored> {
    let here =
        Control::read(&facts.data_directory).is_ok_and(|control| control.system == facts.system_id);
    let mut stored = Stored::default();
    for path in outside(facts) {
        let read = if here {
            from_disk(path)
        } else {
            from_server(session, path)
        };
        match read {
            // Keys never go into a backup: who may read it must not become the server.
            Ok((_, bytes)) if holds_private_key(&bytes) => {
                stored.missing.push(format!(
                    "{}: holds a private key, which is never taken",
                    path.display()
                ));
            }
            Ok((member, bytes)) => {
                add(out, &member, &bytes)?;
                stored.files.push(path.display().to_string());
            }
            Err(error) => stored.missing.push(error.in_one_line()),
        }
    }
    put(out, &[0; 2 * BLOCK as usize])?;
    Ok(stored)
}

fn from_disk(path: &Path) -> Result<(Member, Vec<u8>)> {
    let found = fs::metadata(path).at("read", path)?;
    if !found.is_file() || found.len() > LIMIT {
        return Err(Error::failed(format!(
            "{} is no configuration file",
            path.display()
        )));
    }
    let bytes = fs::read(path).at("read", path)?;
    let mut member = member(path, bytes.len());
    (member.mode, member.mtime) = (found.mode() & 0o7777, found.mtime());
    (member.uid, member.gid) = (found.uid().into(), found.gid().into());
    Ok((member, bytes))
}

fn from_server(session: &Session, path: &Path) -> Result<(Member, Vec<u8>)> {
    let text = path
        .to_str()
        .ok_or_else(|| Error::failed(format!("{} is no text", path.display())))?;
    let row = session.query_one("SELECT pg_read_binary_file($1)", &[text])?;
    let bytes = row.bytes(0)?.unwrap_or_default();
    Ok((member(path, bytes.len()), bytes))
}

fn member(path: &Path, length: usize) -> Member {
    let relative = path.strip_prefix("/").unwrap_or(path);
    Member {
        path: FilePath(relative.as_os_str().as_bytes().into()),
        folder: false,
        size: length as u64,
        mode: 0o600,
        mtime: 0,
        uid: 0,
        gid: 0,
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
