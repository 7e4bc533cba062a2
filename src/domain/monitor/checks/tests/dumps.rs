//! Dumps: their age, what they are of, and what `verify` found.

use super::*;

#[test]
fn dumps_that_were_tried_out_are_judged() {
    use State::{Critical, Warning};
    let told = |words: &[(&str, i64, bool)]| {
        bad(|facts| {
            for (hour, ago, good) in words {
                let name = format!("\"shop/main_shop_20261121T{hour}0000Z_daily\"");
                let dump: DumpName = serde_json::from_str(&name).unwrap();
                let word = VerifiedDump {
                    dump: dump.clone(),
                    good: *good,
                    findings: u64::from(!good),
                    server: Some("h".to_owned()),
                    server_version: None,
                    checks: Vec::new(),
                };
                held(facts)
                    .archive
                    .verdicts
                    .dumps
                    .insert(dump, (at(12 - ago), word));
            }
        })
    };
    assert_eq!(told(&[]), []);
    assert_eq!(told(&[("01", 1, true)]), []);
    let check = "dump_verification";
    assert_eq!(told(&[("01", 201, true)]), [(check, Warning)]);
    assert_eq!(told(&[("01", 401, true)]), [(check, Critical)]);
    assert_eq!(
        told(&[("01", 2, false), ("02", 1, true)]),
        [(check, Warning)]
    );
    assert_eq!(
        told(&[("01", 2, true), ("02", 1, false)]),
        [(check, Critical)]
    );
}

/// The newest one of a database, or of the globals, which is not made by hand.
fn dump(name: &str, hours: i64) -> NewestDump {
    NewestDump {
        subject: match name {
            "" => Subject::Globals,
            name => Subject::Database(name.to_owned()),
        },
        is_regular: true,
        good: Some(GoodDump {
            class: Class::Daily,
            time: at(12 - hours),
            stored_bytes: 1,
            proven: None,
        }),
    }
}

#[test]
fn dumps_are_missed_of_what_the_settings_ask_for() {
    use State::{Critical, Ok, Warning};
    let told = |facts: &Facts, names: &[&str], exclude: &[&str], globals| {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let choice = Choice {
            names: texts(names),
            exclude: texts(exclude),
        };
        let wanted = Wanted {
            spoken_of: true,
            choice,
            globals,
        };
        let verdicts = judged_by(facts, &wanted).into_iter();
        let of_dumps = verdicts.filter(|one| one.check == "dump_age");
        let told: Vec<(String, State)> = of_dumps
            .map(|one| (one.object.unwrap_or_default(), one.state))
            .collect();
        told
    };
    let about = |name: &str, state| (name.to_owned(), state);
    let mut facts = healthy();
    facts.repositories[0].dumps = Result::Ok(vec![dump("shop", 1), dump("", 99)]);
    let globals = about("@globals", Critical);
    // Named and not there, whatever became of the others.
    let named = told(&facts, &["shop", "blog", "Blog"], &[], true);
    let missed = [
        about("Blog", Warning),
        about("blog", Critical),
        about("shop", Ok),
        globals.clone(),
    ];
    assert_eq!(named, missed);
    // Of a new one the next run may be the first; without a note nobody knows since when it is there.
    let all = |facts: &Facts| told(facts, &[], &[], true);
    assert_eq!(all(&facts)[0], about("blog", Ok));
    for (hours, state) in [(25, Ok), (26, Warning), (50, Critical)] {
        let mut arrivals = Arrivals::default();
        let _ = arrivals.update(["blog".to_owned()], at(12 - hours));
        facts.arrivals = arrivals;
        assert_eq!(all(&facts)[0], about("blog", state), "{hours}");
    }
    facts.server.as_mut().unwrap().dumpable.pop();
    let well = [about("shop", Ok), globals.clone()];
    assert_eq!(all(&facts), well);
    assert_eq!(told(&facts, &[], &["bl*"], true), well);
    // What is left out isn't missed, how old its dumps may be.
    let old = vec![dump("shop", 99), dump("blog", 1), dump("", 99)];
    facts.repositories[0].dumps = Result::Ok(old);
    let both = |shop| [about("blog", Ok), about("shop", shop), globals.clone()];
    assert_eq!(told(&facts, &["blog"], &[], true), both(Ok));
    assert_eq!(told(&facts, &[], &["shop"], true), both(Ok));
    assert_eq!(told(&facts, &["blog", "sh?p"], &[], true), both(Critical));
    assert_eq!(told(&facts, &[], &[], false)[2], about("@globals", Ok));
    // A dump by hand is one, too, where one is asked for.
    let dumps = facts.repositories[0].dumps.as_mut().unwrap();
    dumps[0] = NewestDump {
        is_regular: false,
        ..dump("shop", 2)
    };
    assert_eq!(told(&facts, &["blog", "shop"], &[], true)[1].1, Ok);
    assert_eq!(told(&facts, &["blog"], &[], true).len(), 2);
}

