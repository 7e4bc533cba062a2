//! Names of objects and folders, and of database clusters. Pure.

use std::{fmt, str::FromStr};

use crate::error::{Error, Result};

/// An object's name: a relative path with `/`. Made here, or by a store that lists what is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(pub(super) String);

impl ObjectName {
    pub(in crate::repo) fn listed(name: String) -> Self {
        Self(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name behind the last slash.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder of objects: empty, or a path that ends with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(pub(super) String);

impl Prefix {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For a store that is tried out below this folder.
    pub fn object(&self, name: &str) -> ObjectName {
        ObjectName(format!("{}{name}", self.0))
    }

    /// A name that sorts behind `name`, and behind all that is in it if it is a folder, whose name
    /// ends with `/`: the character behind that is `0`.
    pub(in crate::repo) fn behind(&self, name: &str) -> ObjectName {
        match name.strip_suffix('/') {
            Some(folder) => self.object(&format!("{folder}0")),
            None => self.object(name),
        }
    }
}

/// The name that a database cluster has in configuration and repository, such as `main`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(String);

impl ClusterName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let good = !name.is_empty()
            && name.len() <= 63
            && !name.starts_with('.')
            && name.chars().all(plain);
        if good && name != "repository.json" && name != "combine.py" {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::usage(format!("not a cluster's name: {name:?}"))
            .hint("a name has up to 63 letters, digits, `-`, `_` and `.`, and does not begin with a dot."))
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
