//! Settings that must be as large as they were where the WAL was written: recovery refuses to
//! start, or pauses, where one is lower (CheckRequiredParameterValues in
//! `src/backend/access/transam/xlogrecovery.c`).
//!
//! They may be lower than in the backed-up server where that one had them on its command line, or
//! where the files outside the data directory are those of another host. Only known once the
//! files are in place.

use super::configuration::Configuration;
use crate::{error::Result, repo::backup::RecoverySettings};

/// What is lower than `needed`, each with what to do.
pub fn lower(configuration: &Configuration<'_>, needed: &RecoverySettings) -> Result<Vec<String>> {
    let mut lower = Vec::new();
    for (name, needed) in needed.named() {
        let value = configuration.number(name)?;
        if value < needed {
            lower.push(format!(
                "{name} is {value} in the restored server's configuration and was {needed} in the one backed up: \
                 recovery does not go on with less, so set it to {needed} before the start"
            ));
        }
    }
    Ok(lower)
}
