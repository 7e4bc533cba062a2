//! Which files of the right size have the right bytes: CRC-32C, as the index has it, by several
//! workers, largest files first.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::super::{
    contents::Contents,
    index::{Found, Member},
};
use crate::{
    error::Result,
    util::{cancel::Cancel, fs::open_no_link, meter::Meter, workers},
};

/// As large as the buffers of those who write.
const BUFFER: usize = 256 << 10;

/// Says of each unread file whether it stays.
pub fn compare(
    contents: &Contents,
    found: &mut [Found],
    place: impl Fn(&Member) -> PathBuf + Sync,
    workers: usize,
    cancel: &Cancel,
    meter: &Meter,
) -> Result<()> {
    let members = &contents.members;
    let unread = |number: &u32| found[*number as usize] == Found::Unread;
    let mut files: Vec<u32> = (0..members.len() as u32).filter(unread).collect();
    let size = |number: &u32| contents.size(*number as usize);
    files.sort_by_key(|number| std::cmp::Reverse(size(number)));
    meter.begin("comparing", files.iter().map(size).sum());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; BUFFER];
        let mut found_right = Vec::new();
        while let Some(number) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if cancel.check().is_err() {
                break;
            }
            let sum = contents.crc32c(*number as usize);
            let right = |sum| {
                let path = place(&members[*number as usize]);
                is_right(&path, (size(number), sum), &mut buffer, cancel, meter)
            };
            if sum.is_some_and(right) {
                found_right.push(*number);
            }
        }
        Ok(found_right)
    };
    let right = workers::run(workers.min(files.len()), work)?;
    cancel.check()?;
    for number in &files {
        found[*number as usize] = Found::Other;
    }
    for number in right.iter().flatten() {
        found[*number as usize] = Found::Same;
    }
    Ok(())
}

/// Whether a file has the length and the CRC-32C. One that can't be read has not: it is written
/// again, or then the error is told.
fn is_right(
    path: &Path,
    wanted: (u64, u32),
    buffer: &mut [u8],
    cancel: &Cancel,
    meter: &Meter,
) -> bool {
    let Ok(mut file) = open_no_link(path) else {
        return false;
    };
    let (mut crc, mut length) = (0, 0);
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => {
                crc = crc32c::crc32c_append(crc, &buffer[..count]);
                length += count as u64;
                meter.add(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
        if cancel.check().is_err() {
            return false;
        }
    }
    (length, crc) == wanted
}
