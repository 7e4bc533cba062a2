//! Where what is received is to go: the repositories in which the server's system is registered.

use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{super::stores::Store, files};
use crate::{
    error::{Error, IoContext, Kind, Result},
    postgres::{
        lsn::SystemId,
        replication::Replication,
        wal_header::WalHeader,
        wal_name::{SegmentSize, WalName},
    },
    repo::{layout::ClusterName, repository::System},
    util::{cancel::Cancel, errand::Errand, meter::Meter, process::NO_LIMIT, units},
};

/// So long a repository may keep the server waiting, of which it is known that it takes this WAL.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Destination<'a> {
    pub stores: &'a [Store],
    pub cluster: &'a ClusterName,
    /// Where it waits for them.
    pub folder: &'a Path,
    pub meter: &'a Meter,
    pub cancel: &'a Cancel,
}

/// How the system is registered in a repository.
fn registration(
    store: &Store,
    cluster: &ClusterName,
    meter: &Meter,
    id: SystemId,
) -> Errand<System> {
    let (store, cluster, meter) = (store.clone(), cluster.clone(), meter.clone());
    let what = format!("looking at repository {}", store.name);
    Errand::send(what, move || {
        let repository = store.open(&cluster, &meter)?.repository;
        let system = repository.system(id)?;
        repository.check_encryption(&system)?;
        Ok(system)
    })
}

impl Destination<'_> {
    /// Whether this server's WAL belongs into all repositories. The size of its segments.
    pub fn check(&self, server: &mut Replication, id: SystemId) -> Result<SegmentSize> {
        if self.stores.is_empty() {
            return Err(Error::usage("no repository waits for WAL"));
        }
        let mut size = None;
        for store in self.stores {
            let registration = registration(store, self.cluster, self.meter, id);
            let has_received = self.has_received_from(id)?;
            let patience = match has_received {
                true => PATIENCE,
                false => NO_LIMIT,
            };
            let system = match registration.wait(Instant::now() + patience, self.cancel) {
                Ok(system) => system,
                // One that is away: what comes waits for it.
                Err(error)
                    if has_received
                        && !matches!(
                            error.kind(),
                            Kind::Foreign | Kind::Usage | Kind::Interrupted
                        ) =>
                {
                    warn!(
                        "{}; what comes waits in {}",
                        error.in_one_line(),
                        self.folder.display()
                    );
                    continue;
                }
                Err(error) => return Err(error),
            };
            let first = *size.get_or_insert(system.segment_size);
            if first != system.segment_size {
                return Err(Error::new(
                    Kind::Foreign,
                    format!("repositories disagree about the size of the segments of system {id}"),
                ));
            }
        }
        // What follows is no work that could be late.
        self.meter.begin("", 0);
        let shown = server.show("wal_segment_size")?;
        let bytes = units::parse_bytes(&shown)?;
        match size {
            None => u32::try_from(bytes)
                .ok()
                .and_then(SegmentSize::new)
                .ok_or_else(|| Error::damaged(format!("wal_segment_size is {shown}"))),
            Some(size) if bytes == size.bytes() => Ok(size),
            Some(size) => Err(Error::new(
                Kind::Foreign,
                format!(
                    "the server's WAL segments have {shown}, those of system {id} were registered with {} bytes",
                    size.bytes()
                ),
            )),
        }
    }

    /// Whether anything in the folder says that it is of that system: its repositories were right then.
    fn has_received_from(&self, id: SystemId) -> Result<bool> {
        let whole = files::whole(self.folder)?.into_iter();
        let begun = files::partial(self.folder)?.into_iter();
        let mut names = whole
            .map(WalName::Segment)
            .chain(begun.map(WalName::Partial));
        Ok(names.any(|name| {
            let path = self.folder.join(name.to_string());
            let header = File::open(&path).at("read", &path);
            let header = header.and_then(|mut file| WalHeader::read(&mut file, &path));
            header.is_ok_and(|header| header.system == id)
        }))
    }
}
