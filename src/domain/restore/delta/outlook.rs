//! What `--delta` does with files, in numbers.

use serde::Serialize;

use super::super::{contents::Contents, index::Found};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    pub files: u64,
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// Files and their bytes, as they are in the backup; of extra ones, as they were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// Have the right content.
    pub stay: Count,
    /// Have another one: what differs in them is written.
    pub differ: Count,
    /// Are not there, or can't be used.
    pub missing: Count,
    /// Are removed.
    pub extra: Count,
    /// Once it is done.
    pub written_bytes: Option<u64>,
}

impl Outlook {
    /// `found`: by the numbers of members.
    pub fn of(contents: &Contents, found: &[Found], extra: Count) -> Self {
        let mut outlook = Self {
            extra,
            ..Self::default()
        };
        let files = contents.members.iter().zip(found).enumerate();
        let files = files.filter(|(_, (member, _))| !member.folder && !member.is_left_out());
        for (number, (_, found)) in files {
            let count = match found {
                Found::Same => &mut outlook.stay,
                Found::Other | Found::Unread => &mut outlook.differ,
                Found::Nothing => &mut outlook.missing,
            };
            count.add(contents.size(number));
        }
        outlook
    }
}
