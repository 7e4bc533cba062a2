//! Whether a time is one that cron understands (crontab(5)). cron reads no line of a file in which one
//! is wrong, and says so in a log that nobody reads.

use crate::error::{Error, Result};

const NAMED: [&str; 8] = [
    "@reboot",
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    /// The first stands for `least`.
    words: &'static [&'static str],
}

const fn field(name: &'static str, least: u32, most: u32, words: &'static [&str]) -> Field {
    Field {
        name,
        least,
        most,
        words,
    }
}

const FIELDS: [Field; 5] = [
    field("minute", 0, 59, &[]),
    field("hour", 0, 23, &[]),
    field("day of the month", 1, 31, &[]),
    field("month", 1, 12, &MONTHS),
    // Sunday is 0 and 7.
    field("day of the week", 0, 7, &DAYS),
];

pub fn check(expression: &str) -> Result<()> {
    if NAMED.contains(&expression.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    let refuse = |why: &str| {
        Error::usage(format!("cron knows no time like {expression:?}: {why}"))
            .hint("with --cron, write the five fields of a crontab: '0 3 * * *', or @daily.")
    };
    let blank = |c| c == ' ' || c == '\t';
    let texts: Vec<&str> = expression.split(blank).filter(|t| !t.is_empty()).collect();
    if texts.len() != FIELDS.len() {
        return Err(refuse("it has not five fields"));
    }
    for (field, text) in FIELDS.iter().zip(&texts) {
        if !text.split(',').all(|item| field.takes(item)) {
            return Err(refuse(&format!("{text:?} is no {}", field.name)));
        }
    }
    match comes(&texts) {
        true => Ok(()),
        false => Err(refuse("it never comes")),
    }
}

/// Whether there is a day for it: not the 31st of February. Where days of the week are named, one of them does.
fn comes(texts: &[&str]) -> bool {
    let [_, _, day, month, weekday] = texts else {
        return false;
    };
    let matches = |field: &Field, text: &str, value| {
        let mut items = text.split(',');
        items.any(|item| field.matches(item, value))
    };
    let exists = |month: u32, day: u32| match month {
        2 => day <= 29,
        4 | 6 | 9 | 11 => day <= 30,
        _ => true,
    };
    let [_, _, days, months, _] = &FIELDS;
    let mut months = (1..=12).filter(|one| matches(months, month, *one));
    *weekday != "*"
        || months.any(|month| (1..=31).any(|one| exists(month, one) && matches(days, day, one)))
}

impl Field {
    /// `*`, a number or name, or a range; a step behind all but a single one.
    fn takes(&self, item: &str) -> bool {
        let (values, step) = match item.split_once('/') {
            Some((values, step)) => (values, Some(step)),
            None => (item, None),
        };
        let range = match values.split_once('-') {
            _ if values == "*" => true,
            Some((first, last)) => match (self.value(first), self.value(last)) {
                (Some(first), Some(last)) => first <= last,
                _ => return false,
            },
            None => return step.is_none() && self.value(values).is_some(),
        };
        range && step.is_none_or(|step| number(step).is_some_and(|step| step > 0))
    }

    /// Whether an item that it takes has `value`.
    fn matches(&self, item: &str, value: u32) -> bool {
        let (values, step) = match item.split_once('/') {
            Some((values, step)) => (values, number(step).unwrap_or(1)),
            None => (item, 1),
        };
        let (first, last) = match values.split_once('-') {
            _ if values == "*" => (Some(self.least), Some(self.most)),
            Some((first, last)) => (self.value(first), self.value(last)),
            None => (self.value(values), self.value(values)),
        };
        let inside = first
            .zip(last)
            .filter(|(first, last)| (first..=last).contains(&&value));
        inside.is_some_and(|(first, _)| (value - first).is_multiple_of(step.max(1)))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let name = text.to_ascii_lowercase();
        let named = self.words.iter().position(|word| *word == name);
        match named {
            Some(index) => Some(self.least + index as u32),
            None => number(text).filter(|number| (self.least..=self.most).contains(number)),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = text.chars().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use super::*;

    const GOOD: [&str; 12] = [
        "0 3 29 2 *",
        "0 3 30-31 2,mar *",
        "0 3 31 2 mon",
        "0 3 * * 1-5",
        "*/15 * * * Mon,Tue",
        "@daily",
        "0,30 1-5/2 1,15 jan-Mar 0",
        "59 23 31 12 7",
        "0 3 * * sun-mon,fri",
        "00 03 * * *",
        "0\t3 * * *",
        "5-5 * * * *",
    ];
    const BAD: [&str; 24] = [
        "0 3 31 2 *",
        "0 3 30-31 feb *",
        "0 3 31 2-6/2,11 *",
        "daily",
        "@fortnightly",
        "0 3 * *",
        "0 3 * * *\n* * * * *",
        "0 3 * * * root",
        "61 25 * * *",
        "* 24 * * *",
        "* * 32 13 9",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 0 * * *",
        "*/0 * * * *",
        "5/2 * * * *",
        "0 2 * * foo",
        "jan * * * *",
        "1,,2 * * * *",
        "1- * * * *",
        "-1 * * * *",
        "+1 * * * *",
        "*-5 * * * *",
    ];

    #[test]
    fn times_of_crontabs() {
        for expression in GOOD {
            assert!(check(expression).is_ok(), "{expression:?}");
        }
        for expression in BAD {
            assert!(check(expression).is_err(), "{expression:?}");
        }
    }

    /// What we take, Debian's cron takes.
    #[test]
    fn cron_agrees() {
        for expression in GOOD {
            let mut crontab = Command::new("crontab")
                .args(["-n", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut input = crontab.stdin.take().unwrap();
            writeln!(input, "{expression} true").unwrap();
            drop(input);
            let output = crontab.wait_with_output().unwrap();
            assert!(output.status.success(), "{expression:?}: {output:?}");
        }
    }
}
