//! The whole check, in order: the session, the server, the repositories, and a segment's way
//! from one to the other. What depends on something that failed is not tried.

use std::time::Duration;

use super::{
    archive_command::ArchiveCommand,
    arrival::{self, Destination},
    checks,
    facts::Facts,
    finding::Finding,
    probe,
    server_user::ServerUser,
};
use crate::{
    error::{Kind, Result},
    postgres::{connection::Session, conninfo::ConnInfo, server_facts::ServerFacts},
    repo::{
        catalog::State,
        layout::ClusterName,
        location::Location,
        repository::{Repository, System},
    },
    util::{cancel::Cancel, fs::free_bytes, meter::Meter, units},
};

/// A repository as it is configured.
#[derive(Clone, Debug)]
pub struct Configured<'a> {
    pub name: &'a str,
    pub location: &'a Location,
}

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
                    Ok(_) => Finding::ok("repository", place(one)),
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
    let facts = match Facts::gather(&session, info, cancel) {
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => {
            findings.push(Finding::of_error("rights", &error));
            return Ok(findings);
        }
        Ok(facts) => facts,
    };
    findings.extend(checks::server(&facts, subject.command));

    meter.begin("looking at repositories", 0);
    let mut ready = Vec::new();
    for one in subject.repositories {
        match open(one, subject.cluster) {
            Err(finding) => findings.push(finding),
            Ok(repository) => {
                findings.push(owner(one, &repository, facts.user.as_ref()));
                match registered(one, &repository, &facts.server) {
                    Err(finding) => findings.push(finding),
                    Ok((finding, system)) => {
                        findings.push(finding);
                        findings.extend(space(one, &repository));
                        ready.push((one.name, repository, system));
                    }
                }
            }
        }
    }
    findings.extend(arrive(subject, &session, &facts, &ready, cancel, meter)?);
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
            "make a repository there with `pgstow init`; if there was one, check that its disk is mounted.",
        )];
    }
    let mut findings = vec![match open(configured, cluster) {
        Ok(_) => Finding::ok("repository", place(configured)),
        Err(finding) => finding,
    }];
    findings.extend(probe::probe(&*configured.location.open()));
    findings
}

fn open(configured: &Configured<'_>, cluster: &ClusterName) -> Result<Repository, Finding> {
    Repository::open(configured.location, cluster.clone())
        .map_err(|error| Finding::of_error("repository", &error))
}

fn place(configured: &Configured<'_>) -> String {
    format!("{} at {}", configured.name, configured.location)
}

/// Whether archive_command can write there, as far as owner and mode tell.
fn owner(
    configured: &Configured<'_>,
    repository: &Repository,
    user: Option<&ServerUser>,
) -> Finding {
    const NAME: &str = "repository";
    if let (Some(user), Some(root)) = (user, configured.location.folder()) {
        let folder = root.join(repository.layout().cluster().as_str());
        let folder = if folder.is_dir() { &folder } else { root };
        let name = &user.account.name;
        let show = folder.display();
        match user.seems_to_write(folder) {
            Err(error) => return Finding::of_error(NAME, &error),
            Ok(false) => {
                return Finding::warning(
                    NAME,
                    format!(
                        "the server's user {name} doesn't seem to be allowed to write into {show}"
                    ),
                    format!("run: chown -R {name} {show}"),
                );
            }
            Ok(true) => {}
        }
    }
    Finding::ok(NAME, place(configured))
}

fn registered(
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
    let what = format!(
        "{} is registered in repository {name}, WAL as {}",
        system.system_id, system.wal_codec
    );
    Ok((Finding::ok(NAME, what), system))
}

/// Nothing where the store doesn't tell how much it takes.
fn space(configured: &Configured<'_>, repository: &Repository) -> Option<Finding> {
    const NAME: &str = "space";
    let folder = configured.location.folder()?;
    let looked = free_bytes(folder).and_then(|free| Ok((free, repository.backups()?)));
    let (free, entries) = match looked {
        Err(error) => return Some(Finding::of_error(NAME, &error)),
        Ok(looked) => looked,
    };
    let newest = entries.iter().rev().find_map(|entry| match &entry.state {
        State::Complete(backup) | State::Pending(backup) => Some(backup.stored_bytes),
        State::Unfinished(_) | State::Unreadable(_) => None,
    });
    Some(judge_space(configured.name, free, newest))
}

fn judge_space(name: &str, free: u64, newest: Option<u64>) -> Finding {
    const NAME: &str = "space";
    const HINT: &str = "free space, or give the file system more.";
    let room = units::bytes(free);
    let Some(size) = newest else {
        let what = format!("{room} free in repository {name}, which has no backup yet");
        return Finding::ok(NAME, what);
    };
    let what = format!(
        "{room} free in repository {name}, the newest backup takes {}",
        units::bytes(size)
    );
    match () {
        // WAL comes on top of it.
        () if free < size => Finding::critical(NAME, what, HINT),
        () if free / 2 < size => Finding::warning(NAME, what, HINT),
        () => Finding::ok(NAME, what),
    }
}

fn arrive(
    subject: &Subject<'_>,
    session: &Session,
    facts: &Facts,
    ready: &[(&str, Repository, System)],
    cancel: &Cancel,
    meter: &Meter,
) -> Result<Vec<Finding>> {
    const NAME: &str = "wal";
    let destinations: Vec<Destination<'_>> = ready
        .iter()
        .map(|(name, repository, system)| Destination {
            name,
            repository,
            system,
        })
        .collect();
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
            return Ok(vec![Finding::ok(
                NAME,
                "a standby can't switch WAL: run `pgstow check` on the primary, or name it (primary_host)",
            )]);
        }
        (true, Some(primary)) => Session::connect(primary, cancel).and_then(|primary| {
            arrival::prove(&primary, &destinations, None, limit, cancel, meter)
        }),
        (false, _) if !facts.server.archiving.is_on(false) => {
            return Ok(not_tried("archive_mode is off"));
        }
        (false, _) if !facts.may_switch_wal => {
            return Ok(not_tried("the role may not switch to a new segment"));
        }
        (false, _) => arrival::prove(session, &destinations, facts.waiting, limit, cancel, meter),
    };
    match proven {
        Err(error) if error.kind() != Kind::Interrupted => {
            Ok(vec![Finding::of_error(NAME, &error)])
        }
        proven => proven,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding, *};

    #[test]
    fn space_is_judged_by_the_newest_backup() {
        for (free, newest, state) in [
            (0, None, finding::State::Ok),
            (99, Some(100), finding::State::Critical),
            (150, Some(100), finding::State::Warning),
            (200, Some(100), finding::State::Ok),
        ] {
            assert_eq!(judge_space("local", free, newest).state, state, "{free}");
        }
    }
}
