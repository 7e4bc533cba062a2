//! The one error type of pgstow: what went wrong, with which object, why, and what to do.
//!
//! An error is printed as `error: MESSAGE`, a line for each cause, and `hint: HINT`.
//! A new [`Kind`] is added only where somebody branches on it.

use std::{error::Error as StdError, fmt, io, path::Path};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What callers branch on. Everything else is [`Kind::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is wrong: flags, settings, names (exit code 2).
    Usage,
    /// The object, file or server asked for is certainly not there.
    NotFound,
    /// A create-only write met an object of that name.
    AlreadyExists,
    /// The WAL that is there doesn't lead to it.
    Unreachable,
    /// Stored or read bytes are not what they must be.
    Damaged,
    /// Encrypted bytes, and no identity is there to open them, or another one than is needed.
    Key,
    /// The thing belongs to another database cluster, system or repository.
    Foreign,
    /// The store lets others do it, not us.
    Denied,
    /// A time limit ran out.
    TimedOut,
    /// Somebody else is doing the same at this moment.
    Busy,
    /// The file system, or what its user may take of it, is full.
    Full,
    /// The operator or the system asked us to stop (exit code 130).
    Interrupted,
    /// Anything else.
    Failed,
}

/// An error with its message, an optional hint and an optional cause.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// `message`: lower case, no final stop, names the object.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            hint: None,
            source: None,
        }))
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn damaged(message: impl Into<String>) -> Self {
        Self::new(Kind::Damaged, message)
    }

    /// An I/O error while doing `doing` (such as "read") to `path`.
    pub fn io(doing: &str, path: &Path, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::AlreadyExists => Kind::AlreadyExists,
            io::ErrorKind::TimedOut => Kind::TimedOut,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
            // Decoders report bytes that do not decode as these two.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Kind::Damaged,
            _ => Kind::Failed,
        };
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Some("check owner and mode of this path and of the folders above it.")
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("free space on this file system, or give it more, and run the command again.")
            }
            io::ErrorKind::ReadOnlyFilesystem => Some("mount the file system for writing."),
            _ => None,
        };
        let mut made = Self::new(kind, format!("can't {doing} {}", path.display())).because(error);
        made.0.hint = hint.map(str::to_owned);
        made
    }

    /// Adds a sentence that says what to do. The innermost hint stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert(hint.into());
        self
    }

    /// The same with other words for what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: String) -> Self {
        self.0.hint = Some(hint);
        self
    }

    /// Names the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Wraps this error: same kind and hint, a message of the outer action.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            message: message.into(),
            hint: self.0.hint.clone(),
            source: Some(Box::new(self)),
        }))
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The cause that no other has; the message, where there is none: of a long query what the server says of it.
    pub fn last_cause(&self) -> String {
        let mut last: &dyn StdError = self;
        while let Some(cause) = last.source() {
            last = cause;
        }
        last.to_string()
    }

    /// The message followed by its causes, each after a colon, on one line.
    pub fn in_one_line(&self) -> String {
        let mut line = self.0.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl Error {
    /// The error of ours that code behind `io::Read` or `io::Write` passed through `error`; what `other` makes of it if
    /// it is the system's.
    pub fn passed(error: io::Error, other: impl FnOnce(io::Error) -> Self) -> Self {
        error.downcast::<Self>().unwrap_or_else(other)
    }
}

/// So that code behind `io::Read` and `io::Write` can carry our errors through them.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            Kind::NotFound => io::ErrorKind::NotFound,
            Kind::Damaged => io::ErrorKind::InvalidData,
            Kind::Key => io::ErrorKind::PermissionDenied,
            Kind::TimedOut => io::ErrorKind::TimedOut,
            Kind::Full => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// Adds what was being done to an error on its way up.
pub trait Context<T> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.context(message()))
    }
}

/// Gives an I/O error its path.
pub trait IoContext<T> {
    fn at(self, doing: &str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, doing: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| Error::io(doing, path.as_ref(), error))
    }
}

impl<T> IoContext<T> for rustix::io::Result<T> {
    fn at(self, doing: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| Error::io(doing, path.as_ref(), error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_outside_in_and_keeps_kind_and_first_hint() {
        let inner = Error::io("read", Path::new("/x"), io::ErrorKind::StorageFull.into());
        let outer = inner.context("backup failed").hint("another.");
        assert_eq!(outer.kind(), Kind::Full);
        assert!(
            outer
                .in_one_line()
                .starts_with("backup failed: can't read /x: ")
        );
        assert!(
            outer
                .hint_text()
                .is_some_and(|hint| hint.starts_with("free space"))
        );
    }
}
