//! Whether a dump holds all of its database, as the options tell that pg_dump was given. Pure.

use super::{dump::Dump, dump_name::DumpFormat};

/// Long options that leave out neither tables nor rows nor what keeps these right (`long_options` in
/// `src/bin/pg_dump/pg_dump.c` of 15 to 18). Any other one does, or may.
const HARMLESS: [&str; 43] = [
    "attribute-inserts",
    "blobs",
    "clean",
    "column-inserts",
    "compress",
    "create",
    "disable-dollar-quoting",
    "disable-triggers",
    "encoding",
    "extra-float-digits",
    "format",
    "if-exists",
    "include-foreign-data",
    "inserts",
    "large-objects",
    "load-via-partition-root",
    "lock-wait-timeout",
    "no-acl",
    "no-comments",
    "no-owner",
    "no-privileges",
    "no-publications",
    "no-security-labels",
    "no-statistics",
    "no-subscriptions",
    "no-sync",
    "no-table-access-method",
    "no-tablespaces",
    "no-toast-compression",
    "no-unlogged-table-data",
    "on-conflict-do-nothing",
    "quote-all-identifiers",
    "restrict-key",
    "role",
    "rows-per-insert",
    "sequence-data",
    "serializable-deferrable",
    "statistics",
    "strict-names",
    "superuser",
    "sync-method",
    "use-set-session-authorization",
    "verbose",
];

/// The short ones: without a value, and those whose value is the rest of the word or the next one.
const FLAGS: &str = "bcCOvxR";
const WITH_VALUE: &str = "EFSZ";

/// Of these, those that leave out what is beside tables and rows: many scripts give them, and their dumps are all the
/// same what a database is restored from.
const LESS: [&str; 7] = [
    "no-acl",
    "no-comments",
    "no-privileges",
    "no-publications",
    "no-security-labels",
    "no-subscriptions",
    // Rows that a crash of the server would take, too.
    "no-unlogged-table-data",
];

/// The same of plain dumps; archives have it whatever was said.
const LESS_OF_SCRIPTS: [&str; 2] = ["no-owner", "no-tablespaces"];

/// The words that leave something out, as they were given; None: nothing is.
pub fn part(options: &[String]) -> Option<String> {
    let mut words = Vec::new();
    let mut leaves_out = false;
    for word in options {
        leaves_out = match (word.strip_prefix("--"), word.strip_prefix('-')) {
            (Some(long), _) => !HARMLESS.contains(&long.split('=').next().unwrap_or(long)),
            (None, Some(short)) => short_leaves_out(short),
            // A value of the option before it.
            (None, None) => leaves_out,
        };
        if leaves_out {
            words.push(word.as_str());
        }
    }
    (!words.is_empty()).then(|| words.join(" "))
}

fn short_leaves_out(letters: &str) -> bool {
    let first = letters.find(|letter| !FLAGS.contains(letter));
    let first = first.and_then(|at| letters[at..].chars().next());
    first.is_some_and(|letter| !WITH_VALUE.contains(letter))
}

/// The words that leave out what is beside tables and rows.
fn less(options: &[String], format: DumpFormat) -> impl Iterator<Item = &str> {
    let of_scripts = format == DumpFormat::Plain;
    let is_less = move |word: &&str| match (word.strip_prefix("--"), word.strip_prefix('-')) {
        (Some(long), _) => LESS.contains(&long) || of_scripts && LESS_OF_SCRIPTS.contains(&long),
        (None, Some(short)) => {
            let mut flags = short.chars().take_while(|letter| FLAGS.contains(*letter));
            flags.any(|flag| flag == 'x' || of_scripts && flag == 'O')
        }
        (None, None) => false,
    };
    options.iter().map(String::as_str).filter(is_less)
}

impl Dump {
    /// What of pg_dump's options leaves out owners, rights, comments and the like; None: nothing does.
    pub fn lacks(&self) -> Option<String> {
        let words: Vec<&str> = less(&self.options, self.dump_format).collect();
        (self.database.is_some() && !words.is_empty()).then(|| words.join(" "))
    }

    /// What of pg_dump's options leaves out a part of the database; None: it holds all of it.
    ///
    /// Such a dump stands for the database nowhere: it is restored, listed and kept by its own name alone.
    pub fn part(&self) -> Option<String> {
        // Of globals pg_dumpall makes all, but for passwords.
        self.database.as_ref().and_then(|_| part(&self.options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_beside_rows_is_told() {
        for (options, archive, script) in [
            ("--format=custom --compress=5 -v", "", ""),
            (
                "--no-comments -vx --inserts",
                "--no-comments -vx",
                "--no-comments -vx",
            ),
            ("-O --no-tablespaces", "", "-O --no-tablespaces"),
            ("-EOx --role x", "", ""),
            (
                "--no-unlogged-table-data",
                "--no-unlogged-table-data",
                "--no-unlogged-table-data",
            ),
        ] {
            let words: Vec<String> = options.split(' ').map(str::to_owned).collect();
            let told = |format| less(&words, format).collect::<Vec<_>>().join(" ");
            assert_eq!(told(DumpFormat::Custom), archive, "{options}");
            assert_eq!(told(DumpFormat::Plain), script, "{options}");
        }
    }

    #[test]
    fn what_leaves_something_out_is_told() {
        for (options, left_out) in [
            ("--format=custom --compress=5", None),
            ("--format=plain -Z 5 --no-owner -xO --role admin", None),
            ("-vEUTF8 --inserts --lock-wait-timeout=5s", None),
            (
                "--format=custom --table=app.orders",
                Some("--table=app.orders"),
            ),
            ("-t app.orders --no-owner", Some("-t app.orders")),
            ("-vs", Some("-vs")),
            ("--schema-only", Some("--schema-only")),
            ("--section pre-data -x", Some("--section pre-data")),
            ("--exclude-table-data=log", Some("--exclude-table-data=log")),
            ("--enable-row-security", Some("--enable-row-security")),
            // An abbreviation may be one of anything.
            ("--tab=x --no-own", Some("--tab=x --no-own")),
            ("--filter=x --future", Some("--filter=x --future")),
        ] {
            let words: Vec<String> = options.split(' ').map(str::to_owned).collect();
            assert_eq!(part(&words).as_deref(), left_out, "{options}");
        }
    }
}
