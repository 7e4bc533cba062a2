//! `pgstow restore --table` and `--database`: brings a part of a backup back, beside what lives.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use serde::Serialize;

use super::{
    context::Context,
    drill::ground,
    nearest::Reached,
    options::{GroundOptions, RegainOptions},
    report::{Outcome, Report},
};
use crate::{
    domain::{
        drill::ground::Ground,
        regain::{
            self, Regained,
            around::Surroundings,
            moment::Way,
            plan::{self, Planned},
            request::{Request, To},
        },
        restore::{keys, measured, target::Target},
    },
    error::{IoContext, Result},
    postgres::programs::Search,
    util::{clock::readable, units},
};

#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RegainReport {
    BroughtBack(Box<Regained>),
    Planned(Box<Planned>),
}

pub fn run(context: &Context, options: RegainOptions) -> Result<RegainReport> {
    let settings = &context.settings;
    let info = match &options.to {
        To::Database(_) => Some(settings.cluster.connection.resolve()?),
        To::File(_) => None,
    };
    let to = absolute(options.to)?;
    let around = Surroundings {
        info: info.as_ref(),
        search: &Search::of_this_host(settings.cluster.bindir.clone()),
        cancel: &context.cancel,
        meter: &context.meter,
    };
    let reached = |way: &Way<'_>| {
        (options.wish.target == Target::Latest).then(|| Reached {
            system: way.system.system_id,
            end: way.end(),
            is_named: options.wish.timeline.is_named(),
        })
    };
    let way = context.read_furthest(
        &options.from,
        reached,
        |repository, flags, others, is_instead| {
            let ground_options = GroundOptions {
                server_flags: flags.to_vec(),
                ..options.ground.clone()
            };
            let (scratch, server) = (options.scratch.clone(), options.server.clone());
            let ground = Ground {
                others,
                ..ground(context, ground_options, scratch, server)?
            };
            let request = Request {
                wish: options.wish.clone(),
                what: options.what.clone(),
                to: to.clone(),
                schema: options.schema.clone(),
                owners: options.owners,
                ground,
            };
            let way = Way::find(&around, repository, request)?;
            if is_instead {
                keys::check(repository, &way.system, &way.picked.choice)?;
            }
            Ok(way)
        },
    )?;
    Ok(match options.plan {
        true => {
            let restores = measured::read(&settings.state_folder());
            RegainReport::Planned(Box::new(plan::plan(&way, &restores)?))
        }
        false => RegainReport::BroughtBack(Box::new(regain::run(way)?)),
    })
}

fn absolute(to: To) -> Result<To> {
    Ok(match to {
        To::File(path) => {
            let absolute: PathBuf = std::path::absolute(&path).at("find", &path)?;
            To::File(absolute)
        }
        other => other,
    })
}

impl Report for RegainReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            RegainReport::BroughtBack(regained) => brought_back(regained, out),
            RegainReport::Planned(planned) => told(planned, out),
        }
    }

    /// Of a plan that of the restore: who asks beforehand must not read success.
    fn outcome(&self) -> Outcome {
        match self {
            RegainReport::Planned(planned) if planned.refused.is_some() => Outcome::Failed,
            _ => Outcome::Done,
        }
    }
}

fn what(tables: usize, database: &str) -> String {
    match tables as u64 {
        0 => format!("database {database:?}"),
        count => format!("{} of {database:?}", units::count(count, "relation")),
    }
}

fn told(planned: &Planned, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<12} {value}");
    let until = if planned.exclusive {
        "just before "
    } else {
        ""
    };
    let what = what(planned.tables.len(), &planned.database);
    line(
        "bring back",
        &format!(
            "{what} of cluster {}, as of {until}{}",
            planned.cluster, planned.target
        ),
    )?;
    for table in &planned.tables {
        line("", table)?;
    }
    let (part, whole) = (
        units::bytes(planned.restored_bytes),
        units::bytes(planned.backup_bytes),
    );
    let restored = match planned.restored_bytes < planned.backup_bytes {
        true => format!("{part} of its {whole} are restored for it"),
        false => format!("all of it is restored, {whole}"),
    };
    line("backup", &format!("{}: {restored}", planned.backup))?;
    let segments = units::count(planned.segments, "segment");
    line(
        "WAL",
        &format!("{segments} on timeline {}", planned.timeline),
    )?;
    let (needed, free) = (
        units::bytes(planned.needed_bytes),
        units::bytes(planned.free_bytes),
    );
    line(
        "scratch",
        &format!(
            "in {}: up to {needed} needed, {free} free",
            planned.scratch.display()
        ),
    )?;
    if let Some(forecast) = &planned.forecast {
        line(
            "it takes",
            &format!("{forecast}; then what is wanted is dumped and loaded"),
        )?;
    }
    for reason in &planned.reasons {
        line("because", reason)?;
    }
    for warning in &planned.warnings {
        line("warning", warning)?;
    }
    match &planned.refused {
        Some(why) => line("REFUSED", &format!("as long as this is so: {why}")),
        None => Ok(()),
    }
}

fn brought_back(regained: &Regained, out: &mut dyn Write) -> io::Result<()> {
    let put = &regained.put;
    let what = what(regained.tables.len(), &regained.database);
    let place = match (&put.file, &put.to_database, &put.to_schema) {
        (Some(file), ..) => format!("written to {}", file.display()),
        (_, Some(name), _) if put.created => format!("in the new database {name:?}"),
        (_, name, Some(schema)) => format!(
            "in schema {schema:?} of database {:?}",
            name.as_deref().unwrap_or_default()
        ),
        (_, name, None) => format!("in database {:?}", name.as_deref().unwrap_or_default()),
    };
    writeln!(out, "{what}: {place}, in {}", regained.took())?;
    for table in &regained.tables {
        writeln!(out, "  {table}")?;
    }
    let until = if regained.exclusive {
        "just before "
    } else {
        ""
    };
    let newest = match regained.reached.transaction {
        Some(time) => format!(", its newest transaction of {}", readable(time)),
        None => String::new(),
    };
    writeln!(
        out,
        "as of {until}{} (backup {}, timeline {}{newest})",
        regained.target, regained.backup, regained.timeline
    )?;
    if !put.empty.is_empty() {
        writeln!(
            out,
            "these are needed by it, and came without rows: {}",
            put.empty.join(", ")
        )?;
    }
    statements(
        out,
        "it does not belong to these tables any more, of which it was a partition or which it inherited from, and which were not asked for; this puts it there again, where none lives there in its place (else detach that first, or take rows by INSERT ... SELECT):",
        &regained.parents,
    )?;
    let keys = &regained.foreign_keys;
    statements(
        out,
        "foreign keys to other tables are left out, since these may have changed meanwhile; this makes them again:",
        &keys.to_others,
    )?;
    statements(
        out,
        "foreign keys of other tables to it are gone where it was dropped with CASCADE; this makes them again:",
        &keys.from_others,
    )?;
    for warning in &regained.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    match put.to_database {
        Some(_) => writeln!(
            out,
            "Its statistics are not there yet: run ANALYZE, or vacuumdb --analyze-in-stages."
        ),
        None => Ok(()),
    }
}

fn statements(out: &mut dyn Write, what: &str, statements: &[String]) -> io::Result<()> {
    if !statements.is_empty() {
        writeln!(out, "{what}")?;
    }
    for statement in statements {
        writeln!(out, "  {statement}")?;
    }
    Ok(())
}
