//! A text that must not be seen: passwords and keys.

use std::{fmt, path::PathBuf};

use zeroize::Zeroizing;

use super::private_file;
use crate::error::{Error, Result};

/// Shows nothing in `Debug` and has no `Display`, so that it can't slip into a log or an error. Its memory is
/// cleared when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where a secret comes from: its file is read when it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFrom {
    Setting(Secret),
    File(PathBuf),
    /// Every user can read it where it stands, so it is not used.
    Exposed {
        what: String,
        cure: String,
    },
}

impl SecretFrom {
    pub fn read(&self) -> Result<Secret> {
        match self {
            SecretFrom::Setting(secret) => Ok(secret.clone()),
            SecretFrom::File(path) => {
                let text = Zeroizing::new(private_file::read(path)?);
                Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
            }
            SecretFrom::Exposed { what, cure } => {
                Err(Error::usage(what.as_str()).hint(cure.as_str()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        assert_eq!(format!("{:?}", Some(Secret::new("x"))), "Some(Secret)");
    }
}
