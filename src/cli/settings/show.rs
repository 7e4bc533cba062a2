//! Every setting with its value and where it came from, for `check --show-settings`.

use std::io;

use serde::Serialize;

use super::{
    keys::{KEYS, Scope},
    layers::Layers,
    source::Source,
};
use crate::{
    commands::{
        report::Report,
        table::{Align, Table},
    },
    error::Result,
};

/// One line: `source` is None where the key isn't set at all.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub key: String,
    pub value: Option<String>,
    pub source: Option<Source>,
}

impl Layers {
    /// All keys of all sections in use; a secret's value is masked.
    pub fn show(&self) -> impl Iterator<Item = Result<Shown>> {
        KEYS.iter().flat_map(|key| {
            let sections = match key.scope {
                Scope::Top => vec![""],
                Scope::Repo => self.repos(),
                Scope::Cluster => self.cluster().into_iter().collect(),
                Scope::Alert => self.alert_names().unwrap_or_default(),
            };
            sections.into_iter().map(|section| {
                let found = self.find(*key, section)?;
                let (value, source) = match found {
                    Some(found) if found.by_file => {
                        (Some(format!("*** of {}", found.text)), Some(found.source))
                    }
                    Some(found) if key.secret => (Some("***".to_owned()), Some(found.source)),
                    Some(found) => (Some(found.text), Some(found.source)),
                    None => (None, None),
                };
                Ok(Shown {
                    key: key.path(section),
                    value,
                    source,
                })
            })
        })
    }
}

/// The report of `check --show-settings`.
#[derive(Debug, Serialize)]
pub struct ShownSettings {
    pub settings: Vec<Shown>,
}

impl Report for ShownSettings {
    fn text(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let columns = ["setting", "value", "source"].map(|name| (name, Align::Left));
        let mut table = Table::new(&columns);
        for line in &self.settings {
            let source = line.source.as_ref().map(Source::to_string);
            table.row([
                line.key.clone(),
                line.value.clone().unwrap_or_default(),
                source.unwrap_or_else(|| "not set".to_owned()),
            ]);
        }
        table.write(out)
    }
}
