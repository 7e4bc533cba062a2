//! Passes bytes from a reader to a sink, with errors that say which of the two failed.

use std::io::{self, Read};

use crate::error::{Error, Result};

/// Large enough that compressing, not the call, is what costs.
pub const PIECE: usize = 128 << 10;

/// Gives the bytes of `reader` to `sink` in pieces of at most `piece`, no more than `most` of them,
/// and returns how many they were. `unreadable` makes an error of one of the reader.
pub fn pass(
    reader: impl Read,
    piece: usize,
    most: u64,
    unreadable: impl Fn(io::Error) -> Error,
    mut sink: impl FnMut(&[u8]) -> Result<()>,
) -> Result<u64> {
    let mut reader = reader.take(most);
    let mut buffer = vec![0; piece];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                sink(&buffer[..count])?;
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}
