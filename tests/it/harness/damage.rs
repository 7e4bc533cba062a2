//! Bytes that change on a disk. Each change is undone by the same again.

use std::{fs, path::Path};

/// Changes a few bytes in the middle of a file.
#[track_caller]
pub fn flip(path: &Path) {
    let length = fs::metadata(path).unwrap().len() as usize;
    let middle = length / 2;
    (middle..length.min(middle + 16)).for_each(|at| flip_at(path, at));
}

/// Changes one byte.
#[track_caller]
pub fn flip_at(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}
