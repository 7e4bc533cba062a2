//! Which source a backup takes: the data directory where it can be read here, else the stream.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use tracing::debug;

use super::{
    local::Local,
    options::{Method, Options},
    source::Source,
    stream::Stream,
};
use crate::{
    error::{Error, Result},
    postgres::{
        connection::Session,
        conninfo::ConnInfo,
        control::Control,
        low_level_backup::LowLevelBackup,
        postmaster::Postmaster,
        server_facts::{self, ServerFacts},
    },
    util::cancel::Cancel,
};

/// The source that was asked for, or the best that there is.
pub fn source<'a>(
    options: &Options,
    info: &'a ConnInfo,
    session: &'a Session,
    facts: &'a ServerFacts,
    cancel: &Cancel,
) -> Result<Box<dyn Source + 'a>> {
    if options.method != Method::Stream {
        let folder = options.data_dir.as_ref().unwrap_or(&facts.data_directory);
        match obstacle(folder, session, facts)? {
            None => return Ok(Box::new(Local::new(folder.clone(), session, facts))),
            Some(obstacle) if options.method == Method::Local => {
                return Err(Error::failed(format!(
                    "can't read the data directory {}: {obstacle}",
                    folder.display()
                ))
                .hint("run pgstow on the server's host as the server's user, or take `--method stream`."));
            }
            Some(obstacle) => debug!("not read from the data directory: {obstacle}"),
        }
    }
    Ok(Box::new(Stream::connect(info, session, facts, cancel)?))
}

/// Whether [`Method::Auto`] reads the data directory, where the server says that it is.
pub fn reads_data_directory(session: &Session, facts: &ServerFacts) -> Result<bool> {
    obstacle(&facts.data_directory, session, facts).map(|obstacle| obstacle.is_none())
}

/// Why the folder can't be read as the data directory of the server behind `session`.
///
/// A copy of the same cluster may lie on this host, or even run, on the same port and since the
/// same second: so the process that answers must be a child of the one that works there.
fn obstacle(folder: &Path, session: &Session, facts: &ServerFacts) -> Result<Option<String>> {
    let control = match Control::read(folder) {
        Ok(control) => control,
        Err(error) => return Ok(Some(error.in_one_line())),
    };
    if control.system != facts.system_id {
        return Ok(Some(format!(
            "it is the cluster {}, the server is {}",
            control.system, facts.system_id
        )));
    }
    // All files belong to the server's user, and some only that user may read.
    let owner = fs::metadata(folder).map(|found| found.uid());
    if !owner.is_ok_and(|owner| [0, owner].contains(&rustix::process::geteuid().as_raw())) {
        return Ok(Some("it belongs to another user".to_owned()));
    }
    let running = match Postmaster::running(folder) {
        Ok(Some(running)) => running,
        Ok(None) => return Ok(Some("no server runs on it".to_owned())),
        Err(error) => return Ok(Some(error.in_one_line())),
    };
    if !server_facts::start(session)?.is_of(&running) {
        return Ok(Some(
            "another server runs on it than the one that answers".to_owned(),
        ));
    }
    if !LowLevelBackup::is_permitted(session)? {
        return Ok(Some(
            "the role may not call pg_backup_start and pg_backup_stop".to_owned(),
        ));
    }
    Ok(None)
}
