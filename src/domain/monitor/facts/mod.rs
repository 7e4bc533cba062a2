//! What there is to be judged. Every source may fail, and has a time limit: then its error is the
//! fact, and the others are told all the same.

pub mod arrivals;
pub mod disks;
pub mod minimal;
pub mod server;
pub mod stock;
pub mod timers;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arrivals::Arrivals;
use disks::{Disk, Place};
use minimal::Spell;
use server::Server;
use timers::Timer;

use super::{
    measures::{self, Measures},
    runs::{self, Run},
    state_file,
};
use crate::{
    domain::{
        setup::{facts::Waiting, stored::Stored},
        wal::{
            failed::Failed,
            gaps,
            receive::{self, files},
        },
    },
    error::{Error, Kind, Result},
    postgres::{conninfo::ConnInfo, lsn::SystemId},
    repo::{
        crypt::Keys,
        dump::Dump,
        dump_name::{self, Class, DumpName},
        dumps::Overview,
        gap::Gap,
        lack::Behind,
        layout::ClusterName,
        location::Location,
        repository::{Repository, System},
    },
    util::{
        cancel::Cancel,
        clock::{self, Time},
        errand::Errand,
        fs::{self, Room},
    },
};

/// When `monitor` looked last, in the state folder.
const LOOKED: &str = "monitored";

/// A repository that is looked at.
#[derive(Clone, Debug)]
pub struct Watched {
    pub name: String,
    pub location: Location,
    /// Without them nothing is opened; they tell what could be.
    pub keys: Arc<Keys>,
}

impl Watched {
    fn open(&self, cluster: ClusterName) -> Result<Repository> {
        Ok(Repository::open(&self.location, cluster)?.with_keys(&self.keys))
    }
}

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    pub cluster: ClusterName,
    /// As the settings name it: for when the server can't be asked.
    pub data_dir: Option<PathBuf>,
    pub repositories: Vec<Watched>,
    /// Names and places of those that `sync` fills from the first.
    pub synced: Vec<(String, Location)>,
    pub state_folder: PathBuf,
    /// For all of it.
    pub limit: Duration,
}

#[derive(Debug)]
pub struct Facts {
    pub server: Result<Server>,
    pub repositories: Vec<Holding>,
    /// By name.
    pub synced: Vec<(String, Result<Behind>)>,
    /// WAL that was given up, and that no repository knows of yet.
    pub given_up: Result<Vec<Gap>>,
    /// The last time when the server wrote WAL of which none can be replayed.
    pub minimal: Result<Option<Spell>>,
    /// Since when the server's databases are there, as far as anybody knows.
    pub arrivals: Arrivals,
    /// Why archive-wal failed last on this host; None, too, where that can't be read.
    pub archive_failed: Option<Failed>,
    /// Whole segments that receive-wal keeps on this host until all repositories have them; none, too, where that
    /// can't be read.
    pub received: Waiting,
    /// Whether it ever received anything here.
    pub has_received: bool,
    pub disks: Vec<Disk>,
    /// The room of the state folder, in which something could be written just now.
    pub state: Result<Room>,
    /// Oldest first.
    pub runs: Result<Vec<Run>>,
    /// None where no systemd runs.
    pub timers: Result<Option<Vec<Timer>>>,
}

/// A repository, and what it has of the server's system.
#[derive(Debug)]
pub struct Holding {
    pub name: String,
    pub place: String,
    pub stored: Result<Stored>,
    /// Of each database of which there are any.
    pub dumps: Result<Vec<NewestDump>>,
    /// Why dumps that were whole are not any more, as far as it shows without reading them.
    pub lost_dumps: BTreeMap<DumpName, String>,
}

/// The newest dump of a database, as far as it is judged and shown.
#[derive(Clone, Debug)]
pub struct NewestDump {
    pub subject: dump_name::Subject,
    /// Whether dumps of it are made again and again, so that they are missed.
    pub is_regular: bool,
    /// None: not one is good.
    pub good: Option<GoodDump>,
}

#[derive(Clone, Debug)]
pub struct GoodDump {
    pub class: Class,
    /// Of the state that it holds.
    pub time: Time,
    pub stored_bytes: u64,
    /// When it was restored and found good.
    pub proven: Option<Time>,
}

impl Holding {
    fn heard(name: String, place: String, looked: Result<Looked>) -> Self {
        let (stored, dumps) = match looked {
            Ok((stored, dumps)) => (Ok(stored), dumps),
            Err(error) => {
                let again = Error::new(error.kind(), error.in_one_line());
                (Err(error), Err(again))
            }
        };
        let (dumps, lost_dumps) = match dumps {
            Ok((dumps, lost)) => (Ok(dumps), lost),
            Err(error) => (Err(error), BTreeMap::new()),
        };
        Self {
            name,
            place,
            stored,
            dumps,
            lost_dumps,
        }
    }
}

