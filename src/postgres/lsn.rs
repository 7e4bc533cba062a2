//! PostgreSQL's own identifiers as types: log sequence number, timeline, system identifier.

use std::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Result};

/// A position in the write-ahead log, in bytes; written `X/Y` in hexadecimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// PostgreSQL's InvalidXLogRecPtr.
    pub const INVALID: Lsn = Lsn(0);
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let part = |part: &str| {
            let hex = (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Lsn(part(high)? << 32 | part(low)?)))
            .ok_or_else(|| {
                Error::usage(format!("not an LSN: {text:?}"))
                    .hint("an LSN is two hexadecimal numbers with a slash, such as 0/3000148.")
            })
    }
}

/// A timeline: 1 after initdb, one more after each promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimelineId(pub NonZeroU32);

impl TimelineId {
    pub const FIRST: TimelineId = TimelineId(NonZeroU32::MIN);

    /// None for 0, which no timeline has.
    pub fn new(id: u32) -> Option<Self> {
        NonZeroU32::new(id).map(TimelineId)
    }

    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identifier that initdb gives a database cluster; text in JSON, because it
/// exceeds what a double holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(pub u64);

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SystemId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse()
            .map(SystemId)
            .map_err(|_| Error::usage(format!("not a system identifier: {text:?}")))
    }
}

/// Types whose text form is their JSON form.
macro_rules! text_in_json {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

text_in_json!(Lsn, SystemId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsn_reads_what_it_writes() {
        for (text, value) in [
            ("0/0", 0),
            ("0/3000148", 0x3000148),
            ("FF/FFFFFFFF", 0xFF_FFFF_FFFF),
        ] {
            assert_eq!(text.parse::<Lsn>().ok(), Some(Lsn(value)));
            assert_eq!(Lsn(value).to_string(), text);
        }
        for bad in [
            "",
            "/",
            "0",
            "0/",
            "/0",
            "0/+1",
            "123456789/0",
            "0/0/0",
            "g/0",
            " 0/0",
        ] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn json_holds_the_text_forms() {
        let json =
            serde_json::to_string(&(Lsn(0x1_0000_0002), SystemId(u64::MAX), TimelineId::FIRST));
        assert_eq!(
            json.ok().as_deref(),
            Some(r#"["1/2","18446744073709551615",1]"#)
        );
        assert!(serde_json::from_str::<TimelineId>("0").is_err());
    }
}
