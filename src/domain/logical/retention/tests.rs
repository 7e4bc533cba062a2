//! What the rules decide, over made-up dumps.

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

fn not_good(day: &str, class: Class) -> Known {
    let problem = Problem {
        why: "it is damaged".to_owned(),
        is_lost: false,
    };
    Known {
        problem: Some(problem),
        ..dump("a", day, class)
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
    let damaged = |day| not_good(day, Class::Daily);
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
fn one_that_is_damaged_stays_until_its_year_or_month_has_a_good_one() {
    let rules = Rules {
        yearly: Some(Keep::Forever),
        ..Rules::default()
    };
    let damaged = |day| not_good(day, Class::Yearly);
    let forever = "yearly: forever";
    let but = "yearly: forever (but it is damaged)";
    let gone = "-no rule wants it, and it is damaged";
    let dumps = [
        damaged("2025-11-01"),
        damaged("2026-11-01"),
        damaged("2026-11-02"),
        dump("a", "2026-11-03", Class::Yearly),
    ];
    assert_eq!(said(&dumps, rules), [but, gone, gone, forever]);
    // Not before so many months that have one.
    let rules = Rules {
        monthly: Some(Keep::Count(12)),
        ..rules
    };
    let months = [
        not_good("2026-10-31", Class::Monthly),
        not_good("2026-11-01", Class::Monthly),
        dump("a", "2026-11-02", Class::Monthly),
    ];
    let one = "monthly: 1 of 12";
    let but_one = "monthly: 2 of 12 (but it is damaged)";
    assert_eq!(said(&months, rules), [but_one, gone, one]);
}

const NEWER: &str = "newer than every good one (but it is damaged)";

/// A verification that fails each night makes one of class auto yearly for ever.
#[test]
fn while_none_is_good_one_of_each_year_stays_and_the_last_of_all() {
    let rules = Rules {
        daily: Some(Keep::Count(2)),
        yearly: Some(Keep::Forever),
        ..Rules::default()
    };
    let day = |month: u32, day: u32| format!("2026-{month:02}-{day:02}");
    let mut dumps = vec![
        not_good("2024-05-01", Class::Yearly),
        not_good("2024-05-02", Class::Yearly),
        dump("a", "2025-12-31", Class::Daily),
    ];
    dumps.extend((1..=20).map(|one| not_good(&day(1, one), Class::Yearly)));
    let said_of = |dumps: &[Known]| said(dumps, rules);
    let but = "yearly: forever (but it is damaged)";
    let gone = "-no rule wants it, and it is damaged";
    let decided = said_of(&dumps);
    assert_eq!(decided[..3], [gone, but, "daily: 1 of 2"]);
    assert_eq!(decided[3..16], [gone; 13]);
    assert_eq!(decided[16..22], [NEWER; 6]);
    assert_eq!(decided[22], format!("{but}; {NEWER}"));
    // As many as are kept of each night.
    for nightly in [
        Rules {
            daily: Some(Keep::Count(9)),
            ..rules
        },
        Rules { min: 9, ..rules },
    ] {
        let kept = said(&dumps, nightly);
        let kept = kept.iter().filter(|one| one.contains(NEWER)).count();
        assert_eq!(kept, 9);
    }
    // Also where days are kept: they are counted back from the last one.
    let of_days = Rules {
        days: Some(Keep::Count(10)),
        ..rules
    };
    let kept = said(&dumps, of_days);
    assert_eq!(kept.iter().filter(|one| one.contains("days: ")).count(), 12);
    // One that is good ends it.
    dumps.push(dump("a", "2026-01-21", Class::Yearly));
    let decided = said_of(&dumps);
    assert_eq!(decided[..3], [gone, but, "daily: 1 of 2"]);
    assert_eq!(decided[3..23], [gone; 20]);
    assert_eq!(decided[23], "yearly: forever");
}

/// Nights that are not good take no good one's place, and are no more than good ones would be.
#[test]
fn those_that_are_not_good_stand_in_for_their_days() {
    let rules = Rules {
        daily: Some(Keep::Count(8)),
        ..Rules::default()
    };
    let day = |one: u32| format!("2026-11-{one:02}");
    let mut dumps: Vec<Known> = (1..=9)
        .map(|one| dump("a", &day(one), Class::Daily))
        .collect();
    dumps.extend((10..=29).map(|one| not_good(&day(one), Class::Daily)));
    let decided = said(&dumps, rules);
    let kept = |some: &[String]| some.iter().filter(|one| !one.starts_with('-')).count();
    assert_eq!(kept(&decided[..9]), 8);
    assert_eq!(kept(&decided[9..]), 8);
    assert_eq!(
        decided[28],
        format!("daily: 1 of 8 (but it is damaged); {NEWER}")
    );
}

/// What can't be restored at all is kept only for who puts it back.
#[test]
fn one_that_has_its_data_stands_in_for_its_year() {
    let rules = Rules {
        yearly: Some(Keep::Forever),
        ..Rules::default()
    };
    let lost = |day| {
        let mut dump = not_good(day, Class::Yearly);
        dump.problem.as_mut().unwrap().is_lost = true;
        dump
    };
    let dumps = [
        lost("2024-11-01"),
        lost("2024-11-02"),
        not_good("2025-11-01", Class::Yearly),
        lost("2025-11-02"),
        dump("a", "2026-11-02", Class::Yearly),
    ];
    let but = "yearly: forever (but it is damaged)";
    let gone = "-no rule wants it, and it is damaged";
    let decided = said(&dumps, rules);
    assert_eq!(decided, [gone, but, but, gone, "yearly: forever"]);
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