impl Facts {
    /// `info`: the way to the server, if there is one. An error only if a stop was asked for.
    pub fn gather(subject: &Subject, info: Result<ConnInfo>, cancel: &Cancel) -> Result<Self> {
        let until = Instant::now() + subject.limit;
        // Which system to look for in the repositories, and where the disks are, the server says; a server
        // that hangs leaves them the other half.
        let half = subject.limit / 2;
        let stop = cancel.clone();
        let server = heard(info.and_then(|info| {
            let what = format!("asking the server at {}", info.server());
            let server = Errand::send(what, move || Server::gather(&info, half, &stop));
            server.wait(Instant::now() + half, cancel)
        }))?;

        let system = server.as_ref().ok().map(|one| one.facts.server.system_id);
        let seen = server.as_ref().ok().and_then(Spell::seen);
        let noted = Noted {
            seen: seen.clone(),
            state: subject.state_folder.clone(),
        };
        let repositories = subject.send_to_repositories(system, Some(&noted));
        let synced = subject.send_to_synced();
        let disks = disks::send(&subject.places(server.as_ref().ok()));
        let writable = subject.send_to_state();
        let state = subject.state_folder.clone();
        let state = Errand::send(format!("reading {}", state.display()), move || {
            Ok(State {
                given_up: gaps::noted(&state),
                minimal: Spell::read(&state),
                archive_failed: Failed::read(&state),
                received: received(&state),
                has_received: has_received(&state),
                runs: runs::read(&state),
                arrivals: Arrivals::read(&state),
                measures: Measures::read(&state),
            })
        });
        let (cluster, stop) = (subject.cluster.clone(), cancel.clone());
        let timers = Errand::send("asking systemd for its timers", move || {
            timers::gather(cluster.as_str(), half, &stop)
        });

        let repositories: Result<Vec<Holding>> = repositories
            .into_iter()
            .map(|(name, place, errand)| {
                let looked = heard(errand.wait(until, cancel))?;
                Ok(Holding::heard(name, place, looked))
            })
            .collect();
        let repositories = repositories?;
        let synced: Result<Vec<_>> = synced
            .into_iter()
            .map(|(name, errand)| Ok((name, heard(errand.wait(until, cancel))?)))
            .collect();
        let state = match heard(state.wait(until, cancel))? {
            Ok(state) => state,
            Err(error) => State::unreadable(&error),
        };
        let measures = state.measures.unwrap_or_default();
        let disks = disks::wait(disks, &measures, until, clock::now(), cancel)?;
        let rooms = disks.iter().filter_map(|disk| {
            let room = disk.room.as_ref().ok()?;
            Some((disk.name.clone(), *room))
        });
        measures::note(&subject.state_folder, measures, rooms, until, cancel)?;
        if let Some(spell) = &seen {
            spell.note(&subject.state_folder, until, cancel)?;
        }
        let arrivals = state.arrivals.unwrap_or_default();
        let arrivals = match &server {
            Ok(server) => {
                let here = (subject.state_folder.as_path(), clock::now());
                arrivals.look(server, here, until, cancel)?
            }
            Err(_) => arrivals,
        };
        Ok(Self {
            server,
            repositories,
            synced: synced?,
            given_up: state.given_up,
            minimal: match seen {
                Some(spell) => Ok(Some(spell)),
                None => state.minimal,
            },
            arrivals,
            archive_failed: state.archive_failed,
            received: state.received,
            has_received: state.has_received,
            disks,
            state: heard(writable.wait(until, cancel))?,
            runs: state.runs,
            timers: heard(timers.wait(until, cancel))?,
        })
    }
}

/// What the state folder holds.
struct State {
    given_up: Result<Vec<Gap>>,
    minimal: Result<Option<Spell>>,
    archive_failed: Option<Failed>,
    received: Waiting,
    has_received: bool,
    runs: Result<Vec<Run>>,
    arrivals: Result<Arrivals>,
    measures: Result<Measures>,
}

impl State {
    fn unreadable(error: &Error) -> Self {
        let again = || Error::new(error.kind(), error.in_one_line());
        Self {
            given_up: Err(again()),
            minimal: Err(again()),
            archive_failed: None,
            received: Waiting::default(),
            has_received: false,
            runs: Err(again()),
            arrivals: Err(again()),
            measures: Err(again()),
        }
    }
}

fn received(state: &Path) -> Waiting {
    let waiting = files::waiting(&state.join(receive::FOLDER));
    let (files, oldest) = waiting.unwrap_or_default();
    Waiting { files, oldest }
}

fn has_received(state: &Path) -> bool {
    let begun = files::partial(&state.join(receive::FOLDER));
    begun.is_ok_and(|begun| !begun.is_empty())
}

/// An error is a fact as well, but for a stop that was asked for.
fn heard<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        other => Ok(other),
    }
}

/// What this host knows of `wal_level = minimal`.
#[derive(Clone, Debug)]
struct Noted {
    /// Just now.
    seen: Option<Spell>,
    state: PathBuf,
}

impl Noted {
    /// What can't be read is told by who reads it for the checks.
    fn spell(&self) -> Option<Spell> {
        let before = || Spell::read(&self.state).ok().flatten();
        self.seen.clone().or_else(before)
    }
}

