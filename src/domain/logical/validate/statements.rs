//! Statements of the configuration (`verify.sql`, `drill.sql`), which must return true.

use crate::{
    error::{Error, Kind, Result},
    postgres::{connection::Session, conninfo::ConnInfo, server_error::ServerError},
    repo::verified::VerifiedCheck,
    util::{cancel::Cancel, process::NO_LIMIT},
};

/// What is wrong with the statement itself, whatever it looks at (`src/backend/utils/errcodes.txt`): a syntax error, and
/// a change where nothing but a look is allowed.
const OWN_FAULTS: [&str; 2] = ["42601", "25006"];

/// What came of all of them.
pub struct Asked {
    pub check: VerifiedCheck,
    /// Of the first one that can't be run at all: that says nothing of what it looks at.
    unfit: Option<Error>,
}

impl Asked {
    /// # Errors
    /// A statement can't be run at all.
    pub fn of_dump(self) -> Result<VerifiedCheck> {
        match self.unfit {
            None => Ok(self.check),
            Some(error) => Err(error
                .context("a statement of verify.sql can't be run")
                .hint("mend it: each is one SELECT, as psql takes it, that returns true.")),
        }
    }
}

/// Asks each of them, whatever the others say.
pub fn check(info: &ConnInfo, statements: &[String], cancel: &Cancel) -> Result<Option<Asked>> {
    if statements.is_empty() {
        return Ok(None);
    }
    let session = Session::connect(info, cancel)?;
    // People write them as for psql.
    session.execute("SET search_path = \"$user\", public", &[])?;
    session.execute("SET default_transaction_read_only = on", &[])?;
    let (mut wrong, mut unfit) = (Vec::new(), None);
    for statement in statements {
        let answer = session.with_limit(NO_LIMIT, |session| session.query_rows(statement, &[]));
        match answer {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                wrong.push(error.in_one_line());
                if is_its_own_fault(&error) {
                    unfit.get_or_insert(error);
                }
            }
            Ok(rows) => match rows.as_slice() {
                // A text or a second column may mean anything.
                [row] if row.columns() != 1 => {
                    wrong.push(format!("{statement}: {} columns, not one", row.columns()));
                }
                [row] if !row.is_bool(0) => wrong.push(format!("{statement}: not a boolean")),
                [row] => match row.optional(0)?.as_deref() {
                    Some("true") => {}
                    answer => {
                        let answer = answer.unwrap_or("NULL");
                        wrong.push(format!("{statement}: {answer}, not true"));
                    }
                },
                rows => wrong.push(format!("{statement}: {} rows, not one", rows.len())),
            },
        }
    }
    let fine = match statements {
        [_] => "the statement returns true".to_owned(),
        all => format!("{} statements return true", all.len()),
    };
    let check = VerifiedCheck::of("sql", wrong, fine);
    Ok(Some(Asked { check, unfit }))
}

fn is_its_own_fault(error: &Error) -> bool {
    ServerError::of(error).is_some_and(|error| OWN_FAULTS.contains(&error.code.as_str()))
}