#[test]
fn dumps_are_missed_where_they_are_made() {
    use State::{Critical, Ok, Unknown, Warning};
    let told = |facts: &Facts, wanted: bool| -> Vec<(Option<String>, State)> {
        let verdicts = judged_where(facts, wanted).into_iter();
        let of_dumps = verdicts.filter(|one| one.check == "dump_age");
        of_dumps.map(|one| (one.object, one.state)).collect()
    };
    let mut facts = healthy();
    assert_eq!(told(&facts, false), [(None, Ok)]);
    assert_eq!(told(&facts, true), [(None, Critical)]);
    // One database is dumped no more, another one was dropped.
    facts.repositories[0].dumps = Result::Ok(vec![
        dump("shop", 1),
        dump("blog", 27),
        dump("gone", 999),
        dump("", 51),
    ]);
    let about = |name: &str, state| (Some(name.to_owned()), state);
    let both = [
        about("blog", Warning),
        about("shop", Ok),
        about("@globals", Critical),
    ];
    assert_eq!(told(&facts, false), both);
    // Of several repositories the newest dump counts.
    facts.repositories.push(Holding {
        name: "offsite".to_owned(),
        place: "/offsite".to_owned(),
        stored: Result::Ok(stored(&[backup(10)])),
        dumps: Result::Ok(vec![dump("blog", 2)]),
        lost_dumps: BTreeMap::new(),
    });
    assert_eq!(told(&facts, false)[0], about("blog", Ok));
    // One of tomorrow hides no other, and is never ok.
    facts.repositories[1].dumps = Result::Ok(vec![dump("blog", -48)]);
    assert_eq!(told(&facts, false)[0], about("blog", Warning));
    let by_wrong_clock = |facts: &mut Facts, hours| {
        facts.repositories[0].dumps.as_mut().unwrap()[1] = dump("blog", hours);
    };
    by_wrong_clock(&mut facts, -48);
    assert_eq!(told(&facts, false)[0], about("blog", Unknown));
    by_wrong_clock(&mut facts, 27);
    facts.repositories[1].dumps = Result::Ok(vec![dump("blog", 2)]);
    // Where not one is good, or is but was made by hand.
    let dumps = facts.repositories[1].dumps.as_mut().unwrap();
    dumps[0].good = None;
    assert_eq!(told(&facts, false)[0], about("blog", Warning));
    let first = facts.repositories[0].dumps.as_mut().unwrap();
    first[1].is_regular = false;
    assert_eq!(told(&facts, false)[0], about("blog", Critical));
    // Nobody can say whether a database that can't be asked for was dropped.
    facts.server = Err(Error::failed("no"));
    assert_eq!(told(&facts, false).len(), 4);
    facts.repositories[1].dumps = Err(Error::failed("no"));
    assert_eq!(told(&facts, false), [(None, Unknown)]);
}

#[test]
fn base_backups_are_not_missed_where_dumps_are_all_that_is_made() {
    let only_dumps = || {
        let mut facts = facts(Ok(server()), Ok(stored(&[])));
        held(&mut facts).archive.wal = WalIndex::new(size());
        let archiving = &mut facts.server.as_mut().unwrap().facts.server.archiving;
        archiving.mode = "off".to_owned();
        facts
    };
    let told = |facts: &Facts| -> Vec<&'static str> {
        let verdicts = judged_where(facts, true).into_iter();
        let bad = verdicts.filter(|one| one.state != State::Ok);
        bad.map(|one| one.check).collect()
    };
    assert_eq!(told(&only_dumps()), ["dump_age"]);
    // A server that is away says nothing of base backups.
    let mut away = only_dumps();
    away.server = Err(Error::failed("no"));
    assert!(!told(&away).contains(&"backup_age"));
    let missed = |change: &dyn Fn(&mut Facts)| {
        let mut facts = only_dumps();
        change(&mut facts);
        let told = told(&facts);
        told.contains(&"backup_age") && told.contains(&"archive_mode")
    };
    // There are none, but there once were or soon will be.
    let wal = |facts: &mut Facts| held(facts).archive.wal.add(Segment::nth(tli(1), 1, size()));
    assert!(missed(&wal));
    assert!(missed(&|facts| held(facts).pending = vec![backup(1)]));
    assert!(missed(&|facts| {
        let failed = run("base", RunState::Failed, Told::default());
        facts.runs = Ok(vec![failed]);
    }));
    let timer = |facts: &mut Facts, active: &str| {
        facts.timers = Ok(Some(vec![Timer {
            name: "pgstow-incremental@main.timer".to_owned(),
            enabled: "enabled".to_owned(),
            active: active.to_owned(),
            last: None,
            next: None,
        }]));
    };
    assert!(missed(&|facts| timer(facts, "active")));
    let mut disabled = only_dumps();
    timer(&mut disabled, "inactive");
    assert_eq!(told(&disabled), ["dump_age"]);
    let mut archives = only_dumps();
    let archiving = &mut archives.server.as_mut().unwrap().facts.server.archiving;
    archiving.mode = "on".to_owned();
    assert!(told(&archives).contains(&"backup_age"));
    // Nobody speaks of dumps.
    let verdicts = judged(&only_dumps());
    assert_eq!(worst(&verdicts), State::Critical);
}
