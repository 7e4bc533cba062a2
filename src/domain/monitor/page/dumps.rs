//! The newest dump of each database in a repository.

use super::{
    super::facts::{Holding, NewestDump},
    html::Html,
    table::{Cell, Kind, ROWS, left_out, table},
};
use crate::util::units;

/// Nothing where there are none.
pub fn part(html: &mut Html, holding: &Holding) {
    let dumps = match &holding.dumps {
        Ok(dumps) if dumps.is_empty() => return,
        Ok(dumps) => dumps,
        Err(error) => {
            html.raw("<h3>Dumps</h3>");
            let why = format!("They can't be read: {}", error.in_one_line());
            return html.leaf("p", &[("class", "notice")], why);
        }
    };
    html.raw("<h3>Dumps</h3>");
    let columns = [
        ("database", Kind::Word),
        ("newest good dump", Kind::Word),
        ("class", Kind::Word),
        ("stored", Kind::Number),
        ("restored to be checked", Kind::Word),
    ];
    let rows = dumps.iter().take(ROWS).map(row);
    table(html, "The newest dump of each database", &columns, rows);
    left_out(html, dumps.len().saturating_sub(ROWS), "more databases");
}

fn row(dump: &NewestDump) -> Vec<Cell> {
    let subject = dump.subject.to_string().into();
    let Some(good) = &dump.good else {
        let none = "NONE IS GOOD".into();
        return vec![subject, none, "".into(), "".into(), "".into()];
    };
    vec![
        subject,
        good.time.into(),
        good.class.to_string().into(),
        units::bytes(good.stored_bytes).into(),
        match good.proven {
            Some(time) => time.into(),
            None => "never".into(),
        },
    ]
}
