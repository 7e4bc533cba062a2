//! Golden files: outputs that were looked at once and must stay. PGSTOW_UPDATE_GOLDEN=1 rewrites
//! them, and the diff of the commit shows what changed.

use std::{env, fs, path::Path};

/// Compares `actual` with `tests/golden/<name>`.
#[track_caller]
pub fn golden(name: &str, actual: &str) {
    let update = env::var_os("PGSTOW_UPDATE_GOLDEN").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    if let Err(difference) = compare(&folder.join(name), actual, update) {
        panic!("{difference}\nPGSTOW_UPDATE_GOLDEN=1 rewrites the file");
    }
}

fn compare(path: &Path, actual: &str, update: bool) -> Result<(), String> {
    if update {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, actual).unwrap();
        return Ok(());
    }
    let expected =
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if expected == actual {
        return Ok(());
    }
    let (mut old, mut new) = (expected.lines(), actual.lines());
    let mut number = 0;
    loop {
        number += 1;
        let (old, new) = (old.next(), new.next());
        if old != new || old.is_none() {
            return Err(format!(
                "{} differs from line {number} on\nwas: {old:?}\nis:  {new:?}\nin full:\n{actual}",
                path.display()
            ));
        }
    }
}

#[test]
fn a_golden_file_is_compared() {
    golden("harness.txt", "what was looked at once\n");
}

#[test]
fn a_difference_is_named_and_an_update_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/list.txt");
    assert!(
        compare(&path, "a\nb\n", false)
            .unwrap_err()
            .contains("list.txt")
    );
    compare(&path, "a\nb\n", true).unwrap();
    compare(&path, "a\nb\n", false).unwrap();
    let difference = compare(&path, "a\nc\n", false).unwrap_err();
    assert!(
        difference.contains("line 2 on\nwas: Some(\"b\")"),
        "{difference}"
    );
    // Line by line both are the same: only the last newline is missing.
    assert!(
        compare(&path, "a\nb", false)
            .unwrap_err()
            .contains("line 3")
    );
}
