//! What the kernel holds of a file in memory. Only a disk tells: memory file systems have no other place for it.

use std::{path::Path, process::Command};

/// Bytes of a file that are in the page cache, as util-linux's fincore counts them.
pub fn resident(file: &Path) -> u64 {
    let counted = Command::new("fincore")
        .args(["--bytes", "--noheadings", "--output", "RES"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(counted.stdout).unwrap();
    text.trim().parse().unwrap()
}
