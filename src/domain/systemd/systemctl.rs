//! systemd's own programs, which answer in time or not at all.

use std::{collections::BTreeMap, process::Command, time::Duration};

use crate::{
    error::{Error, Kind, Result},
    util::{cancel::Cancel, process},
};

/// Generous: an answer takes some milliseconds, a reload on a busy host seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Calls systemctl.
pub fn systemctl(words: &[&str], cancel: &Cancel) -> Result<String> {
    let mut all = vec!["--no-pager", "--no-ask-password"];
    all.extend(words);
    run("systemctl", &all, cancel)
}

/// The properties of units, a map for each, as `systemctl show` has them.
pub fn show(
    units: &[String],
    properties: &str,
    cancel: &Cancel,
) -> Result<Vec<BTreeMap<String, String>>> {
    let properties = format!("--property=Id,{properties}");
    let mut words = vec!["show", "--all", &properties];
    words.extend(units.iter().map(String::as_str));
    Ok(parse(&systemctl(&words, cancel)?))
}

/// The last lines that a unit's processes wrote.
pub fn last_words(unit: &str, count: usize, cancel: &Cancel) -> Result<Vec<String>> {
    let (lines, unit) = (format!("--lines={count}"), format!("_SYSTEMD_UNIT={unit}"));
    let words = ["--no-pager", "--quiet", "--output=short-iso", &lines, &unit];
    let text = run("journalctl", &words, cancel)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// The last lines of a run of a unit: of its processes, else of systemd about it.
pub fn words_of_run(invocation: &str, count: usize, cancel: &Cancel) -> Result<Vec<String>> {
    let lines = format!("--lines={count}");
    let said = |field: &str| -> Result<Vec<String>> {
        let field = format!("{field}={invocation}");
        let words = ["--no-pager", "--quiet", "--output=cat", &lines, &field];
        let text = run("journalctl", &words, cancel)?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    let own = said("_SYSTEMD_INVOCATION_ID")?;
    match own.is_empty() {
        true => said("INVOCATION_ID"),
        false => Ok(own),
    }
}

/// Refuses what systemd does not take for a time.
pub fn check_calendar(expression: &str, cancel: &Cancel) -> Result<()> {
    match run("systemd-analyze", &["calendar", expression], cancel) {
        // A part of systemd that some distributions pack apart.
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) if error.kind() == Kind::Failed => Err(Error::usage(format!(
            "systemd knows no time like {expression:?}"
        ))
        .hint("write it as OnCalendar= has it: daily, 03:30, Mon..Fri 22:00, *:0/15 (systemd.time(7)).")),
        // As a day that is over, or the 31st of February.
        Ok(shown) if shown.lines().any(|line| line.trim() == "Next elapse: never") => {
            Err(Error::usage(format!("{expression:?} never comes"))
                .hint("name a time that comes again and again, such as daily or 03:30."))
        }
        other => other.map(drop),
    }
}

fn run(program: &str, words: &[&str], cancel: &Cancel) -> Result<String> {
    let mut command = Command::new(program);
    command.args(words).env("LC_ALL", "C").env("TZ", "UTC");
    let output = process::run(&mut command, LIMIT, cancel)?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}

/// Reads blocks of `NAME=VALUE`, with an empty line between two of them.
fn parse(shown: &str) -> Vec<BTreeMap<String, String>> {
    let block = |text: &str| {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let set = pairs.filter(|(_, value)| !value.is_empty() && *value != "n/a");
        set.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    shown.trim().split("\n\n").map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows() {
        let shown =
            "Id=a.timer\nLastTriggerUSec=n/a\nResult=\n\nId=b.service\nExecStart={ path=/x ; }\n";
        let blocks = parse(shown);
        let names: Vec<&str> = blocks.iter().map(|block| block["Id"].as_str()).collect();
        assert_eq!(names, ["a.timer", "b.service"]);
        assert_eq!(blocks[0].len(), 1);
        assert_eq!(blocks[1]["ExecStart"], "{ path=/x ; }");
    }
}
