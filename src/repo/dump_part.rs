//! Whether a dump holds all of its database, as the options tell that pg_dump was given. Pure.

use super::dump::Dump;

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

impl Dump {
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
