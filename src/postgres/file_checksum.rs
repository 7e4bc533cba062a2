//! The checksums of files in a backup manifest: which there are, computing and writing them.
//!
//! Names and lengths: `src/common/checksum_helper.c`.

use std::{fmt, io, str::FromStr};

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::{
    error::{Error, Result},
    util::hash::from_hex,
};

/// `Checksum-Algorithm` of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Crc32c,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    pub const ALL: [Algorithm; 5] = [
        Algorithm::Crc32c,
        Algorithm::Sha224,
        Algorithm::Sha256,
        Algorithm::Sha384,
        Algorithm::Sha512,
    ];

    /// As manifests and BASE_BACKUP's option MANIFEST_CHECKSUMS write it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Sha224 => "SHA224",
            Algorithm::Sha256 => "SHA256",
            Algorithm::Sha384 => "SHA384",
            Algorithm::Sha512 => "SHA512",
        }
    }

    fn length(self) -> usize {
        match self {
            Algorithm::Crc32c => 4,
            Algorithm::Sha224 => 28,
            Algorithm::Sha256 => 32,
            Algorithm::Sha384 => 48,
            Algorithm::Sha512 => 64,
        }
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| Error::damaged(format!("unknown checksum algorithm {text:?}")))
    }
}

/// A file's checksum; prints as the hexadecimal digits of a manifest.
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    bytes: Box<[u8]>,
}

impl Checksum {
    pub fn parse(algorithm: Algorithm, hex: &str) -> Result<Self> {
        let bytes = from_hex(hex).filter(|bytes| bytes.len() == algorithm.length());
        bytes
            .map(|bytes| Self {
                algorithm,
                bytes: bytes.into(),
            })
            .ok_or_else(|| Error::damaged(format!("not a {}: {hex:?}", algorithm.name())))
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.algorithm.name())
    }
}

/// Computes a file's checksum from its bytes.
pub enum Hasher {
    Crc32c(u32),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32c => Hasher::Crc32c(0),
            Algorithm::Sha224 => Hasher::Sha224(Sha224::new()),
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha384 => Hasher::Sha384(Sha384::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            Hasher::Sha224(hasher) => hasher.update(bytes),
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha384(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub fn finish(self) -> Checksum {
        let (algorithm, bytes) = match self {
            // The server writes the number as it lies in its memory: lowest byte first.
            Hasher::Crc32c(crc) => (Algorithm::Crc32c, crc.to_le_bytes().to_vec()),
            Hasher::Sha224(hasher) => (Algorithm::Sha224, hasher.finalize().to_vec()),
            Hasher::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Hasher::Sha384(hasher) => (Algorithm::Sha384, hasher.finalize().to_vec()),
            Hasher::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
        };
        Checksum {
            algorithm,
            bytes: bytes.into(),
        }
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn checksums_read_as_they_are_written() {
        for algorithm in Algorithm::ALL {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"post");
            hasher.update(b"gres");
            let checksum = hasher.finish();
            let text = checksum.to_string();
            assert_eq!(algorithm.name().parse::<Algorithm>().unwrap(), algorithm);
            assert_eq!(Checksum::parse(algorithm, &text).unwrap(), checksum);
            assert!(Checksum::parse(algorithm, &text[2..]).is_err());
        }
        assert!("MD5".parse::<Algorithm>().is_err());
    }

    #[test]
    fn a_crc_stands_as_the_server_writes_it() {
        // PG_VERSION of 15, "15\n", in a manifest of pg_basebackup.
        let mut hasher = Hasher::new(Algorithm::Crc32c);
        hasher.update(b"15\n");
        assert_eq!(hasher.finish().to_string(), "8a744722");
    }
}
