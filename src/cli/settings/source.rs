//! A value and where it came from.

use std::{fmt, path::Path, rc::Rc};

use serde::{Serialize, Serializer};

use super::keys::Scope;
use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    pub value: T,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An option of the command line, with its dashes.
    Flag(&'static str),
    /// A variable of the process environment.
    Env(String),
    /// A line of pgstow.toml.
    File {
        path: Rc<Path>,
        line: usize,
    },
    /// A variable of the env file.
    EnvFile {
        path: Rc<Path>,
        line: usize,
        name: String,
    },
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(name) => f.write_str(name),
            Source::Env(name) => write!(f, "variable {name}"),
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::EnvFile { path, line, name } => {
                write!(f, "{}:{line}: {name}", path.display())
            }
            Source::Default => f.write_str("default"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A secret in a file that every user can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    pub scope: Scope,
    pub source: Source,
    /// Such as `cluster.main.password`, or the variable.
    pub name: String,
}

impl Exposed {
    fn place(&self) -> String {
        match &self.source {
            Source::File { path, .. } | Source::EnvFile { path, .. } => path.display().to_string(),
            other => other.to_string(),
        }
    }

    pub fn what(&self) -> String {
        let line = match &self.source {
            Source::File { line, .. } | Source::EnvFile { line, .. } => format!(":{line}"),
            _ => String::new(),
        };
        let (place, name) = (self.place(), &self.name);
        format!("{place}{line}: {name} can be read by every user")
    }

    pub fn cure(&self) -> String {
        let (place, name) = (self.place(), &self.name);
        let file = match self.source {
            Source::EnvFile { .. } => format!("{name}_FILE"),
            _ => format!("{name}_file"),
        };
        format!("run: chmod o-rwx {place}, or use {file}.")
    }

    pub fn error(&self) -> Error {
        Error::usage(self.what()).hint(self.cure())
    }
}
