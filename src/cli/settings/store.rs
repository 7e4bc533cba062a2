//! How to get to where a repository is.

use super::{keys, layers::Layers, parse};
use crate::{
    error::{Error, Result},
    repo::{location::Location, object::Access, sftp::Remote},
};

impl Layers {
    /// Where repository `name` is, with how to get in; None where its url isn't set.
    pub(super) fn location(&self, name: &str) -> Result<Option<Location>> {
        let location: Option<Location> = self.optional(keys::REPO_URL, name, str::parse)?;
        Ok(match location {
            Some(location @ Location::Bucket(_)) => Some(location.with_access(self.access(name)?)),
            Some(Location::Remote(remote)) => Some(Location::Remote(Box::new(Remote {
                key: self.optional(keys::SSH_KEY, name, parse::absolute_path)?,
                known_hosts: self.optional(keys::KNOWN_HOSTS, name, parse::absolute_path)?,
                ..*remote
            }))),
            other => other,
        })
    }

    fn access(&self, name: &str) -> Result<Access> {
        Ok(Access {
            endpoint: self.optional(keys::ENDPOINT, name, endpoint)?,
            region: self.optional(keys::REGION, name, parse::text)?,
            path_style: self.optional(keys::PATH_STYLE, name, parse::yes_or_no)?,
            ca_file: self.optional(keys::CA_FILE, name, parse::absolute_path)?,
            profile: self.optional(keys::PROFILE, name, parse::text)?,
            access_key: self.optional(keys::ACCESS_KEY, name, parse::text)?,
            secret_key: self
                .find(keys::SECRET_KEY, name)?
                .map(|found| self.secret(found)),
            credentials_file: self.optional(keys::CREDENTIALS_FILE, name, parse::absolute_path)?,
            storage_class: self.optional(keys::STORAGE_CLASS, name, parse::text)?,
            overwrites: !self.required(keys::CREATE_ONLY, name, parse::yes_or_no)?,
            kms_key: self.optional(keys::KMS_KEY, name, parse::text)?,
        })
    }
}

fn endpoint(text: &str) -> Result<String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains('@') => Ok(text.to_owned()),
        _ => Err(Error::usage(format!("not a server's address: {text:?}"))
            .hint("write https://host:port; keys are told by access_key and secret_key.")),
    }
}
