//! Errors and notices that the server sends, and what to do about the common ones.
//!
//! Texts are in the server's language, so decisions rest on the SQLSTATE and on the name of
//! the C function that raised the error, which are the same everywhere.

use std::{error::Error as StdError, fmt};

use super::conninfo::ConnInfo;
use crate::error::{Error, Kind};

/// SQLSTATEs that are decided on (`src/backend/utils/errcodes.txt`).
pub mod sqlstate {
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    pub const INVALID_AUTHORIZATION: &str = "28000";
    pub const INVALID_PASSWORD: &str = "28P01";
    pub const NO_DATABASE: &str = "3D000";
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    pub const CANNOT_CONNECT_NOW: &str = "57P03";
    pub const DATA_CORRUPTED: &str = "XX001";
    pub const UNDEFINED_FILE: &str = "58P01";
    pub const NOT_IN_PREREQUISITE_STATE: &str = "55000";
}

/// An ErrorResponse or NoticeResponse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `WARNING` ..., never translated.
    pub severity: String,
    pub code: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
    /// The C function that raised it.
    pub routine: String,
}

impl ServerError {
    /// Reads the fields of a message's body; what is missing stays empty.
    pub fn parse(mut body: &[u8]) -> Self {
        let mut error = Self::default();
        while let Some((&field, rest)) = body.split_first() {
            if field == 0 {
                break;
            }
            let end = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
            let (text, behind) = rest.split_at(end);
            let place = match field {
                b'V' => Some(&mut error.severity),
                b'C' => Some(&mut error.code),
                b'M' => Some(&mut error.message),
                b'D' => Some(&mut error.detail),
                b'H' => Some(&mut error.hint),
                b'R' => Some(&mut error.routine),
                _ => None,
            };
            if let Some(place) = place {
                *place = String::from_utf8_lossy(text).into_owned();
            }
            body = behind.get(1..).unwrap_or_default();
        }
        error
    }

    /// The server's error somewhere in the causes of `error`.
    pub fn of(error: &Error) -> Option<&ServerError> {
        let mut cause = error.source();
        while let Some(source) = cause {
            if let Some(found) = source.downcast_ref() {
                return Some(found);
            }
            cause = source.source();
        }
        None
    }

