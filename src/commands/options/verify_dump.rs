//! Where dumps are restored to be checked, and by what.

use std::{path::PathBuf, time::Duration};

use crate::{
    domain::logical::validate::place::Server, error::Result, postgres::conninfo::ConnInfo,
    repo::dumps::DumpChoice, util::secret::SecretFrom,
};

/// On which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One that pgstow starts and removes.
    Scratch,
    /// One that runs: the source, but for what is set.
    Server,
}

#[derive(Debug)]
pub struct VerifyDumpSettings {
    pub place: Place,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub password: Option<SecretFrom>,
    pub passfile: Option<PathBuf>,
    pub sslmode: Option<String>,
    /// The name of the temporary database; None: one of its own.
    pub database: Option<String>,
    /// Statements that must return true.
    pub sql: Vec<String>,
    pub health: HealthSettings,
}

/// Of an application that is pointed at the restored database.
#[derive(Clone, Debug)]
pub struct HealthSettings {
    pub url: Option<String>,
    /// Starts the application.
    pub command: Option<String>,
    pub limit: Duration,
}

/// Which dumps `verify` restores.
#[derive(Debug, PartialEq, Eq)]
pub enum WhichDumps {
    One(DumpChoice),
    /// The newest good one of each database.
    NewestOfEach,
    File(PathBuf),
}

#[derive(Debug)]
pub struct VerifyDumpsOptions {
    pub which: WhichDumps,
    pub settings: VerifyDumpSettings,
    /// Workers of pg_restore.
    pub jobs: usize,
}

impl VerifyDumpSettings {
    /// The server that runs already, if it is to be one; `source`: that of the cluster.
    pub fn server(&self, source: &dyn Fn() -> Result<ConnInfo>) -> Result<Option<Server>> {
        if self.place == Place::Scratch {
            return Ok(None);
        }
        let mut info = source()?;
        match (&self.host, self.port) {
            (Some(host), port) => info = info.with_server(host, port)?,
            (None, port) => info.port = port.unwrap_or(info.port),
        }
        info.user = self.user.clone().unwrap_or(info.user);
        if let Some(password) = &self.password {
            info.password = Some(password.read()?);
        }
        if let Some(file) = &self.passfile {
            info.passfile = Some(file.clone());
        }
        if let Some(mode) = &self.sslmode {
            info = info.with_sslmode(mode)?;
        }
        Ok(Some(Server {
            info,
            database: self.database.clone(),
        }))
    }
}
