//! Users of this host, by name: `/etc/passwd`.

use std::{env, fs, os::unix::process::CommandExt, path::Path, process::Command};

use crate::error::{Error, IoContext, Kind, Result};

/// A user, with the group that is theirs at login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The account `name`; an error of kind [`Kind::NotFound`] where this host has none.
    pub fn named(name: &str) -> Result<Self> {
        Self::find(|account| account.name == name)?
            .ok_or_else(|| Error::new(Kind::NotFound, format!("no user {name} on this host")))
    }

    /// The first account with that number; None where nobody has it.
    pub fn with_uid(uid: u32) -> Result<Option<Self>> {
        Self::find(|account| account.uid == uid)
    }

    fn find(wanted: impl Fn(&Self) -> bool) -> Result<Option<Self>> {
        let path = Path::new("/etc/passwd");
        let passwd = fs::read(path).at("read", path)?;
        let text = String::from_utf8_lossy(&passwd);
        Ok(text.lines().filter_map(Self::parse).find(wanted))
    }

    /// Begins this very program anew as this account, in place of the present process; returns
    /// only where that failed. Only root may do it.
    pub fn take_over(&self) -> Error {
        let mut words = env::args_os();
        // Not by its path: the account may not be allowed to enter the folder that it lies in.
        let mut program = Command::new("/proc/self/exe");
        program.arg0(words.next().unwrap_or_default()).args(words);
        // Drops root's other groups, too.
        let error = program.gid(self.gid).uid(self.uid).exec();
        Error::failed(format!("can't go on as user {}", self.name))
            .because(error)
            .hint(format!(
                "see that user {} may read and execute the program, or call it as that user.",
                self.name
            ))
    }

    /// `name:password:uid:gid:...`
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        Some(Self {
            name: fields.next()?.to_owned(),
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_every_host() {
        let root = Account::named("root").map(|root| (root.uid, root.gid));
        assert_eq!(root.ok(), Some((0, 0)));
        let nobody = Account::named("no:body");
        assert!(nobody.is_err_and(|error| error.kind() == Kind::NotFound));
        assert_eq!(Account::parse("# comment"), None);
        let root = Account::with_uid(0).ok().flatten();
        assert_eq!(root.map(|root| root.name), Some("root".to_owned()));
    }
}
