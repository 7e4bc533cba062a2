//! The programs that make dumps and restore them: whether those that fit the server are installed.

use super::finding::Finding;
use crate::{
    domain::logical::restore::programs,
    postgres::{client_programs::ClientPrograms, programs::Search, version::Major},
};

const NAME: &str = "pg_dump";

/// Beside it.
const OTHERS: [&str; 3] = ["pg_dumpall", "pg_restore", "psql"];

/// For a server of `version`, as its server_version_num.
pub fn installed(search: &Search, version: u32) -> Finding {
    let found = Major::from_server_version_num(version).and_then(|server| {
        let found = ClientPrograms::find(search, server)?;
        for program in OTHERS {
            found.alone(program)?;
        }
        Ok((server, found))
    });
    let (server, found) = match found {
        Ok(found) => found,
        Err(error) => return Finding::of_error(NAME, &error),
    };
    match programs::for_server(search, server, Some(found.major())) {
        Ok(_) => Finding::ok(NAME, format!("version {}", found.version())),
        Err(error) => Finding::warning(
            NAME,
            format!(
                "version {}, whose dumps don't go back into this server: {}",
                found.version(),
                error.in_one_line()
            ),
            error
                .hint_text()
                .unwrap_or("install that of the server's version."),
        ),
    }
}
