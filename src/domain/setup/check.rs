//! The whole check, in order: the session, the server, the repositories, and a segment's way
//! from one to the other. What depends on something that failed is not tried.

use std::{path::Path, time::Duration};

use super::{
    archive_command::ArchiveCommand,
    arrival::{self, Destination, Way},
    checks, dump_programs,
    facts::{Facts, Readiness},
    finding::Finding,
    given_up,
    places::{self, Configured},
    probe,
};
use crate::{
    domain::wal::{failed::Failed, receive::slot::ReceiverSlot},
    error::{Kind, Result},
    postgres::{
        connection::Session, conninfo::ConnInfo, programs::Search, server_facts::ServerFacts,
    },
    repo::{
        layout::ClusterName,
        repository::{Repository, System},
    },
    util::{cancel::Cancel, clock, meter::Meter, units},
};

/// What is to be checked.
#[derive(Debug)]
pub struct Subject<'a> {
    pub info: &'a ConnInfo,
    /// The server to switch WAL on, if `info` leads to a standby.
    pub primary: Option<&'a ConnInfo>,
    pub cluster: &'a ClusterName,
    pub repositories: &'a [Configured<'a>],
    pub command: &'a ArchiveCommand,
    pub wal_limit: Duration,
    /// Of receive-wal.
    pub slot: &'a str,
    /// Where restores leave notes.
    pub state_folder: &'a Path,
    /// Where the programs are that make dumps; None: none are made.
    pub dump_programs: Option<&'a Search>,
    /// Dumps are all that was ever made, as far as repositories and this host tell.
    pub only_dumps: bool,
}

/// Checks everything; an error only if a stop was asked for.
pub fn all(subject: &Subject<'_>, cancel: &Cancel, meter: &Meter) -> Result<Vec<Finding>> {
    meter.begin("asking the server", 0);
    let session = match Session::connect(subject.info, cancel) {
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => {
            let mut findings = vec![Finding::of_error("connection", &error)];
            findings.extend(subject.repositories.iter().map(|one| {
                match open(one, subject.cluster) {
                    Ok(_) => Finding::ok("repository", one.place()),
                    Err(finding) => finding,
                }
            }));
            return Ok(findings);
        }
        Ok(session) => session,
    };
    let info = subject.info;
    let connected = format!("role {} on {}", info.user, info.server());
    let mut findings = vec![Finding::ok("connection", connected)];
    let gathered = Facts::gather(&session, info).and_then(|facts| {
        let readiness = Readiness::gather(&session, info, &facts.server, cancel)?;
        let receiver = ReceiverSlot::find(&session, subject.slot)?;
        Ok((facts, readiness, receiver))
    });
    let (facts, readiness, receiver) = match gathered {
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => {
            findings.push(Finding::of_error("rights", &error));
            return Ok(findings);
        }
        Ok(gathered) => gathered,
    };
    let failed = Failed::read(subject.state_folder);
    let receiver = receiver.as_ref();
    let command = subject.command;
    let own = checks::server(&facts, &readiness, command, failed.as_ref(), receiver);
    findings.extend(own);
    findings.push(places::state_folder(subject.state_folder));
    let programs = subject.dump_programs;
    findings.extend(programs.map(|search| dump_programs::installed(search, facts.server.version)));
    findings.extend(given_up::noted(subject.state_folder));

    meter.begin("looking at repositories", 0);
    let mut ready = Vec::new();
    for one in subject.repositories {
        match open(one, subject.cluster) {
            Err(finding) => findings.push(finding),
            Ok(repository) => {
                findings.push(places::owner(one, &repository, facts.user.as_ref()));
                match places::apart(one, &session, info, &facts) {
                    Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                    Err(error) => findings.push(Finding::of_error("repository", &error)),
                    Ok(finding) => findings.extend(finding),
                }
                match registered(one, &repository, &facts.server) {
                    Err(finding) => findings.push(finding),
                    Ok((finding, system)) => {
                        findings.push(finding);
                        findings.extend(places::space(one, &repository, readiness.database_bytes));
                        ready.push((one.name, repository, system));
                    }
                }
            }
        }
    }
    let ready: Vec<Destination<'_>> = ready
        .iter()
        .map(|(name, repository, system)| Destination {
            name,
            repository,
            system,
        })
        .collect();
    let is_archiving = facts.server.archiving.is_on(facts.server.standby);
    if subject.only_dumps && !is_archiving && receiver.is_none() {
        let findings = findings.into_iter();
        return Ok(findings.map(checks::without_backups).collect());
    }
    findings.extend(arrive(
        subject,
        &session,
        (&facts, &readiness, receiver),
        &ready,
        cancel,
        meter,
    )?);

    meter.begin("looking at what is stored", 0);
    // Behind the segment that was sent, which may have brought its timeline's history along.
    let walsender = readiness.walsender.as_ref();
    let timeline = walsender.map(|identity| identity.timeline).ok();
    let first = subject.repositories.first().map(|one| one.name);
    for one in &ready {
        let found = one
            .judge(timeline)
            .unwrap_or_else(|error| vec![Finding::of_error("backup", &error)]);
        findings.extend(
            found
                .into_iter()
                .map(|found| match first == Some(one.name) {
                    true => found,
                    false => found.naming(one.name),
                }),
        );
    }
    Ok(findings)
}

