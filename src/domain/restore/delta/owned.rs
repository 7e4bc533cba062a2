//! Whose a folder is that would be written over: a slip in a path must not cost another cluster.

use std::path::Path;

use crate::{
    error::{Error, Kind, Result},
    postgres::{control::Control, lsn::SystemId},
};

/// Refuses a data directory that is not, or can't be told to be, the system's own.
pub fn check(data_dir: &Path, system: SystemId) -> Result<()> {
    let refused = |kind, what: String| {
        Error::new(kind, what).hint(
            "look at what is there; if it may all be lost, --force writes over it. --replace renames it instead.",
        )
    };
    match Control::read(data_dir) {
        Ok(control) if control.system == system => Ok(()),
        Ok(control) => Err(refused(
            Kind::Foreign,
            format!(
                "{} holds another cluster: its system identifier is {}, that of the backup {system}",
                data_dir.display(),
                control.system
            ),
        )),
        Err(error) => Err(refused(
            Kind::Failed,
            format!(
                "it can't be told whether {} is of this cluster, whose system identifier is {system}",
                data_dir.display()
            ),
        )
        .because(error)),
    }
}
