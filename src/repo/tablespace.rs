//! Tablespaces of a backup, with places of any bytes.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::file_index::{FilePath, PathInJson};

/// A tablespace outside the data directory, or a folder in `pg_tblspc` (`in_place`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    pub oid: u32,
    #[serde(flatten)]
    pub location: Location,
    pub in_place: bool,
    pub bytes: u64,
}

/// A path: text in JSON where it is text, else hexadecimal, as those of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LocationInJson", into = "LocationInJson")]
pub struct Location(pub PathBuf);

#[derive(Serialize, Deserialize)]
enum LocationInJson {
    #[serde(rename = "location")]
    Text(String),
    #[serde(rename = "encoded_location")]
    Hex(String),
}

impl From<Location> for LocationInJson {
    fn from(location: Location) -> Self {
        let bytes = location.0.into_os_string().into_vec();
        match FilePath(bytes.into()).into() {
            PathInJson::Text(text) => Self::Text(text),
            PathInJson::Hex(hex) => Self::Hex(hex),
        }
    }
}

impl TryFrom<LocationInJson> for Location {
    type Error = String;

    fn try_from(location: LocationInJson) -> Result<Self, String> {
        let path = FilePath::try_from(match location {
            LocationInJson::Text(text) => PathInJson::Text(text),
            LocationInJson::Hex(hex) => PathInJson::Hex(hex),
        })?;
        Ok(Self(OsString::from_vec(path.0.into_vec()).into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_any_bytes_comes_back() {
        for (bytes, json) in [
            (
                &b"/pg/a \"b\\'"[..],
                r#"{"oid":1,"location":"/pg/a \"b\\'","in_place":false,"bytes":2}"#,
            ),
            (
                b"/pg/\xFF",
                r#"{"oid":1,"encoded_location":"2f70672fff","in_place":false,"bytes":2}"#,
            ),
        ] {
            let space = Tablespace {
                oid: 1,
                location: Location(OsString::from_vec(bytes.to_vec()).into()),
                in_place: false,
                bytes: 2,
            };
            assert_eq!(serde_json::to_string(&space).unwrap(), json);
            assert_eq!(serde_json::from_str::<Tablespace>(json).unwrap(), space);
        }
        let bad = r#"{"oid":1,"encoded_location":"2f7","in_place":false,"bytes":2}"#;
        assert!(serde_json::from_str::<Tablespace>(bad).is_err());
    }
}
