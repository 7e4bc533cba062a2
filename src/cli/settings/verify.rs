//! Where dumps are restored to be checked, and by what.

use std::path::PathBuf;

use super::{keys, layers::Layers, parse};
use crate::{
    commands::options::{HealthSettings, Place, VerifyDumpSettings},
    error::Result,
};

impl Layers {
    /// Names and patterns of databases that are never dropped.
    pub fn production(&self) -> Result<Vec<String>> {
        self.names(keys::DUMP_PRODUCTION)
    }

    /// The file that `verify` restores where it is told of nothing else.
    pub fn verify_from(&self) -> Result<Option<PathBuf>> {
        self.optional(keys::VERIFY_FROM, "", parse::path)
    }

    pub fn verify_dump_settings(&self) -> Result<VerifyDumpSettings> {
        // Old scripts set some of them to nothing.
        let text = |key| -> Result<Option<String>> {
            let found = self.optional(key, "", parse::text)?;
            Ok(found.filter(|text| !text.is_empty()))
        };
        let (host, user, database) = (
            text(keys::VERIFY_HOST)?,
            text(keys::VERIFY_USER)?,
            text(keys::VERIFY_DATABASE)?,
        );
        let port = self.optional(keys::VERIFY_PORT, "", parse::port)?;
        let password = self.find(keys::VERIFY_PASSWORD, "")?;
        let password = password.map(|found| self.secret(found));
        let passfile = self.optional(keys::VERIFY_PASSFILE, "", parse::path)?;
        let sslmode = self.optional(keys::VERIFY_SSLMODE, "", parse::sslmode)?;
        let named = host.is_some() || port.is_some() || user.is_some() || database.is_some();
        let place = self.optional(keys::VERIFY_PLACE, "", parse::verify_place)?;
        Ok(VerifyDumpSettings {
            // Who names a server means it.
            place: place.unwrap_or(match named || password.is_some() {
                true => Place::Server,
                false => Place::Scratch,
            }),
            host,
            port,
            user,
            password,
            passfile,
            sslmode,
            database,
            sql: self
                .optional(keys::VERIFY_SQL, "", parse::lines)?
                .unwrap_or_default(),
            health: HealthSettings {
                url: text(keys::VERIFY_HEALTH_URL)?,
                command: text(keys::VERIFY_HEALTH_COMMAND)?,
                limit: self.always(keys::VERIFY_HEALTH_TIMEOUT, parse::time_limit)?,
            },
        })
    }
}
