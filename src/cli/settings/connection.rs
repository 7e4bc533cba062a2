//! Connection settings: what ranks above a service file, and what below it.

use std::path::PathBuf;

use super::{
    build::parsed,
    keys::{self, Key},
    layers::{Found, Layers},
    old_names::OLD_NAMES,
    parse,
};
use crate::{
    commands::options::ConnectionSettings,
    error::{Error, Result},
    postgres::conninfo::ConnParams,
};

/// Keys whose values are libpq's texts.
const KEYS: [Key; 12] = [
    keys::HOST,
    keys::PORT,
    keys::USER,
    keys::DATABASE,
    keys::PASSFILE,
    keys::SERVICE,
    keys::SERVICEFILE,
    keys::SSLMODE,
    keys::SSLROOTCERT,
    keys::SSLCERT,
    keys::SSLKEY,
    keys::CHANNEL_BINDING,
];

impl Layers {
    pub(super) fn connection_settings(&self, cluster: &str) -> Result<ConnectionSettings> {
        let password = self.find(keys::PASSWORD, cluster)?;
        let is_old = password.as_ref().is_some_and(|found| found.old);
        let password = password.map(|found| self.secret(found));
        let (password, environment_password) = match is_old {
            true => (None, password),
            false => (password, None),
        };
        let mut environment = self.environment.of_libpq();
        for key in KEYS {
            let Some(found) = self.find(key, cluster)? else {
                continue;
            };
            // libpq has no parameter for the service file: only the variable.
            if found.old || key == keys::SERVICEFILE {
                self.check(key, cluster, &found)?;
                environment.insert(libpq_name(key).to_owned(), found.text);
            }
        }
        Ok(ConnectionSettings {
            set: self.conn_params(cluster)?,
            password,
            environment,
            environment_password,
        })
    }

    fn conn_params(&self, cluster: &str) -> Result<ConnParams> {
        let find = |key: Key, section: &str| {
            let found = self.find(key, section)?.filter(|found| !found.old);
            if let Some(found) = &found {
                self.check(key, section, found)?;
            }
            Ok::<_, Error>(found.map(|found| found.text))
        };
        let text = |key: Key| find(key, cluster);
        let path = |key: Key| Ok::<_, Error>(text(key)?.map(PathBuf::from));
        Ok(ConnParams {
            service: text(keys::SERVICE)?,
            host: text(keys::HOST)?,
            port: text(keys::PORT)?.as_deref().map(parse::port).transpose()?,
            user: text(keys::USER)?,
            database: text(keys::DATABASE)?,
            password: None,
            passfile: path(keys::PASSFILE)?,
            sslmode: text(keys::SSLMODE)?,
            sslrootcert: text(keys::SSLROOTCERT)?,
            sslcert: path(keys::SSLCERT)?,
            sslkey: path(keys::SSLKEY)?,
            connect_timeout: find(keys::CONNECT_TIMEOUT, "")?
                .as_deref()
                .map(parse::time_limit)
                .transpose()?,
            channel_binding: text(keys::CHANNEL_BINDING)?,
            application_name: None,
            retries: Some(self.always(keys::CONNECT_RETRIES, parse::count)?),
            delay: Some(self.always(keys::CONNECT_DELAY, parse::duration)?),
        })
    }

    /// Refuses a bad value while its source is known.
    fn check(&self, key: Key, section: &str, found: &Found) -> Result<()> {
        match key {
            keys::PORT => parsed(key, section, found, parse::port).map(drop),
            keys::SSLMODE => parsed(key, section, found, parse::sslmode).map(drop),
            keys::CHANNEL_BINDING => parsed(key, section, found, parse::channel_binding).map(drop),
            keys::CONNECT_TIMEOUT => parsed(key, section, found, parse::time_limit).map(drop),
            _ => Ok(()),
        }
    }
}

/// libpq's variable for a key: the first row that leads to it.
fn libpq_name(key: Key) -> &'static str {
    let row = OLD_NAMES.iter().find(|old| old.key() == Some(key));
    row.map_or("", |old| old.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_variable_of_libpq() {
        for key in KEYS {
            assert!(libpq_name(key).starts_with("PG"), "{key:?}");
        }
    }
}
