//! The programs that make dumps and restore them: whether those that fit the server are installed, and whether they can
//! be used.

use super::finding::Finding;
use crate::{
    domain::logical::restore::programs,
    postgres::{client_programs::ClientPrograms, programs::Search, version::Major},
    repo::crypt::Keys,
};

const NAME: &str = "pg_dump";

/// Beside it.
const OTHERS: [&str; 3] = ["pg_dumpall", "pg_restore", "psql"];

/// Whether dumps of a repository can be restored here, where each is to be (`dump.verify`).
pub fn verifiable(keys: &Keys) -> Option<Finding> {
    let is_sealed = keys.encrypt() && !keys.can_decrypt();
    is_sealed.then(|| {
        Finding::warning(
            "dump.verify",
            "each dump is to be verified, and this host has no private key to decrypt it with: each run will fail, \
             behind dumps that are made",
            "set dump.verify = false here, and run `pgstow verify --dumps` where the key is; or give this host one \
             (encryption.identity_file).",
        )
    })
}

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
