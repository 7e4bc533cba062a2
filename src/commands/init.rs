//! `pgstow init`: makes the repository, registers the system, words or sets the server's settings.

use std::{io, path::PathBuf};

use rustix::process::geteuid;
use serde::Serialize;
use tracing::{info, warn};

use super::{context::Context, options::InitOptions, report::Report};
use crate::{
    domain::{
        backup::apart,
        monitor::runs,
        setup::{
            init::{self, Registered, Wanted},
            server_settings::{self, Change, Setting},
            server_user::ServerUser,
        },
    },
    error::Result,
    postgres::{connection::Session, lsn::SystemId, server_facts::ServerFacts, version::Major},
    repo::remembered,
    util::{clock::readable, fs::create_folders},
};

#[derive(Debug, Serialize)]
pub struct InitReport {
    cluster: String,
    system_id: SystemId,
    postgres_version: u32,
    segment_size: u64,
    repositories: Vec<Registered>,
    /// None where it could not be made.
    state_folder: Option<PathBuf>,
    settings: Vec<Setting>,
    /// Whether the settings were set by this run.
    applied: bool,
}

pub fn run(context: &Context, options: &InitOptions) -> Result<InitReport> {
    let settings = &context.settings;
    let cluster = &settings.cluster.name;
    // Refuses where none is set.
    settings.repo()?;
    let command = context.archive_command(&options.archive_call)?;
    let connection = settings.cluster.connection.resolve()?;
    let session = Session::connect(&connection, &context.cancel)?;
    let facts = ServerFacts::gather(&session)?;
    let major = Major::from_server_version_num(facts.version)?;
    if !major.is_tested() {
        warn!("this version of pgstow was not tested with PostgreSQL {major}");
    }
    let user = ServerUser::find(&connection, &facts)?;
    let wanted: Vec<Wanted<'_>> = settings
        .repos
        .iter()
        .map(|repo| Wanted {
            location: &repo.location,
            wal_codec: repo.compression.codec,
            keys: &repo.keys,
        })
        .collect();

    // All refusals come before anything is made.
    match &user {
        Some(user) => user.refuse_stranger()?,
        None => warn!(
            "the server seems to run on another host: archive_command runs there, and must find this \
             program and the repository at the same place"
        ),
    }
    for one in &wanted {
        apart::refuse_inside(one.location, &session, &connection, &facts)?;
        init::refuse_unmounted(one.location, cluster)?;
        init::refuse_other_encryption(one, cluster, &facts)?;
    }
    if !options.new_system {
        for one in &wanted {
            init::refuse_other_system(one, cluster, &facts)?;
        }
    }
    let mut stands = server_settings::gather(&session, &command)?;
    if options.apply {
        let existing = stands.iter().find(|one| one.name == "archive_command");
        let existing = existing.map_or("", |one| &one.now);
        server_settings::refuse_foreign(existing, &facts.archiving.library, &command)?;
    }

    let mut repositories = Vec::new();
    for one in &wanted {
        repositories.push(init::register(one, cluster, &facts, user.as_ref())?);
    }
    // Of a repository that was at the same place before.
    remembered::forget(&settings.state_folder())?;
    if options.of_file {
        warn_of_earlier(context, &repositories);
    }
    let state_folder = make_state_folder(context, user.as_ref());
    if let Some(user) = user.as_ref().filter(|user| !user.is_us()) {
        for repo in &settings.repos {
            user.try_repository(&options.archive_call, &repo.name, &context.cancel)?;
        }
    }
    if options.apply {
        stands = server_settings::apply(&session, &stands, &command, &context.cancel)?;
    }
    Ok(InitReport {
        cluster: cluster.to_string(),
        system_id: facts.system_id,
        postgres_version: facts.version,
        segment_size: facts.segment_size.bytes(),
        repositories,
        state_folder,
        settings: stands,
        applied: options.apply,
    })
}

