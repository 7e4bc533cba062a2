//! Roles and tablespaces, which belong to no database: pg_dumpall's.

use super::making::{Maker, Read, tell};
use crate::{
    error::Result,
    postgres::connection::Session,
    repo::{
        dump::Dump,
        dump_name::{DumpFormat, Subject},
    },
    util::process::{self, NO_LIMIT},
};

impl Maker<'_> {
    /// `session` is one of the role that dumps: without the right to read passwords they are left out.
    pub fn globals(&self, session: &Session) -> Result<Dump> {
        let row = session.query_one(
            "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')",
            &[],
        )?;
        let reads_passwords: bool = row.parse(0)?;
        let compression = self.request.compression;
        let mut options = vec!["--globals-only".to_owned()];
        let mut missing = Vec::new();
        if !reads_passwords {
            options.push("--no-role-passwords".to_owned());
            missing.push(format!(
                "passwords of roles: {} may not read pg_authid",
                self.info.user
            ));
        }
        self.make(&Subject::Globals, |name| {
            self.meter.begin("dumping globals", 0);
            let mut command = self.programs.command("pg_dumpall", self.info)?;
            command.args(&options);
            let mut data = self.begin(name, DumpFormat::Plain, compression)?;
            let end = process::run_to_any_end(&mut command, &mut data, NO_LIMIT, self.cancel)?;
            tell(&end.success()?);
            Ok(Read {
                data: data.finish()?,
                format: DumpFormat::Plain,
                compression,
                options,
                owner: None,
                locale: None,
                database_bytes: None,
                snapshot: None,
                contents: None,
                missing,
            })
        })
    }
}
