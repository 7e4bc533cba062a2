//! Our stanza in the header of an age file.

use std::{cell::RefCell, collections::HashSet};

use age::{DecryptError, EncryptError};
use age_core::format::{FileKey, Stanza};

use super::keys::Recipient;
use crate::{error::Result, util::hash::Sha256};

/// Its tag where it holds the hash of a plain WAL segment, and where it doesn't.
const WITH_HASH: &str = "pgstow-sha256";
const WITHOUT_HASH: &str = "pgstow-header";

/// age's own.
const X25519: &str = "X25519";

/// Those for whom an object is encrypted, and our own stanza.
pub struct Addressees<'a> {
    pub recipients: &'a [Recipient],
    pub plain: Option<Sha256>,
}

impl age::Recipient for Addressees<'_> {
    fn wrap_file_key(&self, key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let mut stanzas = Vec::new();
        for Recipient(recipient) in self.recipients {
            stanzas.extend(recipient.wrap_file_key(key)?.0);
        }
        let (tag, args) = match self.plain {
            Some(hash) => (WITH_HASH, vec![hash.to_string()]),
            None => (WITHOUT_HASH, Vec::new()),
        };
        stanzas.push(Stanza {
            tag: tag.to_owned(),
            body: sum(&stanzas, &args),
            args,
        });
        Ok((stanzas, HashSet::new()))
    }
}

/// The SHA-256 of the recipients' stanzas and of what ours says.
fn sum(stanzas: &[Stanza], own: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for stanza in stanzas.iter().filter(|stanza| stanza.tag == X25519) {
        for arg in &stanza.args {
            bytes.extend_from_slice(arg.as_bytes());
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(&stanza.body);
    }
    for arg in own {
        bytes.extend_from_slice(arg.as_bytes());
    }
    Sha256::of(&bytes).0.to_vec()
}

/// What our stanza says.
pub struct Seen {
    pub plain: Option<Sha256>,
    pub damaged: bool,
}

/// Opens nothing, but sees the stanzas.
#[derive(Default)]
pub struct Witness(pub RefCell<Option<Seen>>);

impl age::Identity for Witness {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        let ours = |stanza: &&Stanza| stanza.tag == WITH_HASH || stanza.tag == WITHOUT_HASH;
        let seen = stanzas.iter().find(ours).map(|own| {
            let plain = own.args.first().map(|hash| hash.parse());
            Seen {
                damaged: own.body != sum(stanzas, &own.args) || matches!(plain, Some(Err(_))),
                plain: plain.and_then(Result::ok),
            }
        });
        self.0.replace(seen);
        None
    }
}
