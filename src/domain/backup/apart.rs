//! Whether a repository lies apart from its server: what lies in the data directory or in a
//! tablespace is lost together with it, and is copied into every backup.

use std::path::PathBuf;

use crate::{
    error::{Error, Result},
    postgres::{connection::Session, conninfo::ConnInfo, server_facts, server_facts::ServerFacts},
    repo::location::Location,
};

/// What the operator is to do about it.
pub const HINT: &str =
    "give it a folder outside of the data directory and all tablespaces, best on another disk.";

/// The server's folder that the repository lies in; None where the server is on another host.
pub fn around(
    location: &Location,
    session: &Session,
    info: &ConnInfo,
    facts: &ServerFacts,
) -> Result<Option<PathBuf>> {
    if !facts.is_here(info) {
        return Ok(None);
    }
    let spaces = server_facts::tablespaces(session)?;
    let spaces = spaces.into_iter().map(|(_, place)| place);
    let mut folders = vec![facts.data_directory.clone()];
    folders.extend(spaces.filter(|place| place.is_absolute()));
    Ok(folders.into_iter().find(|folder| location.lies_in(folder)))
}

/// Refuses a repository that is lost with its server.
pub fn refuse_inside(
    location: &Location,
    session: &Session,
    info: &ConnInfo,
    facts: &ServerFacts,
) -> Result<()> {
    match around(location, session, info, facts)? {
        None => Ok(()),
        Some(folder) => Err(Error::failed(format!(
            "the repository {location} lies in {} of the server itself, and would be lost with it",
            folder.display()
        ))
        .hint(HINT)),
    }
}
