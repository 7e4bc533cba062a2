//! Backups of which something is missing: not chosen where another one does.

use std::fs;

use super::copy::{copy, open, restore, rows};
use crate::harness::{Scratch, Stow, pg};

#[test]
fn a_backup_without_all_its_parts_is_told_before_a_byte_is_written() {
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(16))
        .cluster(|cluster| cluster.initdb("--wal-segsize=1"))
        .start();
    stow.cluster.psql("create table t as select 1 as n");
    let first = stow.backup(&[]);
    stow.cluster.psql("update t set n = 2");
    let second = stow.backup(&[]);
    stow.cluster.switch_wal();
    let part = second.parts().pop().unwrap();
    let whole = fs::read(&part).unwrap();
    let name = part.file_name().unwrap().to_str().unwrap().to_owned();

    for (problem, damage) in [
        (format!("{name} is missing"), None),
        (format!("{name} has 7 bytes instead"), Some("damaged")),
    ] {
        match damage {
            None => fs::remove_file(&part).unwrap(),
            Some(bytes) => fs::write(&part, bytes).unwrap(),
        }
        assert_eq!(stow.backups()[1]["state"], "damaged");
        let list = stow.tool.command(&["list"]).ok();
        drop(list.stdout_contains("DAMAGED").stdout_contains(&problem));
        let (asked, to) = restore(&scratch, &stow, "copy", &[second.id()]);
        asked
            .fails(1)
            .stderr_contains(&problem)
            .stderr_contains("leave the backup out");
        assert!(!to.exists());
        let to = format!("without-{name}-of-{}", damage.unwrap_or("nothing"));
        let done = restore(&scratch, &stow, &to, &[]).0;
        let done = done.expect_warning(&problem).ok();
        drop(done.stdout_contains(first.id()));
        assert_eq!(rows(&open(copy(&scratch, &stow, &to))), "2");
    }
    fs::write(&part, whole).unwrap();
    assert_eq!(stow.backups()[1]["state"], "complete");
}