/// Beside the newest dumps those that are lost.
type Looked = (
    Stored,
    Result<(Vec<NewestDump>, BTreeMap<DumpName, String>)>,
);

type Sent = (String, String, Errand<Looked>);

impl Subject {
    /// What all repositories have of `system`, else of the newest, without any server.
    pub fn holdings(&self, cancel: &Cancel) -> Result<Vec<Holding>> {
        let until = Instant::now() + self.limit;
        let sent = self.send_to_repositories(None, None).into_iter();
        sent.map(|(name, place, errand)| {
            let looked = heard(errand.wait(until, cancel))?;
            Ok(Holding::heard(name, place, looked))
        })
        .collect()
    }

    fn send_to_repositories(&self, system: Option<SystemId>, noted: Option<&Noted>) -> Vec<Sent> {
        let send = |watched: &Watched| {
            let (name, place) = (watched.name.clone(), watched.location.to_string());
            let what = format!("looking at repository {name} at {place}");
            let (watched, cluster, noted) = (watched.clone(), self.cluster.clone(), noted.cloned());
            let errand = Errand::send(what, move || {
                look(&watched, cluster, system, noted.as_ref())
            });
            (name, place, errand)
        };
        self.repositories.iter().map(send).collect()
    }

    /// Leaves a note there, as everything does that must not be said twice, or forgotten.
    fn send_to_state(&self) -> Errand<Room> {
        let folder = self.state_folder.clone();
        let what = format!("writing to {}", folder.display());
        Errand::send(what, move || {
            state_file::write(&folder, LOOKED, clock::now().to_rfc3339().as_bytes())?;
            fs::room(&folder)
        })
    }

    fn send_to_synced(&self) -> Vec<(String, Errand<Behind>)> {
        let Some(Watched {
            location: source, ..
        }) = self.repositories.first()
        else {
            return Vec::new();
        };
        let send = |(name, location): &(String, Location)| {
            let what = format!("comparing repository {name} at {location} with {source}");
            let (source, other, cluster) = (source.clone(), location.clone(), self.cluster.clone());
            let compare = move || {
                let source = Repository::open(&source, cluster.clone())?;
                Behind::look(&source, &Repository::open(&other, cluster)?)
            };
            (name.clone(), Errand::send(what, compare))
        };
        self.synced.iter().map(send).collect()
    }

    fn places(&self, server: Option<&Server>) -> Vec<Place> {
        let repositories = self.repositories.iter();
        let mut places: Vec<Place> = repositories
            .filter_map(|repository| {
                Some(Place {
                    name: format!("repo.{}", repository.name),
                    path: repository.location.folder()?.to_owned(),
                })
            })
            .collect();
        let here = server.filter(|one| one.facts.user.is_some());
        let data_dir = here.map(|one| one.facts.server.data_directory.clone());
        if let Some(data_dir) = data_dir.or_else(|| self.data_dir.clone()) {
            let named = |name: &str, path: PathBuf| Place {
                name: name.to_owned(),
                path,
            };
            places.push(named("pg_wal", data_dir.join("pg_wal")));
            places.push(named("data", data_dir));
        }
        places
    }
}

fn look(
    watched: &Watched,
    cluster: ClusterName,
    system: Option<SystemId>,
    noted: Option<&Noted>,
) -> Result<Looked> {
    let repository = watched.open(cluster)?;
    let system = match system {
        Some(system) => repository.system(system)?,
        None => newest(&repository)?,
    };
    let mut stored = Stored::gather(&watched.name, &repository, &system)?;
    if let Some(noted) = noted {
        stored.remember_restores(&noted.state);
    }
    if let Some(spell) = noted.and_then(Noted::spell) {
        spell.tell(&repository, &stored);
    }
    let verdicts = &stored.archive.verdicts;
    let good = |dump: Box<Dump>| GoodDump {
        class: dump.class,
        proven: verdicts
            .dumps
            .get(&dump.name)
            .filter(|(_, word)| word.was_restored())
            .map(|(time, _)| *time),
        time: dump.snapshot.map_or(dump.begun, |snapshot| snapshot.time),
        stored_bytes: dump.data.stored_bytes,
    };
    let dumps = repository.overview_of_dumps(verdicts, clock::now());
    let dumps = dumps.map(|Overview { newest, lost }| {
        let newest = newest.into_iter().map(|(subject, newest)| NewestDump {
            subject,
            is_regular: newest.is_regular,
            good: newest.good.map(good),
        });
        (newest.collect(), lost)
    });
    Ok((stored, dumps))
}

/// The system that was registered last.
fn newest(repository: &Repository) -> Result<System> {
    repository.systems()?.pop().ok_or_else(|| {
        Error::new(
            Kind::Foreign,
            format!(
                "no system is registered for cluster {} in repository {}",
                repository.layout().cluster(),
                repository.location()
            ),
        )
        .hint("run `pgstow init`.")
    })
}
