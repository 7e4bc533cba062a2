//! Other repositories of the settings, for what the chosen one should have and can't give. Each is opened when it is
//! asked for the first time.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tracing::debug;

use super::{crypt::Keys, layout::ClusterName, location::Location, repository::Repository};
use crate::{
    error::Result,
    util::{cancel::Cancel, errand::Errand},
};

/// So long another repository may take to answer what may be nowhere, or is asked of all at once.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// In the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub struct Others {
    all: Arc<[Other]>,
    fill_holes: bool,
}

#[derive(Debug)]
pub struct Other {
    name: String,
    location: Location,
    cluster: ClusterName,
    keys: Arc<Keys>,
    /// None: it can't be opened.
    opened: OnceLock<Option<Repository>>,
}

impl Other {
    pub fn new(name: String, location: Location, cluster: ClusterName, keys: Arc<Keys>) -> Self {
        Self {
            name,
            location,
            cluster,
            keys,
            opened: OnceLock::new(),
        }
    }

    fn open(&self) -> Result<Repository> {
        let repository = Repository::open(&self.location, self.cluster.clone())?;
        Ok(repository.with_keys(&self.keys))
    }

    fn repository(&self) -> Option<&Repository> {
        let open = || match self.open() {
            Ok(repository) => Some(repository),
            Err(error) => {
                debug!("repository {}: {}", self.name, error.in_one_line());
                None
            }
        };
        self.opened.get_or_init(open).as_ref()
    }
}

impl FromIterator<Other> for Others {
    fn from_iter<I: IntoIterator<Item = Other>>(all: I) -> Self {
        Self {
            all: all.into_iter().collect(),
            fill_holes: false,
        }
    }
}

impl Others {
    /// The same, that also stand in for WAL that the chosen one has lost: where nobody named that one.
    #[must_use]
    pub fn filling_holes(self, fill_holes: bool) -> Self {
        Self { fill_holes, ..self }
    }

    /// Whether a plan may count on their WAL where the chosen one's has a hole.
    pub fn fill_holes(&self) -> bool {
        self.fill_holes && !self.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What the first gives that has it, and that one's name. What is wrong in one is no matter: the next is asked.
    pub fn find<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Repository) -> Result<Option<T>>,
    ) -> Option<(&str, T)> {
        self.all.iter().find_map(|other| {
            match look(other.repository()?) {
                Ok(found) => return Some((other.name.as_str(), found?)),
                Err(error) => debug!(
                    "{what} can't be had from repository {} either: {}",
                    other.name,
                    error.in_one_line()
                ),
            }
            None
        })
    }

    /// What each of them, by its name, answers to `look`, which `what` says for errors, such as "how far its WAL leads": all at
    /// once; of one that takes too long an error of kind `TimedOut`.
    pub fn ask_all<T: Send + 'static>(
        &self,
        what: &str,
        cancel: &Cancel,
        look: impl Fn(&Repository) -> Result<T> + Clone + Send + 'static,
    ) -> Vec<(&str, Result<T>)> {
        let until = Instant::now() + PATIENCE;
        let ask = |(index, other): (usize, &Other)| {
            let (all, look) = (Arc::clone(&self.all), look.clone());
            Errand::send(
                format!("asking repository {} {what}", other.name),
                move || look(&all[index].open()?),
            )
        };
        let asked: Vec<Errand<T>> = self.all.iter().enumerate().map(ask).collect();
        let names = self.all.iter().map(|other| other.name.as_str());
        let answers = asked.into_iter().map(|asked| asked.wait(until, cancel));
        names.zip(answers).collect()
    }

    /// The folders of those that are on this host.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.all.iter().filter_map(|other| other.location.folder())
    }
}
