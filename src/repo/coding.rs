//! How an object's bytes are stored: compressed, and then encrypted or not. Its name says it.

use std::{
    fmt,
    io::{self, BufReader, Read},
};

use super::{
    codec::Codec,
    crypt::{CHUNK, Keys},
};

/// What stands behind the name of an encrypted object, behind the codec's ending.
const ENCRYPTED: &str = ".age";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coding {
    pub codec: Codec,
    pub encrypted: bool,
}

impl Coding {
    /// What stands behind the names of objects.
    pub fn ending(self) -> String {
        let encrypted = if self.encrypted { ENCRYPTED } else { "" };
        format!("{}{encrypted}", self.codec.ending())
    }

    /// A name without its ending, and what the ending says.
    pub fn split(name: &str) -> (&str, Self) {
        let inner = name.strip_suffix(ENCRYPTED);
        let (plain, codec) = Codec::split(inner.unwrap_or(name));
        let encrypted = inner.is_some();
        (plain, Self { codec, encrypted })
    }

    /// Reads the plain bytes. Damage is an error of kind `InvalidData` or `UnexpectedEof`, a key that is missing or
    /// wrong one that carries ours of kind `Key`.
    pub fn decoder<'a>(
        self,
        keys: &Keys,
        stored: impl Read + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        if !self.encrypted {
            return self.codec.decoder(stored);
        }
        let stored = BufReader::with_capacity(CHUNK as usize, stored);
        self.codec.decoder(keys.decryptor(stored)?)
    }
}

impl From<Codec> for Coding {
    fn from(codec: Codec) -> Self {
        Self {
            codec,
            encrypted: false,
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encrypted = if self.encrypted { ", encrypted" } else { "" };
        write!(f, "{}{encrypted}", self.codec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_read_as_they_are_written() {
        for (codec, encrypted, name) in [
            (Codec::None, false, "part-0001.tar"),
            (Codec::None, true, "part-0001.tar.age"),
            (Codec::Zstd, false, "part-0001.tar.zst"),
            (Codec::Zstd, true, "part-0001.tar.zst.age"),
            (Codec::Gzip, true, "part-0001.tar.gz.age"),
            (Codec::Lz4, true, "part-0001.tar.lz4.age"),
        ] {
            let coding = Coding { codec, encrypted };
            assert_eq!(format!("part-0001.tar{}", coding.ending()), name);
            assert_eq!(Coding::split(name), ("part-0001.tar", coding));
        }
    }
}
