//! Keys: whom a repository's objects are encrypted for, and what opens them.

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::OnceLock,
};

use age::{secrecy::ExposeSecret, x25519};
use chrono::SecondsFormat;

use crate::{
    error::{Error, Kind, Result},
    util::{
        clock, private_file,
        secret::{Secret, SecretFrom},
    },
};

/// A public key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Recipient(pub(super) x25519::Recipient);

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.to_ascii_uppercase().contains("AGE-SECRET-KEY-") {
            // Not shown: errors are logged.
            return Err(Error::usage("a private key stands where recipients do").hint(
                "give its public key, `age1...`, which `age-keygen -y FILE` prints; the private one belongs \
                 into a file of its own (identity_file).",
            ));
        }
        text.parse().map(Self).map_err(|why: &str| {
            Error::usage(format!("not a recipient: {text:?} ({why})")).hint(
                "a recipient is the public key of age's X25519 kind, such as `pgstow init --make-key FILE` \
                 prints: `age1` and 58 letters and digits.",
            )
        })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a repository's objects are encrypted for and opened with. Files are read when they are needed: who only
/// writes never touches an identity, and who only reads no list of recipients.
#[derive(Default)]
pub struct Keys {
    recipients: Vec<Recipient>,
    recipients_file: Option<PathBuf>,
    identity: Option<SecretFrom>,
    /// Whether this call's environment alone tells where the identity is.
    of_this_call: bool,
    /// All recipients, once they were needed.
    all: OnceLock<Vec<Recipient>>,
    identities: OnceLock<Vec<x25519::Identity>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("recipients", &self.recipients)
            .field("recipients_file", &self.recipients_file)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Keys {
    pub fn new(
        recipients: Vec<Recipient>,
        recipients_file: Option<PathBuf>,
        identity: Option<SecretFrom>,
    ) -> Self {
        Self {
            recipients,
            recipients_file,
            identity,
            ..Self::default()
        }
    }

    /// The same, of which no other call on this host knows the identity.
    pub fn of_this_call(self) -> Self {
        Self {
            of_this_call: true,
            ..self
        }
    }

    pub fn are_of_this_call(&self) -> bool {
        self.of_this_call
    }

    /// Whether what is written is to be encrypted.
    pub fn encrypt(&self) -> bool {
        !self.recipients.is_empty() || self.recipients_file.is_some()
    }

    /// Whether there is an identity; whether it is a good one shows when it is used.
    pub fn can_decrypt(&self) -> bool {
        self.identity.is_some()
    }

    /// The file of the identity, where it is in one.
    pub fn identity_file(&self) -> Option<&Path> {
        match &self.identity {
            Some(SecretFrom::File(path)) => Some(path),
            Some(SecretFrom::Setting(_) | SecretFrom::Exposed { .. }) | None => None,
        }
    }

    /// All recipients; an error if there is none.
    pub fn recipients(&self) -> Result<&[Recipient]> {
        if let Some(all) = self.all.get() {
            return Ok(all);
        }
        let mut all = self.recipients.clone();
        if let Some(path) = &self.recipients_file {
            // Whoever can change it reads what is stored from now on.
            let (text, _) = private_file::read_if_safe(path)?;
            for (number, line) in key_lines(&text) {
                let recipient = line.parse().map_err(|error: Error| {
                    error.context(format!("{}:{number}: bad recipient", path.display()))
                })?;
                all.push(recipient);
            }
        }
        let mut seen = HashSet::new();
        all.retain(|recipient| seen.insert(recipient.clone()));
        if all.is_empty() {
            let what = match &self.recipients_file {
                Some(path) => format!("{} has no recipient", path.display()),
                None => "no recipients are set".to_owned(),
            };
            return Err(Error::usage(what).hint(
                "set encryption.recipients of the repository in pgstow.toml to the public keys of those who restore.",
            ));
        }
        Ok(self.all.get_or_init(|| all))
    }

    /// Fails with kind `Key` where there is no identity, or it can't be read.
    pub fn check_identity(&self) -> Result<()> {
        self.identities().map(drop)
    }

    pub(super) fn identities(&self) -> Result<&[x25519::Identity]> {
        if let Some(identities) = self.identities.get() {
            return Ok(identities);
        }
        let Some(from) = &self.identity else {
            return Err(
                Error::new(Kind::Key, "there is no identity to decrypt with").hint(
                    "name the file of the private key by encryption.identity_file of the repository in pgstow.toml, \
                     or, of the first one or that which --repo names, by PGSTOW_REPO_ENCRYPTION_IDENTITY_FILE.",
                ),
            );
        };
        let read = from.read().and_then(|text| parse_identities(&text));
        let identities = read.map_err(|error| {
            let place = match from {
                SecretFrom::Setting(_) | SecretFrom::Exposed { .. } => "that is set".to_owned(),
                SecretFrom::File(path) => format!("in {}", path.display()),
            };
            let hint = error.hint_text().map(str::to_owned);
            let error =
                Error::new(Kind::Key, format!("can't use the identity {place}")).because(error);
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        Ok(self.identities.get_or_init(|| identities))
    }
}

/// A private key that was just made, as `age-keygen` writes it, and its public one.
pub fn make_pair() -> (Secret, Recipient) {
    let identity = x25519::Identity::generate();
    let recipient = Recipient(identity.to_public());
    let text = format!(
        "# created: {}\n# public key: {recipient}\n{}\n",
        clock::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        identity.to_string().expose_secret()
    );
    (Secret::new(text), recipient)
}

/// Lines of a file of keys, with their numbers; those that are empty or comments are left out.
fn key_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(number, line)| (number + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Nothing of the text is shown, whatever is wrong with it.
fn parse_identities(text: &Secret) -> Result<Vec<x25519::Identity>> {
    let mut identities = Vec::new();
    for (number, line) in key_lines(text.expose()) {
        let identity = line.parse().map_err(|why: &str| {
            let what = match line.starts_with("age1") {
                true => "a public key stands where the private one does".to_owned(),
                false => format!("not a private key ({why})"),
            };
            Error::usage(format!("line {number}: {what}")).hint(
                "a private key of age's X25519 kind is one line, `AGE-SECRET-KEY-1...`, without a passphrase.",
            )
        })?;
        identities.push(identity);
    }
    match identities.is_empty() {
        true => Err(Error::usage("it holds no private key")
            .hint("a private key of age's X25519 kind is one line, `AGE-SECRET-KEY-1...`.")),
        false => Ok(identities),
    }
}