/// Tries a repository's store out, without any server.
pub fn store(configured: &Configured<'_>, cluster: &ClusterName) -> Vec<Finding> {
    // A store would make a missing folder, and so hide a disk that is not mounted.
    if let Some(folder) = configured.location.folder()
        && !folder.is_dir()
    {
        return vec![Finding::critical(
            "repository",
            format!("there is no folder {}", folder.display()),
            "if there was a repository, see that its disk is mounted and its path is right; else make one there with `pgstow init`.",
        )];
    }
    let mut findings = match open(configured, cluster) {
        Ok(repository) => {
            let mut found = vec![Finding::ok("repository", configured.place())];
            found.extend(encryption(&repository));
            found
        }
        Err(finding) => vec![finding],
    };
    match configured.location.open() {
        Ok(storage) => findings.extend(probe::probe(&*storage)),
        Err(error) => findings.push(Finding::of_error("repository", &error)),
    }
    findings
}

/// What keeps the newest system's WAL and backups from being stored, where that is the lack of keys, or their being
/// there.
fn encryption(repository: &Repository) -> Option<Finding> {
    let system = repository.systems().ok()?.pop()?;
    let refused = repository.check_encryption(&system).err();
    refused.map(|error| Finding::of_error("encryption", &error))
}

fn open(configured: &Configured<'_>, cluster: &ClusterName) -> Result<Repository, Finding> {
    Repository::open(configured.location, cluster.clone())
        .map(|repository| repository.with_keys(configured.keys))
        .map_err(|error| Finding::of_error("repository", &error))
}

pub fn registered(
    configured: &Configured<'_>,
    repository: &Repository,
    server: &ServerFacts,
) -> Result<(Finding, System), Finding> {
    const NAME: &str = "system";
    let name = configured.name;
    let system = repository.system(server.system_id).map_err(|error| {
        let nobody = repository.systems().is_ok_and(|all| all.is_empty());
        if error.kind() == Kind::Foreign && nobody {
            return Finding::critical(
                NAME,
                format!("no system is registered in repository {name} for this cluster"),
                "run `pgstow init`.",
            );
        }
        Finding::of_error(NAME, &error)
    })?;
    if system.segment_size != server.segment_size {
        return Err(Finding::critical(
            NAME,
            format!(
                "registered with WAL segments of {} in repository {name}, the server has {}",
                units::bytes(system.segment_size.bytes()),
                units::bytes(server.segment_size.bytes())
            ),
            "pg_resetwal changed them: give the cluster a new name with --cluster, and run `pgstow init`.",
        ));
    }
    repository
        .check_encryption(&system)
        .map_err(|error| Finding::of_error("encryption", &error))?;
    let what = format!(
        "{} is registered in repository {name}, WAL as {}",
        system.system_id,
        system.wal_coding()
    );
    Ok((Finding::ok(NAME, what), system))
}

fn arrive(
    subject: &Subject<'_>,
    session: &Session,
    (facts, readiness, receiver): (&Facts, &Readiness, Option<&ReceiverSlot>),
    destinations: &[Destination<'_>],
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Vec<Finding>> {
    const NAME: &str = "wal";
    let not_tried = |why: &str| {
        vec![Finding::warning(
            NAME,
            format!("not proven that WAL arrives: {why}"),
            "mend what is critical above, then run `pgstow check` again.",
        )]
    };
    if destinations.is_empty() {
        return Ok(not_tried("no repository is ready for it"));
    }
    let limit = subject.wal_limit;
    let proven = match (facts.server.standby, subject.primary) {
        (true, None) => {
            let walsender = readiness.walsender.as_ref();
            let position = walsender.map(|identity| identity.xlogpos).ok();
            let known = destinations.iter().map(|one| {
                one.last_arrival(position, clock::now())
                    .unwrap_or_else(|error| Finding::of_error(NAME, &error))
            });
            return Ok(known.collect());
        }
        (true, Some(primary)) => Session::connect(primary, cancel).and_then(|primary| {
            let way = Way::Archiver(None);
            arrival::prove(&primary, destinations, way, limit, cancel, meter)
        }),
        (false, _) if !facts.server.archiving.is_on(false) && receiver.is_none() => {
            return Ok(not_tried("archive_mode is off"));
        }
        (false, _) if !readiness.may_switch_wal => {
            return Ok(not_tried("the role may not switch to a new segment"));
        }
        (false, _) => {
            let slot = receiver.filter(|_| !facts.server.archiving.is_on(false));
            let way = slot.map_or(Way::Archiver(facts.waiting), Way::Receiver);
            arrival::prove(session, destinations, way, limit, cancel, meter)
        }
    };
    match proven {
        Err(error) if error.kind() != Kind::Interrupted => {
            Ok(vec![Finding::of_error(NAME, &error)])
        }
        proven => proven,
    }
}
