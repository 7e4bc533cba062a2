//! The settings that a server needs for archiving and backups: what fits, what must change, and
//! what the change asks for.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::archive_command::{ArchiveCommand, Existing};
use crate::{
    error::{Error, Result},
    postgres::connection::Session,
    util::cancel::Cancel,
};

/// How long the server may take to read its files again.
const RELOAD: Duration = Duration::from_secs(10);

/// Where a server has fewer, base backups and replicas soon get in each other's way.
const FEWEST_SENDERS: u32 = 3;
const FEWEST_SLOTS: u32 = 2;

const NAMES: [&str; 6] = [
    "wal_level",
    "archive_mode",
    "archive_command",
    "archive_timeout",
    "max_wal_senders",
    "max_replication_slots",
];

/// reset_val, because SHOW hides archive_command while archive_mode is off.
const SETTINGS: &str = "
    SELECT name, reset_val, context = 'postmaster', pending_restart FROM pg_settings
    WHERE name IN ('wal_level', 'archive_mode', 'archive_command', 'archive_timeout',
        'max_wal_senders', 'max_replication_slots')";

/// How a setting stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Fits,
    Reload,
    Restart,
    /// The server's files hold a value already that it takes only when it starts.
    Pending,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub name: &'static str,
    /// As it should be; as it is, if that fits.
    pub value: String,
    pub now: String,
    pub change: Change,
}

/// A setting as the server tells it.
#[derive(Clone, Debug)]
struct Current {
    value: String,
    needs_restart: bool,
    pending: bool,
}

/// How the settings of `session`'s server stand.
pub fn gather(session: &Session, command: &ArchiveCommand) -> Result<Vec<Setting>> {
    let rows = session.query_rows(SETTINGS, &[])?;
    let mut settings = Vec::new();
    for name in NAMES {
        for row in &rows {
            if row.text(0)? == name {
                let current = Current {
                    value: row.text(1)?,
                    needs_restart: row.parse(2)?,
                    pending: row.parse(3)?,
                };
                settings.push(judge(name, current, command));
            }
        }
    }
    Ok(settings)
}

fn judge(name: &'static str, current: Current, command: &ArchiveCommand) -> Setting {
    let at_least = |least| current.value.parse::<u32>().is_ok_and(|now| now >= least);
    let now = current.value.as_str();
    let (fits, wanted) = match name {
        "wal_level" => (matches!(now, "replica" | "logical"), "replica"),
        "archive_mode" => (matches!(now, "on" | "always"), "on"),
        "archive_command" => (command.compare(now) == Existing::Same, command.text()),
        // Without one, the last changes of a quiet server stay on its own disk alone.
        "archive_timeout" => (now != "0", "60"),
        "max_wal_senders" => (at_least(FEWEST_SENDERS), "10"),
        _ => (at_least(FEWEST_SLOTS), "10"),
    };
    let change = match () {
        () if fits => Change::Fits,
        () if current.pending => Change::Pending,
        () if current.needs_restart => Change::Restart,
        () => Change::Reload,
    };
    Setting {
        name,
        value: if fits { now } else { wanted }.to_owned(),
        now: current.value.clone(),
        change,
    }
}

/// Refuses to take the place of what somebody else set up.
pub fn refuse_foreign(existing: &str, library: &str, command: &ArchiveCommand) -> Result<()> {
    if !library.is_empty() {
        return Err(Error::failed(format!(
            "this server archives by archive_library {library:?}"
        ))
        .hint("set archive_library to '' where it was set, if pgstow is to take its place."));
    }
    match command.compare(existing) {
        Existing::Empty | Existing::Same | Existing::Ours(_) => Ok(()),
        Existing::Wrapped | Existing::Foreign => Err(Error::failed(format!(
            "this server has an archive_command already: {existing}"
        ))
        .hint(format!(
            "if pgstow is to take its place: ALTER SYSTEM RESET archive_command (or remove it from \
             postgresql.conf), reload, and run init again; or call both, ending with: {}",
            command.text()
        ))),
    }
}

/// Sets what doesn't fit by ALTER SYSTEM, lets the server read it, and says how all stands then.
pub fn apply(
    session: &Session,
    settings: &[Setting],
    command: &ArchiveCommand,
    cancel: &Cancel,
) -> Result<Vec<Setting>> {
    let wanting = |one: &&Setting| matches!(one.change, Change::Reload | Change::Restart);
    let mut changes = settings.iter().filter(wanting).peekable();
    if changes.peek().is_none() {
        return gather(session, command);
    }
    // The server's own hint would give a right that the role of backups needs for nothing else.
    let refused = |what: String, error| {
        Error::failed(what).because(error).hint(
            "run init --apply as a superuser, or put the lines into postgresql.conf yourself.",
        )
    };
    for setting in changes {
        let (name, value) = (setting.name, sql_text(&setting.value));
        let sql = format!("ALTER SYSTEM SET {name} = {value}");
        session
            .execute(&sql, &[])
            .map_err(|error| refused(format!("can't set {name} by ALTER SYSTEM"), error))?;
    }
    session
        .query_one("SELECT pg_reload_conf()", &[])
        .map_err(|error| refused("can't have the server read its settings".to_owned(), error))?;
    let limit = Instant::now() + RELOAD;
    loop {
        cancel.check()?;
        let settings = gather(session, command)?;
        let waiting = |one: &Setting| matches!(one.change, Change::Reload | Change::Restart);
        if !settings.iter().any(waiting) || Instant::now() > limit {
            return Ok(settings);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A string constant that reads the same whatever standard_conforming_strings says.
fn sql_text(text: &str) -> String {
    format!("E'{}'", escaped(text))
}

/// As it stands between quotes in postgresql.conf, where a backslash escapes too (guc-file.l).
pub fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('\'', "''")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::checks::tests::command, *};

    #[test]
    fn what_fits_stays_and_the_rest_says_what_it_asks_for() {
        let ours = command().text().to_owned();
        for (name, now, restart, value, change) in [
            ("wal_level", "logical", true, "logical", Change::Fits),
            ("wal_level", "minimal", true, "replica", Change::Restart),
            ("archive_mode", "always", true, "always", Change::Fits),
            ("archive_mode", "off", true, "on", Change::Restart),
            ("archive_command", "", false, &ours, Change::Reload),
            ("archive_command", &ours, false, &ours, Change::Fits),
            ("archive_timeout", "300", false, "300", Change::Fits),
            ("archive_timeout", "0", false, "60", Change::Reload),
            ("max_wal_senders", "2", true, "10", Change::Restart),
            ("max_replication_slots", "2", true, "2", Change::Fits),
        ] {
            let current = Current {
                value: now.to_owned(),
                needs_restart: restart,
                pending: false,
            };
            let setting = judge(name, current, &command());
            assert_eq!((setting.value.as_str(), setting.change), (value, change));
        }
    }

    #[test]
    fn only_what_is_ours_or_nobodys_is_replaced() {
        let judge = |existing, library| refuse_foreign(existing, library, &command()).is_ok();
        assert!(judge("", "") && judge("/old/pgstow --cluster x archive-wal %p", ""));
        assert!(!judge("cp %p /x/%f", "") && !judge("", "basic_archive"));
        assert!(!judge("cp %p /x/%f && pgstow archive-wal %p", ""));
    }

    #[test]
    fn constants_keep_quotes_and_backslashes() {
        assert_eq!(sql_text(r"it's a \"), r"E'it''s a \\'");
    }
}
