//! Judges gathered facts. Pure: nothing is asked, nothing is touched.

use std::path::Path;

use chrono::TimeDelta;

use super::{
    archive_command::{ArchiveCommand, Call, Existing},
    facts::{Facts, Leftover},
    finding::Finding,
};
use crate::{
    postgres::version::Major,
    util::{clock::readable, units},
};

/// Recovery targets are times of the server's clock, which operators read off their own.
const CLOCK_DIFFERENCE: TimeDelta = TimeDelta::seconds(2);

/// More waiting files than a healthy archiver leaves for longer than a moment.
const BACKLOG: u64 = 10;

/// All findings about the server itself.
pub fn server(facts: &Facts, command: &ArchiveCommand) -> Vec<Finding> {
    let mut findings = vec![
        version(facts),
        rights(facts),
        walsender(facts),
        senders(facts),
    ];
    findings.extend([
        wal_level(facts),
        archive_mode(facts),
        archive_command(facts, command),
        archiver(facts),
        recovery_target(facts),
        full_page_writes(facts),
        clock(facts.clock_ahead),
    ]);
    findings.extend(data_directory(facts));
    findings
}

fn version(facts: &Facts) -> Finding {
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

fn rights(facts: &Facts) -> Finding {
    const NAME: &str = "rights";
    let role = &facts.role;
    if facts.may_switch_wal || facts.server.standby {
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

fn walsender(facts: &Facts) -> Finding {
    const NAME: &str = "replication";
    match &facts.walsender {
        Err(error) => Finding::of_error(NAME, error),
        Ok(system) if *system != facts.server.system_id => Finding::critical(
            NAME,
            format!(
                "the walsender is of system {system}, the SQL session of system {}",
                facts.server.system_id
            ),
            "connect to the server itself, not to a pooler or a balancer.",
        ),
        Ok(system) => Finding::ok(NAME, format!("system {system}")),
    }
}

fn senders(facts: &Facts) -> Finding {
    const NAME: &str = "max_wal_senders";
    let most = facts.server.max_wal_senders;
    let what = format!("{} of {most} are free", facts.free_senders.max(0));
    let hint = "raise max_wal_senders and restart the server.";
    match facts.free_senders {
        ..=0 => Finding::critical(NAME, what, hint),
        1 => Finding::warning(NAME, what, hint),
        _ => Finding::ok(NAME, what),
    }
}

fn wal_level(facts: &Facts) -> Finding {
    let level = &facts.server.wal_level;
    if level == "minimal" {
        return Finding::critical(
            "wal_level",
            "minimal: nothing can be recovered from such WAL",
            "set wal_level = replica and restart the server.",
        );
    }
    Finding::ok("wal_level", level)
}

fn archive_mode(facts: &Facts) -> Finding {
    const NAME: &str = "archive_mode";
    let mode = &facts.server.archiving.mode;
    match (mode.as_str(), facts.server.standby) {
        ("off", false) => Finding::critical(
            NAME,
            "off: WAL is not archived",
            "set archive_mode = on (`pgstow init --apply`) and restart the server.",
        ),
        ("off", true) => Finding::warning(
            NAME,
            "off: nothing is archived once this standby is promoted",
            "set archive_mode = on here too, and restart the server.",
        ),
        ("on", true) => Finding::ok(NAME, "on: this standby archives once it is promoted"),
        _ => Finding::ok(NAME, mode),
    }
}

fn archive_command(facts: &Facts, command: &ArchiveCommand) -> Finding {
    const NAME: &str = "archive_command";
    const SET: &str = "`pgstow init` prints the right one, `init --apply` sets it.";
    let existing = &facts.archive_command;
    let library = &facts.archive_library;
    if !library.is_empty() {
        return Finding::critical(
            NAME,
            format!("archive_library {library:?} archives in its place"),
            "set archive_library to '' and reload the server.",
        );
    }
    match command.compare(existing) {
        Existing::Empty => Finding::critical(NAME, "empty: the server keeps its WAL", SET),
        Existing::Same => Finding::ok(NAME, existing),
        Existing::Foreign => {
            Finding::critical(NAME, format!("doesn't call pgstow: {existing}"), SET)
        }
        Existing::Wrapped => Finding::warning(
            NAME,
            format!("calls archive-wal among other things: {existing}"),
            "make sure that it fails when archive-wal fails.",
        ),
        Existing::Ours(call) => other_call(facts, command, &call),
    }
}

/// archive-wal, but with other options or by another program than ours.
fn other_call(facts: &Facts, command: &ArchiveCommand, call: &Call) -> Finding {
    const NAME: &str = "archive_command";
    let existing = &facts.archive_command;
    // What the options don't say, settings do: only a segment that arrives can prove those.
    let differs = |option| match (call.option(option), command.option(option)) {
        (Some(theirs), Some(ours)) => theirs != ours,
        _ => false,
    };
    if differs("--cluster") || differs("--repo-url") {
        return Finding::critical(
            NAME,
            format!("archives elsewhere: {existing}"),
            format!("this call of pgstow wants: {}", command.text()),
        );
    }
    let absolute = call.program.starts_with('/');
    if facts.user.is_some() && absolute && !Path::new(&call.program).exists() {
        return Finding::critical(
            NAME,
            format!("there is no {}", call.program),
            "install pgstow there, or set archive_command anew with `pgstow init --apply`.",
        );
    }
    Finding::ok(NAME, existing)
}

fn archiver(facts: &Facts) -> Finding {
    const NAME: &str = "archiver";
    let state = &facts.archiver;
    if let (true, Some((wal, time))) = (state.is_failing(), &state.last_failed) {
        return Finding::critical(
            NAME,
            format!(
                "fails: {} failures, the last at {} with {wal}{}",
                state.failed,
                readable(*time),
                waiting(facts.waiting)
            ),
            "the server's log tells why; PostgreSQL goes on trying.",
        );
    }
    if let Some(count @ BACKLOG..) = facts.waiting {
        return Finding::warning(
            NAME,
            format!("{count} files wait to be archived"),
            "if the number grows, archiving is slower than the server writes: look at the repository's disk.",
        );
    }
    match &state.last_archived {
        Some((wal, time)) => Finding::ok(NAME, format!("{wal} at {}", readable(*time))),
        None => Finding::ok(NAME, "has archived nothing yet"),
    }
}

pub fn waiting(count: Option<u64>) -> String {
    count.map_or(String::new(), |count| {
        format!("; {count} files wait to be archived")
    })
}

fn recovery_target(facts: &Facts) -> Finding {
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

fn full_page_writes(facts: &Facts) -> Finding {
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

fn clock(ahead: TimeDelta) -> Finding {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::finding::State, *};
    use crate::{
        error::Error,
        postgres::{
            lsn::SystemId,
            server_facts::{ArchiverState, Archiving, ServerFacts},
            wal_name::SegmentSize,
        },
    };

    fn facts() -> Facts {
        Facts {
            server: ServerFacts {
                version: 170_006,
                system_id: SystemId(7),
                standby: false,
                data_directory: "/data".into(),
                block_size: 8192,
                segment_size: SegmentSize::new(16 << 20).unwrap(),
                data_checksums: true,
                wal_level: "replica".into(),
                archiving: Archiving {
                    mode: "on".into(),
                    command: "/usr/bin/pgstow archive-wal %p".into(),
                    library: String::new(),
                },
                config_files: Vec::new(),
                max_connections: 100,
                max_worker_processes: 8,
                max_wal_senders: 10,
                max_prepared_transactions: 0,
                max_locks_per_transaction: 64,
            },
            role: "backup".into(),
            walsender: Ok(SystemId(7)),
            may_switch_wal: true,
            free_senders: 10,
            archive_command: "/usr/bin/pgstow archive-wal %p".into(),
            archive_library: String::new(),
            archiver: ArchiverState::default(),
            waiting: None,
            leftovers: Vec::new(),
            full_page_writes: true,
            clock_ahead: TimeDelta::zero(),
            user: None,
        }
    }

    fn command() -> ArchiveCommand {
        ArchiveCommand::new(&["/usr/bin/pgstow".to_owned()]).unwrap()
    }

    /// The findings that aren't ok.
    fn bad(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, State)> {
        let mut facts = facts();
        change(&mut facts);
        let findings = server(&facts, &command()).into_iter();
        findings
            .filter(|one| one.state != State::Ok)
            .inspect(|one| assert!(one.hint.is_some()))
            .map(|one| (one.name, one.state))
            .collect()
    }

    fn leftover(name: &str, pending: bool) -> Leftover {
        Leftover {
            name: name.into(),
            value: "x".into(),
            pending,
        }
    }

    #[test]
    fn each_fact_has_its_finding() {
        use State::{Critical, Warning};
        assert_eq!(bad(|_| ()), []);
        let at = |seconds| {
            let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
            Some(("000000010000000000000001".to_owned(), time))
        };
        type Change = Box<dyn FnOnce(&mut Facts)>;
        let cases: Vec<(Change, &str, State)> = vec![
            (
                Box::new(|f| f.server.version = 140_001),
                "version",
                Critical,
            ),
            (Box::new(|f| f.server.version = 190_000), "version", Warning),
            (Box::new(|f| f.may_switch_wal = false), "rights", Critical),
            (
                Box::new(|f| f.walsender = Err(Error::failed("no"))),
                "replication",
                Critical,
            ),
            (
                Box::new(|f| f.walsender = Ok(SystemId(8))),
                "replication",
                Critical,
            ),
            (
                Box::new(|f| f.free_senders = 0),
                "max_wal_senders",
                Critical,
            ),
            (Box::new(|f| f.free_senders = 1), "max_wal_senders", Warning),
            (
                Box::new(|f| f.server.wal_level = "minimal".into()),
                "wal_level",
                Critical,
            ),
            (
                Box::new(|f| f.server.archiving.mode = "off".into()),
                "archive_mode",
                Critical,
            ),
            (
                Box::new(|f| f.archive_command = "cp %p /x/%f".into()),
                "archive_command",
                Critical,
            ),
            (
                Box::new(|f| f.archive_command = "x; pgstow archive-wal %p".into()),
                "archive_command",
                Warning,
            ),
            (
                Box::new(|f| f.archive_library = "basic_archive".into()),
                "archive_command",
                Critical,
            ),
            (
                Box::new(move |f| f.archiver.last_failed = at(9)),
                "archiver",
                Critical,
            ),
            (Box::new(|f| f.waiting = Some(500)), "archiver", Warning),
            (
                Box::new(|f| f.leftovers.push(leftover("recovery_target_time", false))),
                "recovery_target",
                Critical,
            ),
            (
                Box::new(|f| f.leftovers.push(leftover("recovery_target_xid", true))),
                "recovery_target",
                Critical,
            ),
            (
                Box::new(|f| f.full_page_writes = false),
                "full_page_writes",
                Warning,
            ),
            (
                Box::new(|f| f.clock_ahead = TimeDelta::seconds(-90)),
                "clock",
                Warning,
            ),
        ];
        for (change, name, state) in cases {
            assert_eq!(bad(change), [(name, state)]);
        }
    }

    #[test]
    fn a_standby_is_judged_as_one() {
        let standby = |f: &mut Facts| {
            f.server.standby = true;
            f.may_switch_wal = false;
            f.full_page_writes = false;
        };
        assert_eq!(bad(standby), []);
        let recovering = bad(|f| {
            standby(f);
            f.leftovers.push(leftover("recovery_target_lsn", false));
        });
        assert_eq!(recovering, [("recovery_target", State::Warning)]);
    }

    #[test]
    fn a_call_that_leads_elsewhere_is_seen() {
        let wanted = ["/usr/bin/pgstow", "--repo-url", "/a", "--cluster", "x"];
        let wanted = ArchiveCommand::new(&wanted.map(str::to_owned)).unwrap();
        for (existing, state) in [
            ("pgstow --repo-url /a --cluster x archive-wal %p", State::Ok),
            ("pgstow --config /c archive-wal %p", State::Ok),
            ("pgstow --repo-url /b archive-wal %p", State::Critical),
            ("archive-wal --cluster=y %p", State::Critical),
        ] {
            let mut facts = facts();
            facts.archive_command = existing.into();
            assert_eq!(archive_command(&facts, &wanted).state, state, "{existing}");
        }
    }
}
