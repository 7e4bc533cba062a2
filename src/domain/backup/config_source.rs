//! Where configuration files are read: on this host, if the server runs here, else through it.

use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt, path::Path};

use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{
        conf_file::ConfigFile,
        connection::Session,
        control::{Control, State},
        row::Row,
        server_facts::{self, ServerFacts},
    },
};

/// No configuration file is larger.
const LIMIT: u64 = 16 << 20;

pub enum Source<'a> {
    Here,
    Server(&'a Session),
}

impl<'a> Source<'a> {
    pub fn of(facts: &ServerFacts, session: &'a Session) -> Self {
        let here = Control::read(&facts.data_directory).is_ok_and(|control| {
            // A primary and its standby are one system, often at the same path of two hosts.
            let standby = control.state == State::InArchiveRecovery;
            control.system == facts.system_id && standby == facts.standby
        });
        match here {
            true => Self::Here,
            false => Self::Server(session),
        }
    }

    pub fn is_here(&self) -> bool {
        matches!(self, Self::Here)
    }

    /// What the server tells of files that can't be followed from here.
    pub fn more_files(&self, facts: &ServerFacts) -> Result<Vec<ConfigFile>> {
        match self {
            Self::Here => Ok(Vec::new()),
            Self::Server(session) => server_facts::more_config_files(session, facts),
        }
    }

    /// All of a file; [`Kind::NotFound`] where there is none.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>> {
        match self {
            Self::Here => from_disk(path),
            Self::Server(session) => from_server(session, path),
        }
    }

    /// The names of all that is in a folder.
    pub fn list(&self, folder: &Path) -> Result<Vec<OsString>> {
        match self {
            Self::Here => {
                let entries = fs::read_dir(folder).at("read", folder)?;
                let files = entries.filter(|entry| {
                    // The server passes over folders, too.
                    !entry.as_ref().is_ok_and(|entry| entry.path().is_dir())
                });
                files
                    .map(|entry| Ok(entry.at("read", folder)?.file_name()))
                    .collect()
            }
            Self::Server(session) => {
                let rows = session
                    .query_rows("SELECT pg_ls_dir($1)", &[text(folder)?])
                    .map_err(|error| error.context(format!("can't list {}", folder.display())))?;
                let name = |row: &Row| row.bytes(0);
                let names = rows.iter().map(name).collect::<Result<Vec<_>>>()?;
                let names = names.into_iter().flatten();
                Ok(names.map(OsString::from_vec).collect())
            }
        }
    }
}

fn from_disk(path: &Path) -> Result<Vec<u8>> {
    let found = fs::metadata(path).at("read", path)?;
    if !found.is_file() || found.len() > LIMIT {
        return Err(no_configuration(path));
    }
    fs::read(path).at("read", path)
}

fn from_server(session: &Session, path: &Path) -> Result<Vec<u8>> {
    // One byte more than can be, so that no file is cut short in silence.
    let limit = (LIMIT + 1).to_string();
    let sql = "SELECT pg_read_binary_file($1, 0, $2, true)";
    let read = session.query_one(sql, &[text(path)?, &limit]);
    let row = read.map_err(|error| error.context(format!("can't read {}", path.display())))?;
    match row.bytes(0)? {
        Some(bytes) if bytes.len() as u64 > LIMIT => Err(no_configuration(path)),
        Some(bytes) => Ok(bytes),
        None => Err(Error::new(
            Kind::NotFound,
            format!("{} is not there", path.display()),
        )),
    }
}

fn no_configuration(path: &Path) -> Error {
    Error::failed(format!("{} is no configuration file", path.display()))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| Error::failed(format!("{} is no text", path.display())))
}
