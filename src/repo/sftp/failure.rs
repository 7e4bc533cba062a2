//! What the other host's refusal means.

use openssh_sftp_client::{Error as SftpError, error::SftpErrorKind};

use crate::error::{Error, Kind};

/// An error while doing `doing` (such as "read") to what is at `place`.
pub fn failure(doing: &str, place: &str, error: &SftpError) -> Error {
    let what = format!("can't {doing} {place}");
    match error {
        SftpError::SftpError(SftpErrorKind::NoSuchFile, _) => {
            Error::new(Kind::NotFound, what).because("no such file there")
        }
        SftpError::SftpError(SftpErrorKind::PermDenied, _) => Error::failed(what)
            .because("permission denied there")
            .hint("give that folder on the other host to the user that this host logs in as."),
        SftpError::SftpError(SftpErrorKind::Failure, _) => Error::failed(what)
            .because("the other host's sftp server says that it failed, no more")
            .hint("see whether the disk there is full or closed to writing: sftp has no words for it."),
        other => Error::failed(what).because(other.to_string()),
    }
}

/// Whether the other host gave an answer, so that the connection is well.
pub fn is_answer(error: &SftpError) -> bool {
    matches!(error, SftpError::SftpError(..))
}

pub fn is_missing(error: &SftpError) -> bool {
    matches!(error, SftpError::SftpError(SftpErrorKind::NoSuchFile, _))
}
