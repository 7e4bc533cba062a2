//! `dumps/latest/`: a link for each database to its newest dump, in repositories that are folders. A
//! convenience for people, outside of the format: no reader of ours looks at it.

use super::{
    codec::Codec,
    coding::Coding,
    dump::Dump,
    dump_name::{DumpFormat, DumpObject, Subject},
    local::LocalStorage,
    repository::Repository,
};
use crate::error::Result;

impl Repository {
    /// Leads the link of a database to `dump`; with None there is no link.
    pub fn link_latest(&self, subject: &Subject, dump: Option<&Dump>) -> Result<()> {
        let Some(folder) = self.location().folder() else {
            return Ok(());
        };
        let storage = LocalStorage::new(folder);
        let link = |object| self.layout().latest_dump(subject, object);
        if let Some(dump) = dump {
            let target = self.layout().dump_object(&dump.name, dump.object());
            storage.link(&target, &link(dump.object()))?;
        }
        let wanted = dump.map(Dump::object);
        for object in every_form().filter(|object| Some(*object) != wanted) {
            storage.unlink(&link(object))?;
        }
        Ok(())
    }
}

/// All that a dump can be stored as.
fn every_form() -> impl Iterator<Item = DumpObject> {
    let plain = [Codec::None, Codec::Gzip, Codec::Zstd].map(|codec| (DumpFormat::Plain, codec));
    let others = [DumpFormat::Custom, DumpFormat::Directory, DumpFormat::Tar];
    let others = others.map(|format| (format, Codec::None));
    let all = plain.into_iter().chain(others);
    all.flat_map(|(format, codec)| {
        [false, true].map(|encrypted| DumpObject::Data(format, Coding { codec, encrypted }))
    })
}
