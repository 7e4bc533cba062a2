//! What people see while a command works: a bar on a terminal, plain lines elsewhere.

use crate::harness::{Scratch, Stow, pg, terminal};

#[test]
fn a_bar_fits_its_terminal() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(18));
    let line = stow.tool.shell("base --checkpoint fast --max-rate 8MB");
    for columns in [100, 80, 40] {
        let output = terminal::command(&line, columns).output().unwrap();
        let drawn = terminal::drawn(&output.stdout);
        assert!(output.status.success(), "{drawn:#?}");
        let copying = drawn.iter().filter(|state| state.starts_with("copying"));
        let copying: Vec<_> = copying.collect();
        assert!(copying.len() > 5, "{drawn:#?}");
        for state in &copying {
            assert!(state.chars().count() < columns, "{state:?}");
            assert!(
                state.starts_with("copying [") && state.contains(" %"),
                "{state:?}"
            );
        }
        assert!(
            copying.iter().any(|state| state.ends_with(" left")),
            "{drawn:#?}"
        );
        // It goes, and the report stays.
        let last = drawn.last().unwrap();
        assert!(!last.contains("copying"), "{last:?}");
    }
    let quiet = line.replace(" base ", " --no-progress base ");
    let output = terminal::command(&quiet, 80).output().unwrap();
    let drawn = terminal::drawn(&output.stdout);
    assert!(
        !drawn.iter().any(|state| state.contains("copying")),
        "{drawn:#?}"
    );
}

/// Takes longer than the 30 s between two lines.
#[test]
fn elsewhere_plain_lines_come() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(17));
    let output = stow
        .tool
        .command(&["base", "--checkpoint", "fast", "--max-rate", "600kB"])
        .ok();
    let lines = output.stderr.lines();
    let lines: Vec<_> = lines
        .filter(|line| line.starts_with("pgstow: copying: "))
        .collect();
    assert!((1..=2).contains(&lines.len()), "{output}");
    for part in [" MiB of ", " %), ", "KiB/s, ", " left"] {
        assert!(lines[0].contains(part), "{part:?} in {output}");
    }
    assert!(!output.stderr.contains(['\r', '\x1b']), "{output}");
}
