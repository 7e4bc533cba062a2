//! A value and where it came from.

use std::{fmt, path::Path, rc::Rc};

use serde::{Serialize, Serializer};

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
