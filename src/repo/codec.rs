//! Compression in standard formats, each of which a command-line tool can read.
//!
//! What is written is a row of independent frames (zstd, lz4) or members (gzip), each with a
//! checksum of its own; readers take any number of them behind one another.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    str::FromStr,
};

use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use serde::{Deserialize, Serialize};
use zstd::zstd_safe::{CParameter, CompressionLevel};

use crate::error::{Error, Result};

/// A format of compressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    None,
    Gzip,
    Lz4,
    Zstd,
}

impl Codec {
    /// What stands behind the names of objects.
    pub fn ending(self) -> &'static str {
        match self {
            Codec::None => "",
            Codec::Gzip => ".gz",
            Codec::Lz4 => ".lz4",
            Codec::Zstd => ".zst",
        }
    }

    /// A name without its ending, and the codec that the ending names.
    pub fn split(name: &str) -> (&str, Codec) {
        [Codec::Gzip, Codec::Lz4, Codec::Zstd]
            .into_iter()
            .find_map(|codec| Some((name.strip_suffix(codec.ending())?, codec)))
            .unwrap_or((name, Codec::None))
    }

    /// Reads the plain bytes of all frames; damage is an error of kind `InvalidData` or
    /// `UnexpectedEof`.
    pub fn decoder<'a>(
        self,
        reader: impl Read + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        Ok(match self {
            Codec::None => Box::new(reader),
            Codec::Gzip => Box::new(Decoder(flate2::read::MultiGzDecoder::new(reader))),
            Codec::Lz4 => Box::new(Decoder(Lz4Reader::new(reader))),
            Codec::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(reader)?;
                // Frames of other writers (`zstd --long`) may ask for much; this bounds it.
                decoder.window_log_max(27)?;
                Box::new(Decoder(decoder))
            }
        })
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        })
    }
}

const GZIP_LEVEL: i32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// The zstd levels that look earlier bytes up in two tables (dfast), which are large for PostgreSQL's data: it
/// repeats what is near. Tables of 32 and 16 KiB take a quarter less time, and mostly fewer bytes
/// (docs/decisions/0007-zstd-parameters.md).
const SMALL_TABLES: std::ops::RangeInclusive<i32> = 3..=4;

/// A codec and how hard it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    pub codec: Codec,
    /// 0 where the codec has no levels.
    pub level: i32,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            codec: Codec::Zstd,
            level: ZSTD_LEVEL,
        }
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let read = |codec, levels: std::ops::RangeInclusive<i32>, default| {
            let level = level.map_or(Some(default), |level| level.parse().ok())?;
            levels.contains(&level).then_some(Self { codec, level })
        };
        match name {
            "none" | "lz4" if level.is_some() => None,
            "none" => Some(Self {
                codec: Codec::None,
                level: 0,
            }),
            "lz4" => Some(Self {
                codec: Codec::Lz4,
                level: 0,
            }),
            "gzip" => read(Codec::Gzip, 1..=9, GZIP_LEVEL),
            "zstd" => read(Codec::Zstd, 1..=22, ZSTD_LEVEL),
            _ => None,
        }
        .ok_or_else(|| {
            Error::usage(format!("not a compression: {text:?}"))
                .hint("write none, lz4, gzip, gzip:1 to gzip:9, zstd, or zstd:1 to zstd:22.")
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            0 => self.codec.fmt(f),
            level => write!(f, "{}:{level}", self.codec),
        }
    }
}

impl Compression {
    /// This, if it is of `codec`; else what `codec` does by default.
    pub fn of(self, codec: Codec) -> Self {
        let level = match codec {
            _ if codec == self.codec => self.level,
            Codec::None | Codec::Lz4 => 0,
            Codec::Gzip => GZIP_LEVEL,
            Codec::Zstd => ZSTD_LEVEL,
        };
        Self { codec, level }
    }

