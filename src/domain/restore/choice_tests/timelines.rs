//! Forks, promotions, and histories that are lost.

use super::*;

#[test]
fn what_came_last_from_another_timeline_is_told() {
    let told = |timeline, number| {
        let mut archive = forked();
        let newest = Segment::nth(tli(timeline), number, size());
        archive.wal.note_segment(newest, at(7, 0));
        let choice = choose(&archive, &wish(Target::Latest)).unwrap();
        choice
            .warnings
            .iter()
            .any(|text| text.contains("archived last"))
    };
    // The first of a timeline begins before it does.
    assert!(!told(2, 4) && !told(2, 7) && !told(1, 3));
    assert!(told(1, 8));
}

#[test]
fn the_way_follows_the_history() {
    let on = |number, target| Wish {
        timeline: TimelineWish::Number(tli(number)),
        ..wish(target)
    };
    let current = |target| Wish {
        timeline: TimelineWish::Current,
        ..wish(target)
    };
    let archive = forked();
    let first = Wish {
        backup: Some(archive.backups[0].id),
        ..wish(Target::Latest)
    };
    let second = Wish {
        backup: Some(archive.backups[1].id),
        ..wish(Target::Latest)
    };
    cases(
        &archive,
        &[
            (wish(Target::Latest), "06h on 2 by 2:6-7"),
            // The fork's segment is read under the new name.
            (first.clone(), "02h on 2 by 1:2-3 2:4-7"),
            (wish(Target::Time(at(5, 0))), "02h on 2 by 1:2-3 2:4-7"),
            (
                wish(Target::Lsn(lsn("0/4700000"))),
                "02h on 2 by 1:2-3 2:4-7",
            ),
            // This backup ended behind the fork, so 2 doesn't descend from it.
            (second, "04h on 1 by 1:5-8"),
            (on(1, Target::Latest), "04h on 1 by 1:5-8"),
            (on(1, Target::Time(at(3, 0))), "02h on 1 by 1:2-8"),
            (
                on(3, Target::Latest),
                "refused: has nothing of timeline 3; it has 1, 2",
            ),
            (current(Target::Time(at(5, 0))), "04h on 1 by 1:5-8"),
            (current(Target::Latest), "06h on 2 by 2:6-7"),
        ],
    );
    let warned = choose(&archive, &first).unwrap();
    assert!(
        warned
            .warnings
            .iter()
            .any(|text| text.contains("--target-timeline 1")),
        "{warned:?}"
    );
    let wrong = Wish {
        backup: Some(archive.backups[1].id),
        ..on(2, Target::Latest)
    };
    cases(&archive, &[(wrong, "refused: not part of timeline 2")]);
    // The segment of the fork is there under the old name only.
    let mut lost = forked();
    lost.wal = WalIndex::new(size());
    for (timeline, number) in [(1, 2), (1, 3), (1, 4), (2, 5), (2, 6)] {
        lost.wal.add(Segment::nth(tli(timeline), number, size()));
    }
    cases(
        &lost,
        &[(
            first,
            "refused: WAL segment 000000020000000000000004 is missing, and later WAL is there",
        )],
    );
}

#[test]
fn a_fork_on_a_border_needs_no_segment_twice() {
    let backups = vec![backup(2, 1, "0/2000028", "0/3000100")];
    let archive = archive(
        backups,
        &[(1, 2, 3), (2, 4, 5)],
        &[(2, "1\t0/4000000\tx\n")],
    );
    cases(
        &archive,
        &[(wish(Target::Latest), "02h on 2 by 1:2-3 2:4-5")],
    );
}

/// The file of timeline `number` is damaged, or missing.
fn lose_history(archive: &mut Archive, number: u32, damage: Option<&str>) {
    let timeline = tli(number);
    archive.histories.remove(&timeline);
    let rootless = Rootless {
        timeline,
        file: format!("/repository/{number:08X}.history"),
        damage: damage.map(str::to_owned),
    };
    archive.rootless.insert(timeline, rootless);
}

#[test]
fn a_history_that_is_lost_never_leads_to_an_older_timeline_in_silence() {
    let on = |number| Wish {
        timeline: TimelineWish::Number(tli(number)),
        ..wish(Target::Latest)
    };
    let of = |archive: &Archive, number: usize| Wish {
        backup: Some(archive.backups[number].id),
        ..wish(Target::Latest)
    };
    for damage in [Some("cut off"), None] {
        let mut archive = forked();
        lose_history(&mut archive, 2, damage);
        cases(
            &archive,
            &[
                (
                    of(&archive, 0),
                    "refused: whether timeline 2 leads on from backup",
                ),
                (on(1), "04h on 1 by 1:5-8"),
            ],
        );
        let refused = choose(&archive, &of(&archive, 0)).unwrap_err();
        assert!(refused.message().contains("00000002.history is"));
        let hint = refused.hint_text().unwrap();
        assert!(hint.contains("pg_wal") && hint.contains("--target-timeline"));
        // The server asks for the file of the timeline that it is told, whichever backup it has.
        let (own, unnamed) = match damage {
            Some(_) => (
                "refused: whether timeline 2 leads on from backup",
                "refused: timeline 2 is the newest, and what leads to it is not known",
            ),
            None => {
                let refused = "refused: no server recovers along timeline 2 without its history";
                (refused, refused)
            }
        };
        cases(
            &archive,
            &[(of(&archive, 2), own), (wish(Target::Latest), unnamed)],
        );
        // Without a backup on it, nothing leads there.
        archive.backups.pop();
        let asked = match damage {
            Some(_) => "refused: what leads to timeline 2 is not known",
            None => "refused: no backup is known to lead to timeline 2",
        };
        cases(&archive, &[(on(2), asked)]);
        assert!(chosen(&archive, &wish(Target::Latest)).starts_with("refused"));
        // A newer one tells its whole way.
        let third = TimelineHistory::parse(tli(3), b"1\t0/4800000\tx\n2\t0/6800000\ty\n");
        archive.histories.insert(tli(3), third.unwrap());
        archive.wal.add(Segment::nth(tli(3), 6, size()));
        cases(
            &archive,
            &[(wish(Target::Latest), "02h on 3 by 1:2-3 2:4-5 3:6-6")],
        );
        let warnings = choose(&archive, &wish(Target::Latest)).unwrap().warnings;
        assert_eq!(
            warnings.iter().any(|one| one.contains("doesn't need it")),
            damage.is_some()
        );
    }
}