/// An empty folder may be all that is seen of a disk that is not mounted; where nobody noted any run, nobody knows.
fn warn_of_earlier(context: &Context, made: &[Registered]) {
    let settings = &context.settings;
    let runs = runs::read(&settings.state_folder()).unwrap_or_default();
    for (repo, one) in settings.repos.iter().zip(made) {
        let mut earlier = runs.iter().rev().filter(|run| run.repository == repo.name);
        let earlier = earlier.find_map(|run| Some((run.told.backup?, run.begun)));
        if let Some((id, begun)) = earlier.filter(|_| one.repository_made) {
            warn!(
                "{} is new, but this host took backup {id} into repository {} at {}: if that one's disk is not \
                 mounted, delete what was made here, mount it, and run `pgstow init` again",
                one.repository,
                repo.name,
                readable(begun)
            );
        }
    }
}

/// Notes of this host. Nothing is lost without them, so a folder that can't be made is no error.
fn make_state_folder(context: &Context, user: Option<&ServerUser>) -> Option<PathBuf> {
    let settings = &context.settings;
    let folder = settings.state_folder();
    let made = match user {
        Some(user) => user.make_folder(&folder).and_then(|_| user.own(&folder)),
        None => create_folders(&folder, 0o750, None),
    };
    match made {
        Ok(()) => Some(folder),
        Err(error) => {
            let who = match geteuid().is_root() {
                true => "",
                false => "; as root, init makes it",
            };
            info!("no state folder: {}{who}", error.in_one_line());
            None
        }
    }
}

impl Report for InitReport {
    fn text(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for one in &self.repositories {
            let made = if one.repository_made {
                "made"
            } else {
                "is there"
            };
            writeln!(out, "repository {} {made}", one.repository)?;
            let registered = match one.system_registered {
                true => "registered",
                false => "was registered before",
            };
            writeln!(
                out,
                "  cluster {}: system {} (PostgreSQL {}) {registered}, WAL as {}{}",
                self.cluster,
                self.system_id,
                self.postgres_version / 10_000,
                one.wal_codec,
                if one.encrypted { ", encrypted" } else { "" }
            )?;
        }
        if let Some(folder) = &self.state_folder {
            writeln!(out, "state folder {}", folder.display())?;
        }
        writeln!(out)?;
        match self.applied {
            true => writeln!(out, "# set by ALTER SYSTEM where needed")?,
            false => writeln!(out, "# for postgresql.conf")?,
        }
        for setting in &self.settings {
            writeln!(out, "{}", line(setting))?;
        }
        writeln!(out)?;
        writeln!(out, "{}", self.next_step())
    }
}

impl InitReport {
    fn next_step(&self) -> &'static str {
        let any = |change| self.settings.iter().any(|one| one.change == change);
        match (self.applied, any(Change::Restart) || any(Change::Pending)) {
            (true, true) => {
                "The server takes some of them only when it is restarted: do that, then run `pgstow check`."
            }
            (false, true) => {
                "Set these (or run `pgstow init --apply`), restart the server, then run `pgstow check`."
            }
            (true, false) if any(Change::Reload) => {
                "The server did not take all of them: its log tells why."
            }
            (false, false) if any(Change::Reload) => {
                "Set these (or run `pgstow init --apply`), reload the server, then run `pgstow check`."
            }
            (_, false) => "The server's settings fit; `pgstow check` proves that all works.",
        }
    }
}

/// A line of postgresql.conf, and how it stands.
fn line(setting: &Setting) -> String {
    let value = server_settings::escaped(&setting.value);
    let now = match setting.now.as_str() {
        "" => "empty",
        now => now,
    };
    let note = match setting.change {
        Change::Fits => "fits".to_owned(),
        Change::Reload => format!("now {now}; needs a reload"),
        Change::Restart => format!("now {now}; needs a restart"),
        Change::Pending => format!("now {now}; changed already, waits for a restart"),
    };
    format!("{} = '{value}'  # {note}", setting.name)
}
