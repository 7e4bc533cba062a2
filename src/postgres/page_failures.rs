//! Which pages the server found damaged during a base backup, from its warnings.
//!
//! `sendFile` in `src/backend/backup/basebackup.c` warns of the first five blocks of a file
//! ("... in file "./base/5/1259", block 7: calculated ..."), then once of the file as a whole,
//! in the server's language. So only the path, the number and the colon behind it are read.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::server_error::ServerError;

/// After as many blocks the server reports no more of that file.
pub const REPORTED_BLOCKS: usize = 5;

/// A page whose checksum is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageFailure {
    /// Relative to the data directory.
    pub file: String,
    /// Block, counted from the start of the relation; None: further blocks of the file, which
    /// nobody named.
    pub block: Option<u32>,
}

/// That a file has more of them comes behind those that are named.
impl Ord for PageFailure {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |failure: &Self| (failure.block.is_none(), failure.block);
        self.file
            .cmp(&other.file)
            .then_with(|| key(self).cmp(&key(other)))
    }
}

impl PartialOrd for PageFailure {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The failures that `notices` tell of, each once.
pub fn page_failures(notices: &[ServerError]) -> Vec<PageFailure> {
    let mut found: Vec<PageFailure> = notices
        .iter()
        .filter(|notice| notice.severity == "WARNING")
        .filter_map(|notice| parse(&notice.message))
        .collect();
    found.sort();
    found.dedup();
    let named = |file: &str| {
        let of_file = found.iter().filter(|f| f.file == file && f.block.is_some());
        of_file.count()
    };
    // The summary of a file adds something only where not every block was named.
    let kept = found
        .iter()
        .filter(|f| f.block.is_some() || matches!(named(&f.file), 0 | REPORTED_BLOCKS..));
    kept.cloned().collect()
}

/// Reads one warning; none if it names no relation file.
pub fn parse(message: &str) -> Option<PageFailure> {
    let of_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-');
    let path = message
        .split(|c| !of_path(c))
        .find(|word| is_relation(word))?;
    let (_, behind) = message.split_once(path)?;
    Some(PageFailure {
        file: path.trim_start_matches("./").to_owned(),
        block: block(behind),
    })
}

/// `base/5/1259`, `global/1260.1`, `pg_tblspc/16384/PG_15_202209061/5/16385_fsm`, perhaps behind `./`.
fn is_relation(word: &str) -> bool {
    let word = word.trim_start_matches("./");
    let Some((folder, name)) = word.rsplit_once('/') else {
        return false;
    };
    let top = folder.split('/').next().unwrap_or_default();
    matches!(top, "base" | "global" | "pg_tblspc") && name.starts_with(|c: char| c.is_ascii_digit())
}

/// The first number, if a colon follows somewhere behind it: a count of failures has none.
fn block(text: &str) -> Option<u32> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let digits = text.get(start..)?;
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    rest.contains([':', '\u{FF1A}'])
        .then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(file: &str, block: Option<u32>) -> PageFailure {
        PageFailure {
            file: file.to_owned(),
            block,
        }
    }

    #[test]
    fn file_and_block_are_read_in_any_language() {
        for (message, file, block) in [
            (
                "checksum verification failed in file \"./base/5/1259\", block 7: calculated BEEF but expected 12",
                "base/5/1259",
                Some(7),
            ),
            (
                "Prüfsummenüberprüfung fehlgeschlagen in Datei „./global/1260_fsm“, Block 0: berechnet A, aber erwartet B",
                "global/1260_fsm",
                Some(0),
            ),
            (
                "ファイル\"./base/1/2.3\"、ブロック4でチェックサム検証に失敗しました: 計算された値は 1 ですが想定値は 2 です",
                "base/1/2.3",
                Some(4),
            ),
            (
                "在文件\"./pg_tblspc/16384/PG_18_202506291/5/16385\",块9中校验和验证失败\u{FF1A}计算得到1",
                "pg_tblspc/16384/PG_18_202506291/5/16385",
                Some(9),
            ),
            (
                "file \"./base/5/1259\" has a total of 8 checksum verification failures",
                "base/5/1259",
                None,
            ),
            (
                "всего в файле \"./base/5/1259\" обнаружено ошибок контрольных сумм: 8",
                "base/5/1259",
                None,
            ),
        ] {
            assert_eq!(parse(message), Some(failure(file, block)), "{message}");
        }
        for other in [
            "",
            "./base/5/x",
            "skipping special file \"./fifo\"",
            "base/",
            "«»",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_summary_counts_where_blocks_went_unnamed() {
        let warn = |message: String| ServerError {
            severity: "WARNING".to_owned(),
            message,
            ..ServerError::default()
        };
        let notices = |blocks: u32| {
            let mut all: Vec<_> = (0..blocks)
                .map(|b| warn(format!("in file \"./base/1/2\", block {b}: calculated")))
                .collect();
            all.push(warn(
                "file \"./base/1/2\" has a total of 9 failures".to_owned(),
            ));
            page_failures(&all)
        };
        assert_eq!(notices(2).len(), 2);
        assert_eq!(notices(5).len(), 6);
        assert_eq!(notices(5).last(), Some(&failure("base/1/2", None)));
        assert_eq!(notices(0), [failure("base/1/2", None)]);
    }
}
