//! Which dumps are kept: the rules, and what they decide, with a reason for every line. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::class::span;

use crate::{
    domain::retention::policy::Keep,
    repo::dump_name::{Class, DumpName, Subject},
    util::clock::Time,
};

/// Which dumps of a database are kept; a rule that is None keeps nothing by itself. A dump for whose
/// class there is no rule at all stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The newest of each class.
    pub daily: Option<Keep>,
    pub weekly: Option<Keep>,
    pub monthly: Option<Keep>,
    pub yearly: Option<Keep>,
    /// All of the last days, counted back from the newest good one: where dumps cease, nothing goes.
    pub days: Option<Keep>,
    /// Never fewer good dumps of a database than these.
    pub min: u32,
}

impl Rules {
    fn of(&self, class: Class) -> Option<Keep> {
        match class {
            Class::Daily => self.daily,
            Class::Weekly => self.weekly,
            Class::Monthly => self.monthly,
            Class::Yearly => self.yearly,
            Class::Manual => None,
        }
    }
}

/// A dump to be decided about.
#[derive(Clone, Debug)]
pub struct Known {
    pub name: DumpName,
    pub subject: Subject,
    /// Of a dump of a part of the database: which.
    pub part: Option<String>,
    pub stored_bytes: u64,
    /// Why it is no good.
    pub problem: Option<Problem>,
}

#[derive(Clone, Debug)]
pub struct Problem {
    pub why: String,
    /// Nothing can be restored of it: its data is gone or cut.
    pub is_lost: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub name: DumpName,
    pub keep: bool,
    /// At least one.
    pub reasons: Vec<String>,
    pub stored_bytes: u64,
}

/// Decides, for each database by itself, and for each part that is dumped of it; in the order of `dumps`.
pub fn decide(dumps: &[Known], rules: &Rules, now: Time) -> Vec<Decision> {
    let mut of_subjects: BTreeMap<_, Vec<&Known>> = BTreeMap::new();
    for dump in dumps {
        let own = of_subjects.entry((&dump.subject, &dump.part));
        own.or_default().push(dump);
    }
    let mut reasons: BTreeMap<&DumpName, Vec<String>> = BTreeMap::new();
    for mut own in of_subjects.into_values() {
        own.sort_by_key(|dump| std::cmp::Reverse((dump.name.time(), &dump.name)));
        reasons.extend(of_one(&own, rules, now));
    }
    let decision = |dump: &Known| {
        let wanted = reasons.remove(&dump.name).unwrap_or_default();
        let keep = !wanted.is_empty();
        Decision {
            name: dump.name.clone(),
            keep,
            reasons: match (keep, &dump.problem) {
                (true, _) => wanted,
                (false, Some(Problem { why, .. })) => vec![format!("no rule wants it, and {why}")],
                (false, None) => vec!["no rule wants it".to_owned()],
            },
            stored_bytes: dump.stored_bytes,
        }
    };
    dumps.iter().map(decision).collect()
}

/// Of dumps that are not good and newer than every good one, so many stay at least: a week of nights.
const UNPROVEN: u32 = 7;

/// Why dumps of one database stay, which come newest first. One that is not good takes no good one's place.
fn of_one<'a>(own: &[&'a Known], rules: &Rules, now: Time) -> BTreeMap<&'a DumpName, Vec<String>> {
    let newest_good = own.iter().find(|dump| dump.problem.is_none());
    let newest_good = newest_good.map(|dump| dump.name.time());
    let newest = own.first().map_or(now, |dump| dump.name.time().min(now));
    let reference = newest_good.map_or(now, |time| time.min(now));
    let stands = standing(own);
    let unproven = match rules.daily {
        Some(Keep::Count(daily)) => UNPROVEN.max(daily).max(rules.min),
        _ => UNPROVEN.max(rules.min),
    };
    // Good ones that came before, in all and of each class, and those that stand in for one.
    let mut good: u32 = 0;
    let mut of_class: BTreeMap<Class, usize> = BTreeMap::new();
    let mut standing_in: BTreeMap<Class, usize> = BTreeMap::new();
    let mut not_good: u32 = 0;
    let mut all = BTreeMap::new();
    for dump in own {
        let class = dump.name.class();
        let good_before = of_class.entry(class).or_default();
        let stood_in = standing_in.entry(class).or_default();
        let before = match dump.problem {
            None => *good_before,
            Some(_) => *good_before + *stood_in,
        };
        let is_standing = stands.contains(&dump.name);
        let mut reasons = Vec::new();
        match rules.of(class) {
            _ if class == Class::Manual => {
                reasons.push("manual: no rule removes it".to_owned());
            }
            Some(_) if !is_standing => {}
            None if rules.days.is_none() => reasons.push(format!("no rule for class {class}")),
            Some(keep) if keep.wants_more_than(before) => reasons.push(match keep {
                Keep::Count(count) => format!("{class}: {} of {count}", before + 1),
                Keep::Forever => format!("{class}: forever"),
            }),
            _ => {}
        }
        // While none is good, the days go on.
        let reference = dump.problem.as_ref().map_or(reference, |_| newest);
        if let Some(why) = rules
            .days
            .and_then(|days| within(days, dump.name.time(), reference))
        {
            reasons.push(why);
        }
        match &dump.problem {
            // It counts for nothing, but goes only when good ones of its age would.
            Some(Problem { why, is_lost }) => {
                let is_newer = newest_good.is_none_or(|newest| dump.name.time() > newest);
                if is_newer && (*is_lost || not_good < unproven) {
                    reasons.push("newer than every good one".to_owned());
                }
                not_good += u32::from(!is_lost);
                *stood_in += usize::from(is_standing);
                for reason in &mut reasons {
                    reason.push_str(&format!(" (but {why})"));
                }
            }
            None => {
                if good < rules.min {
                    reasons.push(format!("min: {} of {}", good + 1, rules.min));
                }
                good += 1;
                *good_before += 1;
            }
        }
        all.insert(&dump.name, reasons);
    }
    all
}

/// Those that count for their class: the good ones, and of those that are not, one of each class and year, month, week or
/// day that has no good one: the newest that has its data, else the newest.
fn standing<'a>(own: &[&'a Known]) -> BTreeSet<&'a DumpName> {
    let mut of_periods: BTreeMap<_, Vec<&Known>> = BTreeMap::new();
    for dump in own {
        let class = dump.name.class();
        let period = (class, span(class, dump.name.time()));
        of_periods.entry(period).or_default().push(dump);
    }
    let mut standing = BTreeSet::new();
    for dumps in of_periods.into_values() {
        let is_good = |dump: &&&Known| dump.problem.is_none();
        let is_there = |dump: &&&Known| !dump.problem.as_ref().is_some_and(|one| one.is_lost);
        match dumps.iter().any(|dump| dump.problem.is_none()) {
            true => standing.extend(dumps.iter().filter(is_good).map(|dump| &dump.name)),
            false => {
                let stand_in = dumps.iter().find(is_there).or(dumps.first());
                standing.extend(stand_in.map(|dump| &dump.name));
            }
        }
    }
    standing
}

fn within(days: Keep, time: Time, reference: Time) -> Option<String> {
    match days {
        Keep::Forever => Some("days: forever".to_owned()),
        Keep::Count(count) => {
            let begin = reference.checked_sub_days(chrono::Days::new(count.into()));
            // So many days that the calendar has not begun: all.
            let is_in = begin.is_none_or(|begin| time >= begin);
            is_in.then(|| format!("days: of the last {count}"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
