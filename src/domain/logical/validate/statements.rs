//! Statements of the configuration (`verify.sql`), which must return true.

use crate::{
    error::{Kind, Result},
    postgres::{connection::Session, conninfo::ConnInfo},
    repo::verified::VerifiedCheck,
    util::{cancel::Cancel, process::NO_LIMIT},
};

pub fn check(
    info: &ConnInfo,
    statements: &[String],
    cancel: &Cancel,
) -> Result<Option<VerifiedCheck>> {
    if statements.is_empty() {
        return Ok(None);
    }
    let session = Session::connect(info, cancel)?;
    // People write them as for psql.
    session.execute("SET search_path = \"$user\", public", &[])?;
    session.execute("SET default_transaction_read_only = on", &[])?;
    let mut wrong = Vec::new();
    for statement in statements {
        let answer = session.with_limit(NO_LIMIT, |session| session.query_rows(statement, &[]));
        match answer {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => wrong.push(error.in_one_line()),
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
    let fine = format!("{} statements return true", statements.len());
    Ok(Some(VerifiedCheck::of("sql", wrong, fine)))
}
