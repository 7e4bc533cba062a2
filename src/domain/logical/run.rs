//! A run of `dump`: the globals, then each database, whatever became of those before it.

use tracing::warn;

use super::{
    claim,
    databases::{self, Chosen},
    making::Maker,
    remains,
    request::Request,
};
use crate::{
    error::{Error, Kind, Result},
    postgres::{
        client_programs::ClientPrograms, connection::Session, conninfo::ConnInfo, lsn::SystemId,
        programs::Search, version::Major,
    },
    repo::{dump::Dump, dump_name::Subject, dump_part, dumps::DumpEntry, repository::Repository},
    util::{cancel::Cancel, clock, meter::Meter},
};

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    pub dumps: Vec<Dump>,
    pub failed: Vec<(Subject, Error)>,
    /// Whether failures are told as they come: others follow.
    tells: bool,
}

/// Dumps what is asked for from the server at `info`.
///
/// # Errors
/// Nothing could be dumped at all, or a stop was asked for.
pub fn run(
    repository: &Repository,
    info: &ConnInfo,
    search: &Search,
    request: &Request,
    meter: &Meter,
    cancel: &Cancel,
) -> Result<Outcome> {
    request.check()?;
    meter.begin("preparing", 0);
    let time = clock::now();
    let session = Session::connect(info, cancel)?;
    let server_version = session.server_version_num()?;
    let major = Major::from_server_version_num(server_version)?;
    let programs = ClientPrograms::find(search, major)?;
    let system_id = session.query_one("SELECT system_identifier FROM pg_control_system()", &[])?;
    let system_id = SystemId(system_id.parse::<i64>(0)?.cast_unsigned());
    repository.check_encryption(&repository.system(system_id)?)?;
    let Chosen { names, missing } = databases::chosen(&session, &request.choice)?;
    let entries = repository.dumps()?;
    claim::clear_remains(repository, &entries)?;
    let verdicts = repository.verdicts(|_| false)?;
    let whole = entries.iter().filter_map(DumpEntry::whole);
    let good = whole.filter(|dump| verdicts.against(&dump.name).is_none());
    let part = dump_part::part(&request.selection.options());
    let alike = good.filter(|dump| dump.database.is_none() || dump.part() == part);
    let earlier = alike
        .map(|dump| (dump.subject(), dump.name.time(), dump.class))
        .collect();
    remains::sweep();
    let maker = Maker {
        repository,
        programs: &programs,
        info,
        request,
        system_id,
        server_version,
        time,
        earlier,
        meter,
        cancel,
    };
    let mut outcome = Outcome {
        // The only one's error is that of the run.
        tells: request.globals || names.len() + missing.len() > 1,
        ..Outcome::default()
    };
    if request.globals {
        outcome.take(Subject::Globals, maker.globals(&session))?;
    }
    // Held no longer: the databases may take hours.
    drop(session);
    for (name, error) in missing {
        outcome.take(Subject::Database(name), Err(error))?;
    }
    for name in names {
        let dump = maker.database(&name);
        outcome.take(Subject::Database(name), dump)?;
    }
    Ok(outcome)
}

impl Outcome {
    fn take(&mut self, subject: Subject, made: Result<Dump>) -> Result<()> {
        match made {
            Ok(dump) => self.dumps.push(dump),
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                if self.tells {
                    warn!("no dump of {subject}: {}", error.in_one_line());
                }
                self.failed.push((subject, error));
            }
        }
        Ok(())
    }
}
