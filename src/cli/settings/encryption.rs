//! Whom a repository's objects are encrypted for, and what opens them.

use std::sync::Arc;

use super::{keys, layers::Layers, parse, source::Source};
use crate::{
    error::{Error, Result},
    repo::crypt::{Keys, Recipient},
    util::secret::SecretFrom,
};

impl Layers {
    /// Of the repository `name`. No file of keys is read yet, nor looked for.
    pub(super) fn keys(&self, name: &str) -> Result<Arc<Keys>> {
        let recipients = self.optional(keys::ENCRYPTION_RECIPIENTS, name, recipients)?;
        let file = self.optional(keys::ENCRYPTION_RECIPIENTS_FILE, name, parse::absolute_path)?;
        let identity = self.find(keys::ENCRYPTION_IDENTITY, name)?;
        let source = identity.as_ref().map(|found| &found.source);
        let is_of_this_call = matches!(source, Some(Source::Env(_)));
        let identity = identity.map(|found| self.secret(found));
        if let Some(SecretFrom::File(path)) = &identity
            && path.is_relative()
        {
            let key = keys::ENCRYPTION_IDENTITY.path(name);
            let what = format!("{key}_file must be an absolute path: {}", path.display());
            return Err(Error::usage(what).hint(
                "restore_command runs in the data directory, where a relative path means another place.",
            ));
        }
        let recipients = recipients.unwrap_or_default();
        let keys = Keys::new(recipients, file, identity);
        Ok(Arc::new(match is_of_this_call {
            true => keys.of_this_call(),
            false => keys,
        }))
    }
}

fn recipients(text: &str) -> Result<Vec<Recipient>> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    let words = words.filter(|word| !word.is_empty());
    words.map(str::parse).collect()
}
