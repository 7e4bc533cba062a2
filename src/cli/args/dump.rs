//! Arguments of `dump`.

use clap::Args;

use crate::domain::logical::class::ClassWish;

/// Dumps databases, roles and tablespaces with PostgreSQL's own pg_dump
///
/// Each dump streams into the repository, with its SHA-256 and a description beside it, and counts only
/// when all of that is there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow dump shop
  pgstow dump --all --exclude '*_test' --class daily --cleanup
  pgstow dump shop --table orders --format plain
  pgstow dump shop --format directory --jobs 4
  pgstow dump shop -- --no-owner --exclude-table-data='log*'")]
pub struct DumpArgs {
    /// Databases, or patterns with * and ? (default: dump.databases, or all)
    #[arg(value_name = "DATABASE", conflicts_with = "all")]
    pub databases: Vec<String>,
    /// All databases but templates and those that let nobody in, whatever dump.databases says
    #[arg(long)]
    pub all: bool,
    /// Leave out databases of this name or pattern; may be repeated (default: dump.exclude)
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Only definitions, no rows
    #[arg(long, conflicts_with = "data_only")]
    pub schema_only: bool,
    /// Only rows, no definitions
    #[arg(long)]
    pub data_only: bool,
    /// Only tables (views, sequences ...) of this name or pattern, as pg_dump takes it; may be repeated
    #[arg(short, long, value_name = "PATTERN")]
    pub table: Vec<String>,
    /// No tables of this name or pattern; may be repeated
    #[arg(short = 'T', long, value_name = "PATTERN")]
    pub exclude_table: Vec<String>,
    /// Only schemas of this name or pattern; may be repeated
    #[arg(short = 'n', long, value_name = "PATTERN")]
    pub schema: Vec<String>,
    /// No schemas of this name or pattern; may be repeated
    #[arg(short = 'N', long, value_name = "PATTERN")]
    pub exclude_schema: Vec<String>,
    /// How long it is meant to stay: daily, weekly, monthly, yearly by their rules, manual for ever;
    /// auto is the longest of these that the repository has no dump of yet in this year, month or week
    #[arg(long, value_name = "CLASS", default_value = "manual", value_parser = class)]
    pub class: ClassWish,
    /// custom, plain, directory or tar
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// How plain dumps and globals are compressed: none, gzip or zstd (with --format plain alone)
    #[arg(long, value_name = "CODEC")]
    pub compression: Option<String>,
    /// Level of compression: ours of plain dumps (gzip 1 to 9, zstd 1 to 22), pg_dump's own of custom and
    /// directory (0 to 9)
    #[arg(long, value_name = "N")]
    pub level: Option<String>,
    /// Workers of pg_dump, with --format directory alone (default: auto)
    #[arg(long, value_name = "N")]
    pub jobs: Option<String>,
    /// How rows are counted for the description: exact, estimated or none
    #[arg(long, value_name = "HOW")]
    pub row_counts: Option<String>,
    /// No roles and tablespaces
    #[arg(long)]
    pub no_globals: bool,
    /// Don't read the stored dumps again to check them
    #[arg(long)]
    pub no_verify: bool,
    /// Restore each dump into a temporary database, and check what came of it (default: dump.verify)
    #[arg(long)]
    pub verify: bool,
    /// After a success, run `pgstow cleanup`
    #[arg(long)]
    pub cleanup: bool,
    /// Options of pg_dump
    #[arg(last = true, value_name = "PG_DUMP_OPTIONS")]
    pub further: Vec<String>,
}

fn class(text: &str) -> Result<ClassWish, String> {
    match text {
        "auto" => Ok(ClassWish::Auto),
        _ => match text.parse() {
            Ok(class) => Ok(ClassWish::This(class)),
            Err(_) => Err("write daily, weekly, monthly, yearly, manual or auto".to_owned()),
        },
    }
}
