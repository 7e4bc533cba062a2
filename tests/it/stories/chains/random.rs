//! Steps in an order that nobody thought of, between the backups of chains of 1 to 5: the long form of
//! all other stories together.

use super::{Chain, Kind, plain, summarizing};
use crate::harness::{
    Cluster, Load, Shutdown,
    random::{Random, rounds},
};

/// `$` is a number that is used once, `#` one of 1 to 4. A database's name in front.
const STEPS: [&str; 30] = [
    "postgres: insert into t_# select n, repeat('i$', 40) from generate_series(1, 2000) n",
    "postgres: update t_# set text = 'u$' where n % 90 = # * 7",
    "postgres: update t_# set text = repeat('w$', 900) where n % 400 = #",
    "postgres: delete from t_# where n > 1500 - # * 100",
    "postgres: truncate t_#",
    "postgres: begin; truncate t_#; insert into t_# values (1, 'same transaction'); commit",
    "postgres: vacuum t_#",
    "postgres: vacuum (freeze) t_#",
    "postgres: vacuum full t_#",
    "postgres: cluster t_# using t_#_n_idx",
    "postgres: reindex table t_#",
    "postgres: create index on t_# using hash (text)",
    "postgres: create index on t_# using gin (string_to_array(text, 'u'))",
    "postgres: create index on t_# using brin (n)",
    "postgres: create index on t_# using gist (point(n, n))",
    "postgres: create index on t_# using spgist (text)",
    "postgres: drop table if exists brief_#",
    "postgres: create table if not exists brief_# as select n, $ as made from generate_series(1, 3000) n",
    "postgres: alter table t_# set tablespace far",
    "postgres: alter table t_# set tablespace pg_default",
    "postgres: create unlogged table if not exists fleeting_# as select 1 as n",
    "postgres: alter table if exists fleeting_# set logged",
    "postgres: select nextval('counter') from generate_series(1, 40)",
    "postgres: drop database if exists copied_#",
    "postgres: create database copied_# oid 10000# template original strategy file_copy",
    "postgres: create database copied_# oid 10000# template original strategy wal_log",
    "postgres: alter database copied_# set tablespace far",
    "original: insert into t select n, 'o$' from generate_series(1, 700) n",
    "original: update t set text = 'p$' where n % 50 = #; vacuum t",
    "postgres: checkpoint",
];

/// In the long form a chain on each kind of server; else a short one on any of them.
#[test]
fn chains_of_random_steps_come_back() {
    let mut random = Random::new("chains_of_random_steps_come_back");
    let plain = [15, 16, 17, 18].map(plain);
    let mut kinds = [&plain[..], &[17, 18].map(summarizing)].concat();
    let first = random.below(kinds.len() as u64);
    kinds.rotate_left(first as usize);
    for kind in &kinds[..rounds(1, kinds.len() as u64) as usize] {
        let length = rounds(1, 1 + random.below(5));
        tell(kind.clone(), length, &mut random);
    }
}

fn tell(kind: Kind, length: u64, random: &mut Random) {
    let checksums = random.below(3) > 0;
    println!(
        "{}, summaries: {}, checksums: {checksums}, a chain of {length}",
        kind.pg, kind.summaries
    );
    let mut chain = Chain::build(kind, |stow| {
        stow.cluster(|cluster| match checksums {
            true => cluster,
            false => cluster.no_checksums(),
        })
    });
    let place = chain.site.scratch.folder("far").display().to_string();
    chain.sql(&format!("create tablespace far location '{place}'"));
    chain.sql("create sequence counter; create database original");
    chain.sql_in("original", "create table t (n int, text text)");
    for number in 1..=4 {
        chain.sql(&format!(
            "create table t_{number} as select n, repeat('t', 100) as text from generate_series(1, 4000) n;
             create index on t_{number} (n); create index on t_{number} (text)"
        ));
    }
    let steps = rounds(10, 40);
    for _ in 0..steps / 2 {
        step(chain.site.main(), random);
    }
    pause(random);
    chain.full();
    for _ in 0..length {
        let load = (rounds(0, random.below(2)) > 0).then(|| Load::start(chain.site.main(), 1, 100));
        for _ in 0..steps {
            step(chain.site.main(), random);
        }
        match random.below(6) {
            0 => chain.site.stow.cluster.restart(),
            1 => {
                chain.site.stow.cluster.stop(Shutdown::Kill);
                chain.site.stow.cluster.start();
            }
            _ => {}
        }
        pause(random);
        let backup = chain.site.stow.backup(&["--incremental"]);
        assert_eq!(backup.json()["parent"], chain.newest().id());
        if let Some(load) = load {
            load.stop(chain.site.main());
        }
        chain.note(backup);
    }
    chain.prove();
}

/// Files whose times are near to a backup's start are judged in other ways than older ones.
fn pause(random: &mut Random) {
    if random.below(2) > 0 {
        std::thread::sleep(std::time::Duration::from_millis(2500));
    }
}

/// What can't be done in the state of things, such as dropping what is not there, is left out.
fn step(main: &Cluster, random: &mut Random) {
    let step = STEPS[random.below(STEPS.len() as u64) as usize];
    let (number, table) = (random.below(1_000_000), 1 + random.below(4));
    let step = step
        .replace('$', &number.to_string())
        .replace('#', &table.to_string());
    let (database, sql) = step.split_once(": ").unwrap();
    let done = match sql.starts_with("begin") {
        true => main.try_psql(database, sql).map(drop),
        false => sql
            .split(';')
            .try_for_each(|sql| main.try_psql(database, sql).map(drop)),
    };
    println!(
        "{step}{}",
        if done.is_ok() { "" } else { " (not possible)" }
    );
}
