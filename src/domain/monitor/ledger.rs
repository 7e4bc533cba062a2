//! What each notifier was told, in the state folder: `alerts.json`. Damaged, it is as if nobody had
//! been told anything: what is bad is said again.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{alert::Known, state_file};
use crate::{
    error::{Error, Result},
    util::{clock::Time, fs::read_if_there},
};

/// Of those that alerts are sent to.
pub const FILE: &str = "alerts.json";

/// None: delivered; delivered, but not to everybody; not delivered.
pub type Sent = Result<Option<Error>>;

const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    version: u32,
    /// By name.
    pub notifiers: BTreeMap<String, Account>,
    /// The last run of `monitor` by systemd that told what it found, as systemd calls it.
    #[serde(default)]
    pub monitored: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub known: Known,
    /// When something was last delivered.
    pub delivered: Option<Time>,
    /// None: the newest attempt was well.
    pub trouble: Option<Trouble>,
}

/// Why a notifier could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub since: Time,
    pub error: String,
    pub hint: Option<String>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            version: VERSION,
            notifiers: BTreeMap::new(),
            monitored: None,
        }
    }
}

impl Ledger {
    pub fn read(state: &Path, file: &str) -> Result<Self> {
        let path = state.join(file);
        let Some(bytes) = read_if_there(&path)? else {
            return Ok(Self::default());
        };
        Ok(Self::parse(&bytes).unwrap_or_else(|error| {
            tracing::warn!(
                "{} is damaged, so what is wrong is told again: {}",
                path.display(),
                error.in_one_line()
            );
            Self::default()
        }))
    }

    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let ledger: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::damaged("these are no notes of alerts").because(error))?;
        match ledger.version {
            VERSION => Ok(ledger),
            other => Err(Error::damaged(format!(
                "notes of alerts in the unknown version {other}"
            ))),
        }
    }

    pub fn account(&mut self, notifier: &str) -> &mut Account {
        self.notifiers.entry(notifier.to_owned()).or_default()
    }

    pub fn write(&self, state: &Path, file: &str) -> Result<()> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::failed("can't note alerts").because(error))?;
        state_file::write(state, file, &json)
    }
}

impl Account {
    /// Notes how an attempt ended.
    pub fn note(&mut self, sent: &Sent, now: Time) {
        let error = match sent {
            Ok(complaint) => complaint.as_ref(),
            Err(error) => Some(error),
        };
        if sent.is_ok() {
            self.delivered = Some(now);
        }
        self.trouble = error.map(|error| Trouble {
            since: self.trouble.as_ref().map_or(now, |trouble| trouble.since),
            error: error.in_one_line(),
            hint: error.hint_text().map(str::to_owned),
        });
    }

    /// False if nothing could be delivered since there is trouble, not to anybody.
    pub fn is_reached(&self) -> bool {
        let since = self.trouble.as_ref().map(|trouble| trouble.since);
        since.is_none_or(|since| self.delivered.is_some_and(|at| at >= since))
    }
}
