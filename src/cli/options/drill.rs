//! Options of `drill`.

use crate::{
    cli::{
        args::DrillArgs,
        settings::{Layers, keys, parse},
    },
    commands::options::DrillOptions,
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
        scratch: args.scratch,
        jobs: layers.of_cluster_always(keys::JOBS, parse::jobs)?.count(),
        bindir: layers.of_cluster(keys::BINDIR, parse::path)?,
        settings: layers.drill_settings()?,
        server_flags: layers.server_flags()?,
    })
}