    /// A stream of one frame, of unknown length, into `writer`.
    pub fn encoder<'a, W: Write + 'a>(self, writer: W) -> Result<Encoder<'a, W>> {
        Ok(match self.codec {
            Codec::None => Encoder::None(writer),
            Codec::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(writer, self.gzip())),
            Codec::Lz4 => {
                Encoder::Lz4(Box::new(FrameEncoder::with_frame_info(lz4_frame(), writer)))
            }
            Codec::Zstd => Encoder::Zstd(self.zstd(writer).map_err(no_context)?),
        })
    }

    /// A compressor of whole frames that reuses its memory.
    pub fn framer(self) -> Result<Framer> {
        let zstd = match self.codec {
            Codec::Zstd => {
                let mut context = zstd::bulk::Compressor::new(self.level).map_err(no_context)?;
                let own = [CParameter::MaxBlockSize(BLOCK)];
                for parameter in self.zstd_parameters().into_iter().chain(own) {
                    context.set_parameter(parameter).map_err(no_context)?;
                }
                Some(context)
            }
            _ => None,
        };
        Ok(Framer {
            compression: self,
            zstd,
        })
    }

    fn gzip(self) -> flate2::Compression {
        flate2::Compression::new(self.level.unsigned_abs())
    }

    fn zstd<'a, W: Write>(self, writer: W) -> io::Result<zstd::stream::write::Encoder<'a, W>> {
        let mut encoder =
            zstd::stream::write::Encoder::new(writer, self.level as CompressionLevel)?;
        for parameter in self.zstd_parameters() {
            encoder.set_parameter(parameter)?;
        }
        Ok(encoder)
    }

    /// Those that the level doesn't give, or gives for other data than ours.
    fn zstd_parameters(self) -> Vec<CParameter> {
        let mut parameters = vec![CParameter::ChecksumFlag(true)];
        if SMALL_TABLES.contains(&self.level) {
            parameters.extend([CParameter::HashLog(13), CParameter::ChainLog(12)]);
        }
        parameters
    }
}

fn no_context(error: io::Error) -> Error {
    Error::failed("can't set up the compressor").because(error)
}

fn lz4_frame() -> FrameInfo {
    FrameInfo::new()
        .block_size(BlockSize::Max256KB)
        .content_checksum(true)
}

/// Compresses what is written to it.
pub enum Encoder<'a, W: Write> {
    None(W),
    Gzip(flate2::write::GzEncoder<W>),
    Lz4(Box<FrameEncoder<W>>),
    Zstd(zstd::stream::write::Encoder<'a, W>),
}

impl<W: Write> Encoder<'_, W> {
    /// Ends the frame and gives the writer back.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Encoder::None(writer) => Ok(writer),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Encoder::None(writer) => writer.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Lz4(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encoder::None(writer) => writer.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Lz4(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Bytes of a block within a zstd frame. Below the largest, 128 KiB, the encoder does not look for
/// places to split blocks at (ZSTD_optimalBlockSize in `lib/compress/zstd_compress.c`): that took
/// 2.4 % of its instructions on a cluster's files, and they were not smaller for it.
const BLOCK: u32 = 124 << 10;

/// Compresses one frame after another.
pub struct Framer {
    compression: Compression,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Framer {
    /// Replaces `out` by one frame that holds `plain`.
    pub fn frame(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        if let Some(zstd) = &mut self.zstd {
            out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
            return zstd
                .compress_to_buffer(plain, out)
                .map(drop)
                .map_err(no_context);
        }
        let mut encoder = self.compression.encoder(out)?;
        encoder
            .write_all(plain)
            .and_then(|()| encoder.finish().map(drop))
            .map_err(no_context)
    }
}

/// The decoders report bytes that do not decode in many ways; a failing reader below them
/// passes its own error, ours or the system's, through.
struct Decoder<R>(R);

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let ours = error.get_ref().is_some_and(|inner| inner.is::<Error>());
            let damage = !ours
                && error.raw_os_error().is_none()
                && error.kind() != io::ErrorKind::Interrupted;
            if damage {
                io::Error::new(io::ErrorKind::InvalidData, error)
            } else {
                error
            }
        })
    }
}

