//! What pg_dump writes of the restored server, as its own archives in the scratch folder.
//!
//! Tables that go where their database lives find there what they need. Elsewhere they need it brought along: types,
//! functions, schemas, extensions. pg_dump knows what needs what, but only of what it dumps; so the definitions of the
//! whole database are dumped beside the rows, and of these what the tables need is taken.

use std::path::{Path, PathBuf};

use super::{
    live::Live,
    request::{Request, What},
    taken::Taken,
};
use crate::{
    domain::{
        drill::place::LARGER,
        logical::restore::needs::{self, Needs},
    },
    error::{Error, IoContext, Result},
    postgres::{
        archive_toc::ArchiveToc, client_programs::ClientPrograms, conninfo::ConnInfo,
        sql::identifier,
    },
    util::{
        cancel::Cancel,
        process::{self, NO_LIMIT},
    },
};

pub struct Archives<'a> {
    /// Those of the restored server.
    pub programs: &'a ClientPrograms,
    pub info: &'a ConnInfo,
    pub folder: &'a Path,
    pub cancel: &'a Cancel,
}

/// What was dumped, and how it is put together.
#[derive(Debug)]
pub enum Made {
    /// All of it, as it is.
    Whole(PathBuf),
    /// Definitions, of which some are needed before and behind the rows.
    Apart {
        definitions: PathBuf,
        toc: Box<ArchiveToc>,
        needs: Needs,
        rows: PathBuf,
    },
}

impl Archives<'_> {
    pub fn make(&self, request: &Request, taken: &Taken, live: Option<&Live>) -> Result<Made> {
        let tables = || taken.tables.iter().map(|one| table(&one.schema, &one.name));
        let there = live.is_some_and(|live| live.exists);
        match (&request.what, &request.schema) {
            (What::Database(_), _) => self.dump("all", Vec::new()).map(Made::Whole),
            // With the schema itself.
            (_, Some(schema)) if there => {
                let schema = format!("--schema={}", identifier(schema));
                self.dump("tables", vec![schema]).map(Made::Whole)
            }
            _ if there => self.dump("tables", tables().collect()).map(Made::Whole),
            _ => {
                let sections = ["--section=pre-data", "--section=post-data"];
                let definitions = self.dump("definitions", sections.map(str::to_owned).into())?;
                let file = std::fs::File::open(&definitions).at("read", &definitions)?;
                let toc = ArchiveToc::read(std::io::BufReader::new(file))?;
                let wanted = taken.tables.iter();
                let wanted = wanted.map(|table| (table.schema.as_str(), table.name.as_str()));
                let needs = needs::of_tables(&toc, &wanted.collect())?;
                let sequences = needs
                    .sequences
                    .iter()
                    .map(|(schema, name)| table(schema, name));
                let mut options = vec!["--section=data".to_owned()];
                options.extend(tables().chain(sequences));
                Ok(Made::Apart {
                    rows: self.dump("rows", options)?,
                    toc: Box::new(toc),
                    definitions,
                    needs,
                })
            }
        }
    }

    fn dump(&self, name: &str, options: Vec<String>) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}.dump"));
        let mut command = self.programs.command("pg_dump", self.info)?;
        command
            // The names in its options are in that encoding.
            .args(["--format=custom", "--compress=1", "--encoding=UTF8"])
            .args(options)
            .arg("--file")
            .arg(&path);
        let end =
            process::run_to_any_end(&mut command, &mut std::io::sink(), NO_LIMIT, self.cancel)?;
        end.success().map_err(|error| with_cure(error, name))?;
        Ok(path)
    }
}

/// An exact name.
fn table(schema: &str, name: &str) -> String {
    format!("--table={}.{}", identifier(schema), identifier(name))
}

fn with_cure(error: Error, what: &str) -> Error {
    let error = error.context(format!("can't dump {what} from the restored server"));
    match error.in_one_line().contains("No space left on device") {
        true => error.hint(LARGER),
        false => error,
    }
}
