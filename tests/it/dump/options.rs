//! Options that can't be, or do nothing where they stand.

use super::Site;
use crate::harness::pg;

#[test]
fn a_level_that_is_none_is_refused_with_those_that_are() {
    let site = Site::start(pg(16));
    for (arguments, said, hint) in [
        (
            &[][..],
            "pg_dump's own compression has no level 30",
            "write 0 to 9;",
        ),
        (
            &["--format", "directory"],
            "pg_dump's own compression has no level 30",
            "write 0 to 9;",
        ),
        (
            &["--format", "plain"],
            "gzip has no level 30",
            "write 1 to 9;",
        ),
        (
            &["--format", "plain", "--compression", "zstd"],
            "zstd has no level 30",
            "write 1 to 22;",
        ),
    ] {
        let fixed = ["postgres", "--no-globals", "--level", "30"];
        site.dump(&[&fixed, arguments].concat())
            .fails(2)
            .stderr_contains("--level: bad value for dump.level")
            .stderr_contains(said)
            .stderr_contains(hint);
    }
    site.dump(&["postgres"])
        .env("PGSTOW_DUMP_LEVEL", "30")
        .fails(2)
        .stderr_contains("PGSTOW_DUMP_LEVEL");
    assert_eq!(site.files(), [""; 0]);
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    let site = Site::with(pg(15), "[dump]\ncompression = \"zstd\"\nlevel = 5\n");
    for (arguments, said) in [
        (
            &["--format", "tar", "--compression", "zstd"][..],
            "--compression does nothing with --format tar",
        ),
        (
            &["--compression", "gzip"],
            "--compression does nothing with --format custom",
        ),
        (
            &["--format", "directory", "--compression", "none"],
            "--compression does nothing with --format directory",
        ),
        (
            &["--format", "tar", "--level", "5"],
            "--level does nothing with --format tar",
        ),
        (
            &["--format", "plain", "--compression", "none", "--level", "5"],
            "--level does nothing with --format plain",
        ),
        (&["--jobs", "4"], "--jobs does nothing with --format custom"),
        (
            &["--format", "plain", "--jobs", "auto"],
            "--jobs does nothing with --format plain",
        ),
        (
            &["--format", "tar", "--jobs", "2"],
            "--jobs does nothing with --format tar",
        ),
    ] {
        site.dump(&[&["postgres"], arguments].concat())
            .fails(2)
            .stderr_contains(said)
            .stderr_contains("hint");
    }
    assert_eq!(site.files(), [""; 0]);
    // What stands in the file is for those that it is of.
    for arguments in [
        &["--format", "tar"][..],
        &["--format", "tar", "--jobs", "1"],
        &["--format", "directory", "--jobs", "2", "--level", "1"],
        &["--level", "0"],
    ] {
        let report = site.dump(&[&["postgres"], arguments].concat()).ok().json();
        assert_eq!(report["dumps"][0]["compression"], "zstd", "{report}");
        assert_eq!(report["dumps"][1]["compression"], "none", "{report}");
    }
}
