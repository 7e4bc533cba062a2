//! Judges gathered facts. Pure: nothing is asked, nothing is touched.

pub mod archiving;
#[cfg(test)]
pub(in crate::domain) mod tests;

use chrono::TimeDelta;

pub use archiving::waiting;

use super::{
    archive_command::ArchiveCommand,
    facts::{Facts, Leftover, Readiness},
    finding::Finding,
};
use crate::{
    domain::wal::{failed::Failed, receive::slot::ReceiverSlot},
    postgres::version::Major,
    util::units,
};

/// What base backups alone need, where there are none.
pub const NOT_NEEDED: &str = "not needed: dumps are all that is made here";

/// Findings that are without meaning there.
const OF_BACKUPS: [&str; 7] = [
    "rights",
    "replication",
    "max_wal_senders",
    "wal_level",
    "archive_mode",
    "archive_command",
    "archiver",
];

/// As it is where dumps are all that is made.
pub fn without_backups(finding: Finding) -> Finding {
    match OF_BACKUPS.contains(&finding.name) {
        true => Finding::ok(finding.name, NOT_NEEDED),
        false => finding,
    }
}

/// Recovery targets are times of the server's clock, which operators read off their own.
const CLOCK_DIFFERENCE: TimeDelta = TimeDelta::seconds(2);

/// All findings about the server itself.
pub fn server(
    facts: &Facts,
    readiness: &Readiness,
    command: &ArchiveCommand,
    failed: Option<&Failed>,
    receiver: Option<&ReceiverSlot>,
) -> Vec<Finding> {
    let mut findings = vec![
        version(facts),
        rights(facts, readiness),
        walsender(facts, readiness),
        senders(facts, readiness),
    ];
    findings.extend([
        archiving::wal_level(facts),
        archiving::archive_mode(facts, receiver),
        archiving::archive_command(facts, command, receiver),
        archiving::archiver(facts, failed),
        recovery_target(facts),
        full_page_writes(facts),
        clock(facts.clock_ahead),
    ]);
    findings.extend(data_directory(facts));
    findings
}

pub fn version(facts: &Facts) -> Finding {
    const NAME: &str = "version";
    let number = facts.server.version;
    let text = format!("PostgreSQL {}.{}", number / 10_000, number % 10_000);
    match Major::from_server_version_num(number) {
        Err(error) => Finding::of_error(NAME, &error),
        Ok(major) if !major.is_tested() => Finding::warning(
            NAME,
            format!("{text}, which this version of pgstow was not tested with"),
            "look for a newer version of pgstow.",
        ),
        Ok(_) => Finding::ok(NAME, text),
    }
}

fn rights(facts: &Facts, readiness: &Readiness) -> Finding {
    const NAME: &str = "rights";
    let role = &facts.role;
    if readiness.may_switch_wal || facts.server.standby {
        return Finding::ok(NAME, format!("role {role} has what backups need"));
    }
    Finding::critical(
        NAME,
        format!("role {role} may not switch to a new WAL segment"),
        format!(
            "in the database of the connection: GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO {role};"
        ),
    )
}

/// What isn't there is needed by few.
const NEEDS_NO_WALSENDER: &str =
    "base reads the data directory here; only `--method stream` and `--standalone` need it.";

fn walsender(facts: &Facts, readiness: &Readiness) -> Finding {
    const NAME: &str = "replication";
    match &readiness.walsender {
        Err(error) if readiness.local => {
            Finding::warning(NAME, error.in_one_line(), NEEDS_NO_WALSENDER)
        }
        Err(error) => Finding::of_error(NAME, error),
        Ok(identity) if identity.system_id != facts.server.system_id => Finding::critical(
            NAME,
            format!(
                "the walsender is of system {}, the SQL session of system {}",
                identity.system_id, facts.server.system_id
            ),
            "connect to the server itself, not to a pooler or a balancer.",
        ),
        Ok(identity) => Finding::ok(NAME, format!("system {}", identity.system_id)),
    }
}

fn senders(facts: &Facts, readiness: &Readiness) -> Finding {
    const NAME: &str = "max_wal_senders";
    let most = facts.server.max_wal_senders;
    let what = format!("{} of {most} are free", readiness.free_senders.max(0));
    let hint = "raise max_wal_senders and restart the server.";
    match readiness.free_senders {
        ..=0 if readiness.local => Finding::warning(NAME, what, NEEDS_NO_WALSENDER),
        ..=0 => Finding::critical(NAME, what, hint),
        1 => Finding::warning(NAME, what, hint),
        _ => Finding::ok(NAME, what),
    }
}

pub fn recovery_target(facts: &Facts) -> Finding {
    const NAME: &str = "recovery_target";
    let Some(Leftover {
        name,
        value,
        pending,
    }) = facts.leftovers.first()
    else {
        return Finding::ok(NAME, "none is set");
    };
    let what = match pending {
        true => format!("{name} is changed in the server's files, to hold from its next start on"),
        false => format!("{name} is left over: {value:?}"),
    };
    if facts.server.standby {
        return Finding::warning(
            NAME,
            what,
            "right for a restore that is under way; a standby that is to stay one must have none.",
        );
    }
    // Tried on 15 and 18: such a replica promotes itself at the first commit.
    Finding::critical(
        NAME,
        format!("{what}; a new replica of this server would stop there, or promote itself"),
        format!(
            "ALTER SYSTEM RESET {name}, remove it from every postgresql.conf, and restart the server when you can."
        ),
    )
}

pub fn full_page_writes(facts: &Facts) -> Finding {
    if facts.server.standby || facts.full_page_writes {
        return Finding::ok(
            "full_page_writes",
            if facts.full_page_writes { "on" } else { "off" },
        );
    }
    Finding::warning(
        "full_page_writes",
        "off: a crash may tear pages, and backups of standbys are unusable",
        "set full_page_writes = on and reload the server.",
    )
}

pub fn clock(ahead: TimeDelta) -> Finding {
    const NAME: &str = "clock";
    if ahead.abs() <= CLOCK_DIFFERENCE {
        return Finding::ok(NAME, "the server's agrees with this host's");
    }
    let direction = if ahead > TimeDelta::zero() {
        "ahead of"
    } else {
        "behind"
    };
    Finding::warning(
        NAME,
        format!(
            "the server's is {} {direction} this host's",
            units::duration(ahead.abs().to_std().unwrap_or_default())
        ),
        "synchronize both by NTP: the time to restore to is a time of the server's clock.",
    )
}

/// Nothing where it lies on another host.
fn data_directory(facts: &Facts) -> Option<Finding> {
    const NAME: &str = "data_directory";
    let user = facts.user.as_ref()?;
    let path = facts.server.data_directory.display();
    let (name, mode) = (&user.account.name, user.data_mode);
    Some(match mode {
        // What PostgreSQL itself starts with (checkDataDir in miscinit.c).
        0o700 | 0o750 => Finding::ok(NAME, format!("{path} of {name}, mode {mode:04o}")),
        _ => Finding::critical(
            NAME,
            format!("{path} has mode {mode:04o}: the server won't start again"),
            format!("run: chmod 0700 {path}"),
        ),
    })
}
