//! What was said of backups that stay: the newest word of each holds in the target too, unless something newer was
//! said there.

use super::pass::Pass;
use crate::{
    error::Result,
    repo::{backup_id::BackupId, pins::Pin},
    util::clock::Time,
};

/// `is_there`: whether the target has a backup.
pub fn copy(pass: &Pass<'_>, is_there: impl Fn(BackupId) -> bool) -> Result<()> {
    let theirs = pass.target.repository.pins()?;
    for (id, pin) in pass.source.repository.pins()? {
        pass.cancel.check()?;
        if !is_there(id) || !is_news(&pin, theirs.get(&id)) {
            continue;
        }
        if !pass.dry_run {
            pass.target.repository.add_pin(&pin)?;
        }
        pass.tally.count(|copied| copied.pins += 1);
    }
    Ok(())
}

fn is_news(pin: &Pin, known: Option<&Pin>) -> bool {
    // A word that can't be read has no host.
    if pin.host.is_empty() {
        return false;
    }
    let said: Option<Time> = known.map(|known| known.time);
    match known {
        None => pin.pinned,
        Some(known) => said < Some(pin.time) && !is_same(pin, known),
    }
}

fn is_same(one: &Pin, other: &Pin) -> bool {
    (one.pinned, &one.reason, one.until) == (other.pinned, &other.reason, other.until)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::repo::document::FORMAT;

    fn pin(pinned: bool, hour: u32, host: &str) -> Pin {
        Pin {
            format: FORMAT,
            backup: "20261121T020000Z-full".parse().unwrap(),
            pinned,
            reason: None,
            until: None,
            time: format!("2026-11-21T{hour:02}:00:00Z").parse().unwrap(),
            host: host.to_owned(),
        }
    }

    #[test]
    fn the_newer_word_holds() {
        let known = pin(true, 5, "b");
        for (said, known, news) in [
            (pin(true, 4, "a"), None, true),
            (pin(false, 4, "a"), None, false),
            (pin(false, 6, "a"), Some(&known), true),
            (pin(false, 4, "a"), Some(&known), false),
            (pin(true, 6, "a"), Some(&known), false),
            (pin(true, 6, ""), None, false),
        ] {
            assert_eq!(is_news(&said, known), news, "{said:?} after {known:?}");
        }
    }
}
