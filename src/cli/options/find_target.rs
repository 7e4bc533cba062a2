//! Options of `find-target`.

use chrono::TimeDelta;

use super::restore::read_from;
use crate::{
    cli::{
        args::FindTargetArgs,
        settings::{Layers, keys, parse},
    },
    commands::options::FindTargetOptions,
    domain::history::{Request, names::TableName},
    error::{Context, Error, Result},
    util::{
        clock::{self, Time},
        moment, units,
        zone::Zone,
    },
};

pub fn find_target(args: FindTargetArgs, layers: &Layers) -> Result<FindTargetOptions> {
    let (since, until) = times(&args)?;
    // The server writes 32 bits of a transaction's number.
    let xid = args.xid.map(|xid| (xid & u64::from(u32::MAX)) as u32);
    let mut call = layers.same_call()?;
    if let Some(program) = call.first_mut() {
        *program = "pgstow".to_owned();
    }
    Ok(FindTargetOptions {
        request: Request {
            since,
            until,
            table: args.table.as_deref().map(TableName::parse).transpose()?,
            xid,
            all: args.all,
            min_rows: args.min_rows,
            timeline: args.timeline,
            jobs: layers.of_cluster_always(keys::JOBS, parse::jobs)?.count(),
            received: None,
        },
        from: read_from(layers)?,
        call,
    })
}

fn times(args: &FindTargetArgs) -> Result<(Time, Time)> {
    let read = |option: &str, text: &str| {
        moment::parse(text, Zone::of_host()).context(|| option.to_owned())
    };
    if let Some(around) = &args.around {
        let around = read("--around", around)?;
        let window = units::parse_duration(&args.window).context(|| "--window".to_owned())?;
        let window = TimeDelta::from_std(window).ok();
        let times = window.and_then(|window| {
            let since = around.checked_sub_signed(window)?;
            Some((since, around.checked_add_signed(window)?))
        });
        return times.ok_or_else(|| Error::usage(format!("too long: --window {}", args.window)));
    }
    let since = read("--since", args.since.as_deref().unwrap_or_default())?;
    let until = match &args.until {
        Some(until) => read("--until", until)?,
        None => clock::now(),
    };
    if until < since {
        return Err(
            Error::usage("the time to look up to lies before the time to look from")
                .hint("give --since the earlier time, and --until the later one."),
        );
    }
    Ok((since, until))
}
