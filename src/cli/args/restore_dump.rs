//! Arguments of `restore-dump`.

use std::path::PathBuf;

use clap::Args;

use crate::repo::dump_name::Class;

/// Restores a dump into a database or a file
///
/// The dump is read whole and its SHA-256 compared first. What fails leaves no database behind that was
/// not there before, and what was there as it was.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow restore-dump shop --to-database shop_copy
  pgstow restore-dump shop --clean --globals
  pgstow restore-dump main_shop_20261121T020000Z_daily --table orders --to-database shop_copy
  pgstow restore-dump shop --to-file - | less
  pgstow restore-dump --from /mnt/usb/shop.sql.gz --to-database shop_copy")]
pub struct RestoreDumpArgs {
    /// The dump: its name, a database, whose newest whole one it is, latest, or @globals
    #[arg(
        value_name = "DUMP",
        conflicts_with = "from",
        required_unless_present = "from"
    )]
    pub dump: Option<String>,
    /// A dump file (or pg_dump's folder) in the place of one of the repository
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Of a database, the newest dump of this class
    #[arg(long, value_name = "CLASS", conflicts_with = "from")]
    pub class: Option<Class>,
    /// The database, made if it is not there (default: the name of the one that was dumped)
    #[arg(short = 'd', long, value_name = "NAME", conflicts_with = "to_file")]
    pub to_database: Option<String>,
    /// Write it as SQL to this new file; - is standard output
    #[arg(long, value_name = "FILE")]
    pub to_file: Option<PathBuf>,
    /// Only tables (views, sequences) of this name or pattern, with what is theirs; may be repeated
    #[arg(short, long, value_name = "PATTERN", conflicts_with = "schema")]
    pub table: Vec<String>,
    /// Only schemas of this name or pattern; may be repeated
    #[arg(short = 'n', long, value_name = "PATTERN")]
    pub schema: Vec<String>,
    /// Put it in the place of the database that is there, which is dropped once the dump is restored
    #[arg(long, conflicts_with_all = ["to_file", "table", "schema"])]
    pub clean: bool,
    /// Roles and tablespaces first, from the dump of the same run
    #[arg(long, conflicts_with_all = ["to_file", "from"])]
    pub globals: bool,
    /// All is to belong to who restores, without the rights that others had
    #[arg(long, conflicts_with = "to_file")]
    pub no_owner: bool,
    /// Go on behind errors, and report all of them
    #[arg(long, conflicts_with = "to_file")]
    pub continue_on_error: bool,
    /// Workers of pg_restore, but for plain dumps (default: 1)
    #[arg(long, value_name = "N", conflicts_with = "to_file")]
    pub jobs: Option<std::num::NonZeroU16>,
    /// Ask nothing
    #[arg(short, long)]
    pub yes: bool,
    /// PostgreSQL's client programs (default: those that fit the server)
    #[arg(long, value_name = "DIR")]
    pub bindir: Option<String>,
}
