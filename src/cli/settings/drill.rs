//! How drills are made: `[drill]` of pgstow.toml.

use super::{keys, layers::Layers, parse};
use crate::{
    commands::options::DrillSettings,
    error::{Error, Result},
};

impl Layers {
    pub fn drill_settings(&self) -> Result<DrillSettings> {
        Ok(DrillSettings {
            scratch: self.optional(keys::DRILL_SCRATCH, "", parse::absolute_path)?,
            sql: self
                .optional(keys::DRILL_SQL, "", parse::lines)?
                .unwrap_or_default(),
            database: self.optional(keys::DRILL_DATABASE, "", parse::text)?,
            amcheck_limit: self.always(keys::DRILL_AMCHECK_LIMIT, parse::duration)?,
            recovery_point: self.optional(keys::DRILL_RECOVERY_POINT, "", parse::duration)?,
            server: self
                .optional(keys::DRILL_SETTINGS, "", server_settings)?
                .unwrap_or_default(),
        })
    }
}

/// `name = value`, as in postgresql.conf, but that there are no quotes around the value.
fn server_settings(text: &str) -> Result<Vec<(String, String)>> {
    let setting = |line: String| {
        let wrong = || {
            Error::usage(format!("not a server's setting: {line:?}"))
                .hint("write each as \"name = value\".")
        };
        let (name, value) = line.split_once('=').ok_or_else(wrong)?;
        let name = name.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        match !name.is_empty() && name.chars().all(plain) {
            true => Ok((name.to_owned(), value.trim().to_owned())),
            false => Err(wrong()),
        }
    };
    parse::lines(text)?.into_iter().map(setting).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_names_and_values() {
        let read = server_settings("shared_preload_libraries = timescaledb\nx.y=a = b").unwrap();
        let expected = [
            ("shared_preload_libraries", "timescaledb"),
            ("x.y", "a = b"),
        ];
        assert_eq!(
            read,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        for bad in ["x", "= 1", "a b = c"] {
            assert!(server_settings(bad).is_err(), "{bad}");
        }
    }
}
