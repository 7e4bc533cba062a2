//! How WAL leaves the server, as its settings and its archiver tell.

use std::path::Path;

use super::super::{
    archive_command::{ArchiveCommand, Call, Existing},
    facts::{Facts, Waiting},
    finding::Finding,
};
use crate::{
    domain::wal::{failed::Failed, receive::slot::ReceiverSlot},
    util::{clock::readable, units},
};

/// More waiting files than a healthy archiver leaves for longer than a moment.
const BACKLOG: u64 = 10;

pub fn wal_level(facts: &Facts) -> Finding {
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

/// `receiver`: the slot of receive-wal.
pub fn archive_mode(facts: &Facts, receiver: Option<&ReceiverSlot>) -> Finding {
    const NAME: &str = "archive_mode";
    let mode = &facts.server.archiving.mode;
    if let Some(slot) = receiver.filter(|_| is_received(facts)) {
        return Finding::ok(NAME, format!("off: {}", slot.describe()));
    }
    match (mode.as_str(), facts.server.standby) {
        ("off", false) => Finding::critical(
            NAME,
            "off: WAL is not archived",
            "set archive_mode = on (`pgstow init --apply`) and restart the server, or have `pgstow receive-wal` bring it (--create-slot first).",
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

/// Whether WAL comes by receive-wal, where there is a slot for that.
fn is_received(facts: &Facts) -> bool {
    !facts.server.standby && !facts.server.archiving.is_on(false)
}

pub fn archive_command(
    facts: &Facts,
    command: &ArchiveCommand,
    receiver: Option<&ReceiverSlot>,
) -> Finding {
    const NAME: &str = "archive_command";
    if receiver.is_some() && is_received(facts) {
        return Finding::ok(NAME, "not used, since archive_mode is off");
    }
    const SET: &str = "`pgstow init` prints the right one, `init --apply` sets it.";
    const SET_ANEW: &str = "if nobody else needs it: `ALTER SYSTEM RESET archive_command`, a reload, and `pgstow init --apply`, which replaces no other one.";
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
            let what = format!("doesn't call pgstow, so its WAL is not stored here: {existing}");
            Finding::critical(NAME, what, SET_ANEW)
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
    let wants = || format!("this call of pgstow wants: {}", command.text());
    if let Some(why) = command.differs(call) {
        return Finding::critical(NAME, format!("{why}: {existing}"), wants());
    }
    if !call.names_file {
        let what = format!("doesn't give archive-wal the file's path, %p: {existing}");
        return Finding::critical(NAME, what, wants());
    }
    let here = facts.user.is_some();
    let is_gone = |path: &&str| here && path.starts_with('/') && !Path::new(path).exists();
    if Some(call.program.as_str()).filter(is_gone).is_some() {
        return Finding::critical(
            NAME,
            format!("there is no {}", call.program),
            "install pgstow there, or set archive_command as `pgstow init` prints it.",
        );
    }
    if let Some(config) = call.option("--config").filter(is_gone) {
        return Finding::critical(NAME, format!("there is no {config}: {existing}"), wants());
    }
    Finding::ok(NAME, existing)
}

/// `failed`: what archive-wal noted here.
pub fn archiver(facts: &Facts, failed: Option<&Failed>) -> Finding {
    const NAME: &str = "archiver";
    let state = &facts.archiver;
    if let (true, Some((wal, time))) = (state.is_failing(), &state.last_failed) {
        return Finding::critical(
            NAME,
            format!(
                "fails: {} failures, the last at {} with {wal}{}: {}",
                state.failed,
                readable(*time),
                waiting(facts.waiting),
                Failed::why(failed, wal)
            ),
            Failed::cure(failed, wal),
        );
    }
    if let Some(count @ BACKLOG..) = facts.waiting.map(|waiting| waiting.files) {
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

pub fn waiting(waiting: Option<Waiting>) -> String {
    waiting.map_or(String::new(), |waiting| {
        let files = units::count(waiting.files, "file");
        format!("; {files} waiting to be archived")
    })
}
