//! Where a bucket is and how to get into it, as configured. What is not set is found as the provider's own tools
//! find it: environment, files, the instance's metadata.

use std::{fmt, path::PathBuf};

use crate::{
    error::{Error, Result},
    util::secret::SecretFrom,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// AWS, and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
}

impl Provider {
    pub fn scheme(self) -> &'static str {
        match self {
            Provider::S3 => "s3",
            Provider::Gs => "gs",
            Provider::Az => "az",
        }
    }

    pub fn of_scheme(scheme: &str) -> Option<Self> {
        let all = [Provider::S3, Provider::Gs, Provider::Az];
        all.into_iter().find(|one| one.scheme() == scheme)
    }
}

/// A folder of a bucket (Azure: of a container).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub provider: Provider,
    pub name: String,
    /// Without slashes at its ends; empty for the whole bucket.
    pub prefix: String,
    pub access: Access,
}

impl Bucket {
    /// Reads what follows `scheme://`.
    pub fn read(provider: Provider, rest: &str) -> Result<Self> {
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=');
        let good = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(plain);
        if good(name) && (prefix.is_empty() || prefix.split('/').all(good)) {
            return Ok(Self {
                provider,
                name: name.to_owned(),
                prefix: prefix.to_owned(),
                access: Access::default(),
            });
        }
        let scheme = provider.scheme();
        Err(Error::usage(format!("not a bucket's address: {scheme}://{rest}")).hint(format!(
            "write {scheme}://bucket or {scheme}://bucket/folder, of letters, digits, -, _, = and dots; how to get in is \
             told by other keys."
        )))
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.provider.scheme(), self.name)?;
        match self.prefix.as_str() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

/// The keys of a repository that say how to get into its bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The server's address, where it is not the provider's own: `https://minio.example:9000`.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// Whether the bucket is named in the path of requests, not in the host's name.
    pub path_style: Option<bool>,
    /// The certificates that the server may show one of, in the place of the host's.
    pub ca_file: Option<PathBuf>,
    /// S3: a section of the shared credentials file.
    pub profile: Option<String>,
    /// S3: the key's id. Azure: the account.
    pub access_key: Option<String>,
    /// S3: the key. Azure: the account's key.
    pub secret_key: Option<SecretFrom>,
    /// Google: the file of a service account.
    pub credentials_file: Option<PathBuf>,
    pub storage_class: Option<String>,
    /// Whether the store creates what is there, too, in its place. Then it is looked for before.
    pub overwrites: bool,
    /// S3: the key (id or ARN) of AWS's key service that the server encrypts with.
    pub kms_key: Option<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_buckets() {
        let read = |rest: &str| Bucket::read(Provider::S3, rest);
        for (rest, shown) in [
            ("backups", "s3://backups"),
            ("backups/", "s3://backups"),
            ("backups/pg/main/", "s3://backups/pg/main"),
        ] {
            assert_eq!(read(rest).unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "/x",
            "a//b",
            "a/../b",
            "a b",
            "user:secret@host/b",
            "b?x=1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
