//! Which dumps are kept: the rules, and what they decide, with a reason for every line. Pure.

use std::collections::BTreeMap;

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
    pub problem: Option<String>,
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
                (false, Some(problem)) => vec![format!("no rule wants it, and {problem}")],
                (false, None) => vec!["no rule wants it".to_owned()],
            },
            stored_bytes: dump.stored_bytes,
        }
    };
    dumps.iter().map(decision).collect()
}

/// Why dumps of one database stay, which come newest first.
fn of_one<'a>(own: &[&'a Known], rules: &Rules, now: Time) -> BTreeMap<&'a DumpName, Vec<String>> {
    let newest_good = own.iter().find(|dump| dump.problem.is_none());
    let newest_good = newest_good.map(|dump| dump.name.time());
    let reference = newest_good.map_or(now, |time| time.min(now));
    // Good ones that came before, in all and of each class.
    let mut good: u32 = 0;
    let mut of_class: BTreeMap<Class, usize> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for dump in own {
        let class = dump.name.class();
        let before = of_class.entry(class).or_default();
        let mut reasons = Vec::new();
        match rules.of(class) {
            _ if class == Class::Manual => {
                reasons.push("manual: no rule removes it".to_owned());
            }
            None if rules.days.is_none() => reasons.push(format!("no rule for class {class}")),
            Some(keep) if keep.wants_more_than(*before) => reasons.push(match keep {
                Keep::Count(count) => format!("{class}: {} of {count}", *before + 1),
                Keep::Forever => format!("{class}: forever"),
            }),
            _ => {}
        }
        if let Some(why) = rules
            .days
            .and_then(|days| within(days, dump.name.time(), reference))
        {
            reasons.push(why);
        }
        match &dump.problem {
            // It counts for nothing, but goes only when good ones of its age would.
            Some(problem) => {
                if newest_good.is_none_or(|newest| dump.name.time() > newest) {
                    reasons.push("newer than every good one".to_owned());
                }
                for reason in &mut reasons {
                    reason.push_str(&format!(" (but {problem})"));
                }
            }
            None => {
                if good < rules.min {
                    reasons.push(format!("min: {} of {}", good + 1, rules.min));
                }
                good += 1;
                *before += 1;
            }
        }
        all.insert(&dump.name, reasons);
    }
    all
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
mod tests {
    use super::*;
    use crate::repo::dump_name::{DumpPrefix, PathFormat};

    fn time(text: &str) -> Time {
        format!("{text}T02:00:00Z").parse().unwrap()
    }

    fn dump(database: &str, day: &str, class: Class) -> Known {
        let prefix: DumpPrefix = "main".parse().unwrap();
        let subject = Subject::Database(database.to_owned());
        Known {
            name: DumpName::new(PathFormat::Flat, &prefix, &subject, time(day), class),
            subject,
            part: None,
            stored_bytes: 1,
            problem: None,
        }
    }

    /// Of each dump: what is said of it, with a `-` before it if it goes.
    fn said(dumps: &[Known], rules: Rules) -> Vec<String> {
        let decided = decide(dumps, &rules, time("2026-12-31"));
        let mark = |keep| if keep { "" } else { "-" };
        decided
            .iter()
            .map(|one| format!("{}{}", mark(one.keep), one.reasons.join("; ")))
            .collect()
    }

    #[test]
    fn each_class_has_its_count_and_each_database_its_floor() {
        let rules = Rules {
            daily: Some(Keep::Count(1)),
            weekly: Some(Keep::Count(1)),
            yearly: Some(Keep::Forever),
            min: 2,
            ..Rules::default()
        };
        let dumps = [
            dump("a", "2026-11-01", Class::Weekly),
            dump("a", "2026-11-02", Class::Daily),
            dump("a", "2026-11-03", Class::Daily),
            dump("a", "2026-11-04", Class::Daily),
            dump("a", "2020-11-04", Class::Yearly),
            dump("a", "2020-11-04", Class::Manual),
            dump("a", "2020-11-04", Class::Monthly),
            dump("b", "2020-11-05", Class::Daily),
            dump("b", "2020-11-04", Class::Daily),
            dump("b", "2020-11-03", Class::Daily),
        ];
        assert_eq!(
            said(&dumps, rules),
            [
                "weekly: 1 of 1",
                "-no rule wants it",
                "min: 2 of 2",
                "daily: 1 of 1; min: 1 of 2",
                "yearly: forever",
                "manual: no rule removes it",
                "no rule for class monthly",
                "daily: 1 of 1; min: 1 of 2",
                "min: 2 of 2",
                "-no rule wants it",
            ]
        );
    }

    #[test]
    fn dumps_of_a_part_take_the_place_of_no_other() {
        let rules = Rules {
            daily: Some(Keep::Count(1)),
            ..Rules::default()
        };
        let part = |day, options: &str| Known {
            part: Some(options.to_owned()),
            ..dump("a", day, Class::Daily)
        };
        let dumps = [
            dump("a", "2026-11-01", Class::Daily),
            part("2026-11-02", "-t x"),
            part("2026-11-03", "-t x"),
            part("2026-11-04", "-s"),
        ];
        let (stays, goes) = ("daily: 1 of 1", "-no rule wants it");
        assert_eq!(said(&dumps, rules), [stays, goes, stays, stays]);
    }

    #[test]
    fn days_count_back_from_the_newest_so_that_nothing_goes_where_dumps_cease() {
        let rules = Rules {
            days: Some(Keep::Count(7)),
            ..Rules::default()
        };
        let dumps = [
            dump("a", "2026-11-01", Class::Daily),
            dump("a", "2026-11-03", Class::Weekly),
            dump("a", "2026-11-10", Class::Daily),
        ];
        let of_days = "days: of the last 7";
        assert_eq!(said(&dumps, rules), ["-no rule wants it", of_days, of_days]);
        // A dump of next year was made by a wrong clock.
        let dumps = [
            dump("a", "2026-12-30", Class::Daily),
            dump("a", "2028-01-01", Class::Daily),
        ];
        assert_eq!(said(&dumps, rules), [of_days, of_days]);
    }

    #[test]
    fn a_damaged_one_counts_for_nothing_but_goes_only_in_its_turn() {
        let rules = Rules {
            daily: Some(Keep::Count(1)),
            ..Rules::default()
        };
        let damaged = |day| Known {
            problem: Some("it is damaged".to_owned()),
            ..dump("a", day, Class::Daily)
        };
        let dumps = [
            damaged("2026-11-01"),
            dump("a", "2026-11-02", Class::Daily),
            damaged("2026-11-03"),
            dump("a", "2026-10-01", Class::Daily),
        ];
        assert_eq!(
            said(&dumps, rules),
            [
                "-no rule wants it, and it is damaged",
                "daily: 1 of 1",
                "daily: 1 of 1 (but it is damaged); newer than every good one (but it is damaged)",
                "-no rule wants it",
            ]
        );
        let only = [damaged("2026-11-01"), damaged("2026-11-02")];
        assert!(
            decide(&only, &rules, time("2026-12-31"))
                .iter()
                .all(|one| one.keep)
        );
    }

    #[test]
    fn without_rules_all_stay() {
        let dumps = [
            dump("a", "2020-11-01", Class::Daily),
            dump("a", "2020-11-02", Class::Daily),
        ];
        let all = said(&dumps, Rules::default());
        assert_eq!(all, ["no rule for class daily", "no rule for class daily"]);
    }
}
