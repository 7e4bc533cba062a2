//! What databases are called that `restore-dump --clean` leaves beside the one it is for, so that they are known again.

/// Bytes of a database's name (NAMEDATALEN in `src/include/pg_config_manual.h`, less one).
pub const LONGEST_NAME: usize = 63;

/// Ends the name of one that was replaced.
const BEFORE: &str = "_before_restore";

/// End the names of those that could not take another one's place.
const AFTER: [&str; 3] = ["_after_restore", "_after_restore_2", "_after_restore_3"];

/// What somebody should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It was replaced, and not dropped.
    Replaced,
    /// It was restored, and did not get the name that it was for.
    Restored,
}

/// Where database `name` waits to be dropped when it is replaced.
pub fn before(name: &str) -> String {
    with_end(name, BEFORE)
}

/// What one is called that was to become `name`: the first of them that is free.
pub fn after(name: &str) -> [String; 3] {
    AFTER.map(|end| with_end(name, end))
}

/// Whether `name` is beside one of `databases`; once that is gone, it may be the one that is used.
pub fn left<'a>(name: &str, mut databases: impl Iterator<Item = &'a str>) -> Option<Left> {
    let (of, left) = match name.strip_suffix(BEFORE) {
        Some(of) => (of, Left::Replaced),
        None => {
            let of = AFTER.iter().find_map(|end| name.strip_suffix(end));
            (of?, Left::Restored)
        }
    };
    // A long name was cut off.
    let is_it = |other: &str| other != name && other.starts_with(of);
    let is_cut = name.len() > LONGEST_NAME - 4;
    databases
        .any(|other| other == of || (is_cut && is_it(other)))
        .then_some(left)
}

/// A name for a database, cut off so that it fits.
fn with_end(name: &str, end: &str) -> String {
    let mut at = name.len().min(LONGEST_NAME - end.len());
    while !name.is_char_boundary(at) {
        at -= 1;
    }
    format!("{}{end}", &name[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aside_fit_and_are_known() {
        assert_eq!(before("shop"), "shop_before_restore");
        assert_eq!(after("shop")[1], "shop_after_restore_2");
        for name in ["shop".to_owned(), "ä".repeat(31), "x".repeat(63)] {
            let name = name.as_str();
            let others = ["postgres", name];
            let found = |aside: &str| {
                assert!(aside.len() <= LONGEST_NAME, "{aside}");
                left(aside, others.into_iter().chain([aside]))
            };
            assert_eq!(found(&before(name)), Some(Left::Replaced));
            for aside in after(name) {
                assert_eq!(found(&aside), Some(Left::Restored));
            }
            assert_eq!(found(name), None);
        }
        // What it was beside is gone, or it is somebody's own.
        let alone = |name: &'static str| left(name, ["postgres", name].into_iter());
        assert_eq!(alone("shop_before_restore"), None);
        assert_eq!(alone("shop_after_restore"), None);
        assert_eq!(left("shop_restored", ["shop"].into_iter()), None);
    }
}