#[test]
fn a_stray_history_leads_nowhere() {
    // 3 comes from a timeline on which no backup lies.
    let mut archive = plain();
    let stray = TimelineHistory::parse(tli(3), b"1\t0/1000000\tx\n").unwrap();
    archive.histories.insert(tli(3), stray);
    archive.wal.add(Segment::nth(tli(3), 1, size()));
    cases(
        &archive,
        &[(
            wish(Target::Latest),
            "refused: no backup lies on the way to timeline 3",
        )],
    );
    let named = Wish {
        backup: Some(archive.backups[0].id),
        ..wish(Target::Latest)
    };
    cases(&archive, &[(named, "04h on 1 by 1:5-8")]);
}

#[test]
fn right_after_a_promotion_the_end_is_the_parents() {
    let backups = vec![backup(2, 1, "0/2000028", "0/3000100")];
    let history = [(2, "1\t0/5000100\tno recovery target specified\n")];
    let mut promoted = archive(backups.clone(), &[(1, 2, 4)], &history);
    cases(&promoted, &[(wish(Target::Latest), "02h on 1 by 1:2-4")]);
    promoted.wal = partial_wal(&[(1, 2, 4)], 5);
    cases(
        &promoted,
        &[
            (wish(Target::Latest), "02h on 1 by 1:2-5 partial"),
            (
                wish(Target::Lsn(lsn("0/5000090"))),
                "02h on 1 by 1:2-5 partial",
            ),
            (
                wish(Target::Lsn(lsn("0/4000090"))),
                "02h on 1 by 1:2-5 partial",
            ),
        ],
    );
    // Where the parent goes on, it is for the operator to say.
    let both = archive(backups, &[(1, 2, 6)], &history);
    cases(
        &both,
        &[(wish(Target::Latest), "refused: --target-timeline")],
    );
}

/// What damaged WAL means, by the windows: another timeline's is no loss to this one.
#[test]
fn consequences_are_told_by_timeline() {
    let segment = |timeline, number| Missing {
        timeline: tli(timeline),
        first: number,
        last: number,
    };
    let told = |archive: &Archive, damaged: &[Missing]| {
        let told = archive.consequences(&archive.backups[0], damaged);
        let id = archive.backups[0].id.to_string();
        let told: Vec<String> = told
            .iter()
            .map(|line| line.replacen(&id, "it", 1))
            .collect();
        told.join("; ")
    };
    let before = |number, timeline| {
        let name = Segment::nth(tli(if number < 5 { 1 } else { timeline }), number, size());
        format!(
            "it can be restored to any moment before {name} on timeline {timeline}, and to none after it"
        )
    };
    let one = |stop, standalone| Backup {
        standalone,
        ..backup(2, 1, "0/2000028", stop)
    };
    let fork = [(2, "1\t0/5000148")];
    let two = archive(
        vec![one("0/3000100", false)],
        &[(1, 2, 5), (2, 5, 8)],
        &fork,
    );
    let none = "it can't be restored at all: it needs 000000010000000000000003";
    assert_eq!(told(&two, &[]), "");
    assert_eq!(told(&two, &[segment(1, 3)]), none);
    assert_eq!(
        told(&two, &[segment(1, 4)]),
        before(4, 1).replace("timeline 1", "timelines 1, 2")
    );
    assert_eq!(told(&two, &[segment(1, 5)]), before(5, 1));
    assert_eq!(told(&two, &[segment(2, 8)]), before(8, 2));
    assert_eq!(told(&two, &[segment(2, 6), segment(1, 9)]), before(6, 2));
    let all_of_two: Vec<Missing> = (5..=8).map(|number| segment(2, number)).collect();
    let gone = "it can't be restored to any moment on timeline 2: its first WAL is damaged";
    assert_eq!(told(&two, &all_of_two), gone);

    // A segment far ahead on the timeline that was left.
    let stray = [(1, 2, 5), (2, 5, 8), (1, 99, 99)];
    let stray = archive(vec![one("0/3000100", false)], &stray, &fork);
    assert_eq!(told(&stray, &[]), before(6, 1));
    let alone = archive(vec![one("0/3000100", true)], &[(1, 2, 6)], &[]);
    assert_eq!(told(&alone, &[segment(1, 3)]), "");
    assert_eq!(told(&alone, &[segment(1, 4)]), before(4, 1));
}