/// Reads lz4 frames one behind the other.
struct Lz4Reader<R: Read>(FrameDecoder<BufReader<R>>);

impl<R: Read> Lz4Reader<R> {
    fn new(reader: R) -> Self {
        Self(FrameDecoder::new(BufReader::with_capacity(
            128 << 10,
            reader,
        )))
    }
}

impl<R: Read> Read for Lz4Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.0.read(buffer)? {
                // The end of a frame; the decoder takes up the next one when it is read again.
                0 if !self.0.get_mut().fill_buf()?.is_empty() => {}
                count => return Ok(count),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn all() -> Vec<Compression> {
        ["none", "lz4", "gzip:1", "gzip", "zstd:1", "zstd"]
            .map(|text| text.parse().unwrap())
            .into()
    }

    fn plain() -> Vec<u8> {
        (0..700_000u32)
            .flat_map(|number| (number / 7).to_le_bytes())
            .collect()
    }

    #[test]
    fn frames_and_streams_read_back_one_behind_the_other() {
        let plain = plain();
        for compression in all() {
            let mut stored = Vec::new();
            let mut framer = compression.framer().unwrap();
            for piece in plain[..1_400_000].chunks(300_000) {
                let mut frame = Vec::new();
                framer.frame(piece, &mut frame).unwrap();
                stored.extend(frame);
            }
            let mut encoder = compression.encoder(&mut stored).unwrap();
            encoder.write_all(&plain[1_400_000..]).unwrap();
            encoder.finish().unwrap();
            let mut back = Vec::new();
            compression
                .codec
                .decoder(&stored[..])
                .unwrap()
                .read_to_end(&mut back)
                .unwrap();
            assert!(back == plain, "{compression}");
        }
    }

    #[test]
    fn damage_is_told_apart_from_a_failing_disk() {
        let plain = plain();
        for compression in all().into_iter().filter(|c| c.codec != Codec::None) {
            let mut stored = Vec::new();
            compression
                .framer()
                .unwrap()
                .frame(&plain, &mut stored)
                .unwrap();
            let mut flipped = stored.clone();
            let middle = flipped.len() / 2;
            flipped[middle] ^= 0x10;
            for bad in [
                &flipped[..],
                &stored[..stored.len() - 1],
                &b"not compressed at all"[..],
            ] {
                let error = compression
                    .codec
                    .decoder(bad)
                    .and_then(|mut reader| reader.read_to_end(&mut Vec::new()))
                    .unwrap_err();
                let kind = Error::io("read", "x".as_ref(), error).kind();
                assert_eq!(kind, crate::error::Kind::Damaged, "{compression}");
            }
        }
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        for compression in all() {
            let mut reader = compression.codec.decoder(Failing).unwrap();
            let error = reader.read(&mut [0; 10]).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(5), "{compression}");
        }
    }

    #[test]
    fn a_level_holds_for_its_own_codec() {
        let wanted: Compression = "zstd:19".parse().unwrap();
        assert_eq!(wanted.of(Codec::Zstd), wanted);
        for codec in [Codec::None, Codec::Gzip, Codec::Lz4] {
            assert_eq!(wanted.of(codec), codec.to_string().parse().unwrap());
        }
    }

    #[test]
    fn levels_are_checked() {
        for (text, shown) in [
            ("zstd", "zstd:3"),
            ("gzip:9", "gzip:9"),
            ("lz4", "lz4"),
            ("none", "none"),
        ] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), shown);
        }
        for bad in [
            "", "zst", "zstd:0", "zstd:23", "gzip:0", "lz4:1", "none:1", "zstd:x",
        ] {
            assert!(bad.parse::<Compression>().is_err(), "{bad}");
        }
    }
}
