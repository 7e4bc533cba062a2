//! How to connect: what settings and libpq's variables say, kept apart because a service file
//! ranks between the two.

use std::collections::BTreeMap;

use crate::{
    error::Result,
    postgres::conninfo::{ConnInfo, ConnParams},
    util::secret::SecretFrom,
};

#[derive(Clone, Debug, Default)]
pub struct ConnectionSettings {
    /// From `PGSTOW_` variables and pgstow.toml; its password is `password`.
    pub set: ConnParams,
    pub password: Option<SecretFrom>,
    /// libpq's variables, whether they were set by these names or by those of old scripts; of
    /// the process and the env file. PGPASSWORD is `environment_password`.
    pub environment: BTreeMap<String, String>,
    pub environment_password: Option<SecretFrom>,
}

impl ConnectionSettings {
    /// All that a connection needs; only now are files of passwords and services read.
    pub fn resolve(&self) -> Result<ConnInfo> {
        let read = |from: &Option<SecretFrom>| from.as_ref().map(SecretFrom::read).transpose();
        let set = ConnParams {
            password: read(&self.password)?,
            ..self.set.clone()
        };
        let of_environment = match set.password {
            Some(_) => None,
            None => read(&self.environment_password)?,
        };
        ConnInfo::resolve(&set, &|name| match name {
            "PGPASSWORD" => of_environment
                .as_ref()
                .map(|secret| secret.expose().to_owned()),
            _ => self.environment.get(name).cloned(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::util::secret::Secret;

    #[test]
    fn a_set_password_ranks_above_one_of_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, " pass word \r\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let text = |text: &str| Some(SecretFrom::Setting(Secret::new(text)));
        let file = Some(SecretFrom::File(file));
        for (password, environment_password, expected) in [
            (None, None, None),
            (text("set"), text("environment"), Some("set")),
            (None, text("environment"), Some("environment")),
            (None, file.clone(), Some(" pass word ")),
            (file, text("environment"), Some(" pass word ")),
        ] {
            let settings = ConnectionSettings {
                password,
                environment_password,
                environment: [("PGUSER".to_owned(), "someone".to_owned())].into(),
                ..ConnectionSettings::default()
            };
            let info = settings.resolve().unwrap();
            assert_eq!(info.password.as_ref().map(Secret::expose), expected);
            assert_eq!(info.user, "someone");
        }
    }
}
