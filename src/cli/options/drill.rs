//! Options of `drill`, and of what restores into a scratch folder as it does.

use std::path::PathBuf;

use crate::{
    cli::{
        args::DrillArgs,
        settings::{Layers, keys, parse},
    },
    commands::options::{DrillOptions, GroundOptions},
    domain::drill::pick::To,
    error::{Context, Result},
    util::{moment, zone::Zone},
};

pub fn drill(args: DrillArgs, layers: &Layers) -> Result<DrillOptions> {
    let time = args
        .target_time
        .map(|text| moment::parse(&text, Zone::of_host()).context(|| "--target-time".to_owned()))
        .transpose()?;
    Ok(DrillOptions {
        to: match (time, args.random) {
            (Some(time), _) => To::Time(time),
            (None, true) => To::Random,
            (None, false) => To::Latest,
        },
        ground: ground(args.scratch, layers)?,
        settings: layers.drill_settings()?,
    })
}

pub(super) fn ground(scratch: Option<PathBuf>, layers: &Layers) -> Result<GroundOptions> {
    Ok(GroundOptions {
        scratch,
        jobs: layers.of_cluster_always(keys::JOBS, parse::jobs)?.count(),
        bindir: layers.of_cluster(keys::BINDIR, parse::path)?,
        server_flags: layers.server_flags()?,
    })
}