    /// An error with this one as its cause and a hint where there is one to give.
    pub fn explain(self, doing: impl Into<String>, info: &ConnInfo) -> Error {
        let kind = match self.code.as_str() {
            sqlstate::NO_DATABASE => Kind::NotFound,
            _ => Kind::Failed,
        };
        let hint =
            advice(&self, info).or_else(|| (!self.hint.is_empty()).then(|| self.hint.clone()));
        let error = Error::new(kind, doing).because(self);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<&tokio_postgres::error::DbError> for ServerError {
    fn from(error: &tokio_postgres::error::DbError) -> Self {
        let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self {
            severity: error.severity().to_owned(),
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: owned(error.detail()),
            hint: owned(error.hint()),
            routine: owned(error.routine()),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

impl StdError for ServerError {}

fn advice(error: &ServerError, info: &ConnInfo) -> Option<String> {
    let user = &info.user;
    Some(match (error.code.as_str(), error.routine.as_str()) {
        (sqlstate::INVALID_PASSWORD, _) => match (&info.password, &info.passfile) {
            (None, Some(file)) => {
                format!("check the password of role {user} in {}.", file.display())
            }
            _ => format!("check the password that is configured for role {user}."),
        },
        (sqlstate::INVALID_AUTHORIZATION, "InitializeSessionUserId") => {
            format!("create the role, or name another: CREATE ROLE {user} LOGIN REPLICATION;")
        }
        (sqlstate::INVALID_AUTHORIZATION, "auth_failed") => format!(
            "pg_hba.conf lets {user} in only as the operating system's user of that name, or by another \
             proof that was not given: run as that user, map it in pg_ident.conf, or give {user} a \
             password method."
        ),
        (sqlstate::INVALID_AUTHORIZATION, _) => format!(
            "add lines for {user} to pg_hba.conf and reload the server; a backup needs one with \
             database \"replication\" and one with database \"{}\".",
            info.database
        ),
        (sqlstate::NO_DATABASE, _) => "name a database that exists, such as postgres.".to_owned(),
        (sqlstate::TOO_MANY_CONNECTIONS, _) => {
            "raise max_connections or max_wal_senders, or end sessions that are not needed."
                .to_owned()
        }
        (sqlstate::INSUFFICIENT_PRIVILEGE, routine) => missing_right(error, routine, user),
        _ => return None,
    })
}

/// The statement that gives the right that is missing.
fn missing_right(error: &ServerError, routine: &str, user: &str) -> String {
    match routine {
        "InitPostgres" => return format!("let the role replicate: ALTER ROLE {user} REPLICATION;"),
        "GetConfigOptionByName" => {
            return format!("let the role see settings: GRANT pg_read_all_settings TO {user};");
        }
        _ => {}
    }
    if let Some((_, name)) = error.message.split_once(" tablespace ") {
        return format!("give the role the right: GRANT CREATE ON TABLESPACE {name} TO {user};");
    }
    let mut words = error
        .message
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    // In the words of other languages.
    let is_function =
        |word: &&str| word.starts_with("pg_") && word.len() > 3 && *word != "pg_default";
    match words.find(is_function) {
        Some(function) if routine == "aclcheck_error" => format!(
            "give the role the right: GRANT EXECUTE ON FUNCTION {} TO {user};",
            signature(function)
        ),
        _ => format!("give role {user} the right that the message names."),
    }
}

/// Overloaded functions need their arguments in GRANT; with others the name is enough.
fn signature(function: &str) -> String {
    match function {
        "pg_read_file" | "pg_read_binary_file" | "pg_ls_dir" | "pg_stat_file" => {
            format!("{function}(text)")
        }
        other => other.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::postgres::conn_settings::ConnParams;

    #[test]
    fn foreign_bytes_make_an_error_and_no_panic() {
        let full = b"SFEHLER\0VERROR\0CXX001\0Mbad \xFFpage\0Dd\0Hh\0RsendFile\0Fx.c\0\0";
        let error = ServerError::parse(full);
        assert_eq!(error.severity, "ERROR");
        assert_eq!(error.code, "XX001");
        assert_eq!(error.message, "bad \u{FFFD}page");
        assert_eq!(error.routine, "sendFile");
        assert_eq!(error.to_string(), "ERROR: bad \u{FFFD}page (d)");
        for cut in 0..full.len() {
            ServerError::parse(&full[..cut]);
        }
    }

    #[test]
    fn hints_say_what_to_do() {
        let params = ConnParams {
            user: Some("backup".to_owned()),
            ..ConnParams::default()
        };
        let info = ConnInfo::resolve(&params, &|_| None).unwrap();
        for (code, routine, message, hint) in [
            ("28000", "InitializeSessionUserId", "", "CREATE ROLE backup"),
            ("28000", "ClientAuthentication", "", "pg_hba.conf"),
            ("28P01", "auth_failed", "", "password"),
            ("42501", "InitPostgres", "", "ALTER ROLE backup REPLICATION"),
            (
                "42501",
                "aclcheck_error",
                "keine Berechtigung für Funktion pg_backup_start",
                "GRANT EXECUTE ON FUNCTION pg_backup_start TO backup;",
            ),
            (
                "42501",
                "aclcheck_error",
                "permission denied for function pg_read_file",
                "pg_read_file(text) TO backup",
            ),
            (
                "42501",
                "aclcheck_error",
                "permission denied for tablespace pg_default",
                "GRANT CREATE ON TABLESPACE pg_default TO backup;",
            ),
            (
                "42501",
                "aclcheck_error",
                "keine Berechtigung für Tablespace pg_default",
                "give role backup the right that the message names.",
            ),
        ] {
            let error = ServerError {
                code: code.to_owned(),
                routine: routine.to_owned(),
                message: message.to_owned(),
                ..ServerError::default()
            };
            let error = error.explain("can't", &info);
            let given = error.hint_text().unwrap();
            assert!(given.contains(hint), "{code} {routine}: {given}");
            assert_eq!(ServerError::of(&error).unwrap().code, code);
        }
    }
}
