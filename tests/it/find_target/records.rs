//! What records say is what pg_waldump of the server's version shows of them: of each one, whatever it is.

use std::{collections::BTreeMap, fs, path::Path};

use chrono::NaiveDateTime;
use pgstow::postgres::{
    lsn::TimelineId,
    relation_file::{Fork, RelationPath},
    version::Major,
    wal_event::{Dropped, Ended, Happened, Row, WalEvent},
    wal_joint::Joint,
    wal_records::WalRecords,
    wal_summary::Locator,
};

use crate::{
    harness::{PgBin, Scratch, Shutdown, Stow, on_every_major, user},
    verify::{put, records::stored},
};

on_every_major!(records_say_what_pg_waldump_shows);

const DEEDS: &str = "
    create table t (id serial primary key, body text, small text);
    create unlogged table passing (id int primary key);
    insert into t (body) select repeat(md5(g::text), 40) from generate_series(1, 3000) g;
    insert into passing select 1;
    update t set body = 'x' where id % 3 = 0;
    delete from t where id % 5 = 0;
    do $$ begin for n in 1..50 loop
        begin
            insert into t (body) values (n);
            if n % 2 = 0 then perform 1 / 0; end if;
        exception when division_by_zero then null; end;
    end loop; end $$;
    begin; delete from t where id < 100; savepoint a; drop table passing; rollback to a;
    create table gone (x text); drop table gone; rollback;
    begin; delete from t where id = 7; create table prepared as select 1 as n; prepare transaction 'one';
    begin; savepoint a; delete from t where id = 8; drop table passing; prepare transaction 'two';
    commit prepared 'two';
    rollback prepared 'one';
    select pg_create_restore_point('before, the \"fall\"');
    create index on t using gin (to_tsvector('simple', body));
    create index on t using brin (id);
    create index on t using hash (id);
    set wal_compression = pglz; checkpoint;
    update t set small = md5(body) where id % 2 = 0;
    vacuum full t;
    create table other (like t including all); insert into other table t; cluster other using other_pkey;
    alter table other alter id type bigint;
    begin; truncate t, other; savepoint a; truncate t; commit;
    create tablespace elsewhere location '';
    alter table other set tablespace elsewhere; drop table other;
    create database market; drop database market;
    create database copied strategy file_copy; drop database copied;
    select pg_logical_emit_message(false, 'test', repeat('large', 500000));
    create sequence numbers; select nextval('numbers'); drop sequence numbers;
    insert into t (body) select g from generate_series(1, 20000) g; vacuum t; analyze;
    checkpoint;";

fn records_say_what_pg_waldump_shows(pg: PgBin) {
    let scratch = Scratch::new();
    let mut stow = Stow::build(&scratch, pg)
        .compression("none")
        .cluster(|cluster| {
            let cluster = cluster.initdb("--wal-segsize=1");
            let cluster = cluster.conf("max_prepared_transactions", "4");
            cluster.conf("allow_in_place_tablespaces", "on")
        })
        .start();
    let script = scratch.join("deeds.sql");
    fs::write(&script, DEEDS).unwrap();
    user::own(&script);
    let options = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f"];
    let mut psql = stow.cluster.client("psql");
    user::run_ok(psql.args(options).arg(&script));
    stow.cluster.switch_wal();
    // On a timeline of its own, by a promotion and a crash.
    stow.cluster.stop(Shutdown::Fast);
    put(&stow.cluster.data_dir().join("standby.signal"), b"");
    stow.cluster.start();
    stow.cluster.promote();
    stow.cluster.psql("delete from t where id % 2 = 0");
    stow.cluster.switch_wal();
    stow.cluster.stop(Shutdown::Immediate);

    let segments = stored(&stow);
    let folder = scratch.folder("wal");
    for (name, bytes) in &segments {
        put(&folder.join(name), bytes);
    }
    let mut kinds = BTreeMap::new();
    for timeline in [1, 2] {
        let of = |name: &&String| name.starts_with(&format!("{timeline:08X}"));
        let names: Vec<&String> = segments.keys().filter(of).collect();
        let shown = shown(&stow.cluster.pg, &folder, &names);
        let parts = names.iter().map(|name| &segments[*name][..]);
        let said = said(&stow.cluster.pg, timeline, parts);
        for (said, (shown, line)) in said.iter().zip(&shown) {
            assert_eq!(said, shown, "{line}");
        }
        assert_eq!(said.len(), shown.len());
        for one in said {
            let kind = format!("{:?}", one.happened);
            let kind = kind.split([' ', '(']).next().unwrap().to_owned();
            *kinds.entry(kind).or_insert(0) += 1;
        }
    }
    // Nothing was left out of what this is about.
    assert_eq!(kinds.len(), 13, "{kinds:?}");
}

fn said<'a>(pg: &PgBin, timeline: u32, segments: impl Iterator<Item = &'a [u8]>) -> Vec<WalEvent> {
    let major = Major::new(pg.major).unwrap();
    let timeline = TimelineId::new(timeline).unwrap();
    let (mut said, mut joint) = (Vec::new(), Joint::default());
    for bytes in segments {
        let mut own = Vec::new();
        let mut take = |lsn, record: &[u8]| own.push(WalEvent::read(lsn, record, major));
        let mut records = WalRecords::giving(timeline, &mut take);
        bytes.chunks(10_007).for_each(|piece| records.feed(piece));
        let mut followed = records.finish();
        assert_eq!(followed.broken, None);
        let before = joint.join(&mut followed).unwrap();
        said.extend(before.map(|(lsn, record)| WalEvent::read(lsn, &record, major)));
        said.append(&mut own);
    }
    said
}

/// Each with its line.
fn shown(pg: &PgBin, folder: &Path, names: &[&String]) -> Vec<(WalEvent, String)> {
    let mut command = pg.command("pg_waldump");
    command
        .arg("-p")
        .arg(folder)
        .args([names[0], names[names.len() - 1]])
        .env("TZ", "UTC");
    let output = command.output().unwrap().stdout;
    let output = String::from_utf8(output).unwrap();
    let lines = output.lines().filter(|line| line.starts_with("rmgr: "));
    lines.map(|line| (event(line), line.to_owned())).collect()
}

/// A line is laid out as XLogDumpDisplayRecord in `src/bin/pg_waldump/pg_waldump.c` does it. What stands behind `desc:`
/// is written by the files of `src/backend/access/rmgrdesc`.
fn event(line: &str) -> WalEvent {
    let (head, desc) = line.split_once(", desc: ").unwrap();
    let manager = head.split_whitespace().nth(1).unwrap();
    let (_, head) = head.split_once("tx: ").unwrap();
    let (xid, lsn) = head.split_once(", lsn: ").unwrap();
    let xid = xid.trim().parse().unwrap();
    let lsn = lsn.split_once(',').unwrap().0.parse().unwrap();
    let (op, rest) = desc.split_once(' ').unwrap_or((desc, ""));
    let happened = happened(manager, op, rest, xid);
    WalEvent {
        lsn,
        xid,
        happened: happened.unwrap_or(Happened::Other),
    }
}

fn happened(manager: &str, op: &str, rest: &str, xid: u32) -> Option<Happened> {
    let blocks = rest.split("blkref #").skip(1).map(block);
    let count = blocks.clone().count();
    let main = blocks.flatten().next();
    let wrote = main.map(|(relation, _)| Happened::Wrote(relation));
    let row = || {
        let (relation, block) = main?;
        // `off 7` up to 15, `off: 7` later.
        let offset = number(rest, "off ").or_else(|| number(rest, "off: "));
        Some(Row {
            relation,
            block,
            offset: offset?.try_into().unwrap(),
        })
    };
    match (manager, op.trim_end_matches("+INIT")) {
        ("Heap", "DELETE") => row().map(Happened::Deleted),
        ("Heap", "UPDATE" | "HOT_UPDATE") => row().map(Happened::Updated),
        ("Heap", "INPLACE") => row().map(Happened::InPlace),
        ("Transaction", "COMMIT" | "ABORT") => Some(ended(op, rest, xid)),
        ("Transaction", "PREPARE") => {
            let (name, _) = rest.strip_prefix("gid ")?.split_once(": ")?;
            Some(Happened::Prepared(name.to_owned()))
        }
        ("Transaction", "COMMIT_PREPARED" | "ABORT_PREPARED") => {
            let (xid, rest) = rest.split_once(": ").unwrap();
            Some(ended(op, rest, xid.parse().unwrap()))
        }
        ("Storage", "CREATE") => {
            let path = RelationPath::parse(rest.trim().as_bytes()).unwrap();
            let fork = path.file.fork;
            matches!(fork, Fork::Main | Fork::Init).then(|| Happened::Created {
                file: locator(rest.trim()),
                unlogged: fork == Fork::Init,
            })
        }
        ("Standby", "LOCK") => Some(Happened::Locked {
            database: number(rest, "db ").unwrap(),
            relation: number(rest, "rel ").unwrap(),
        }),
        ("XLOG", "RESTORE_POINT") => Some(Happened::RestorePoint(rest.to_owned())),
        ("XLOG", "CHECKPOINT_ONLINE" | "CHECKPOINT_SHUTDOWN" | "END_OF_RECOVERY") => {
            let timeline = number(rest, "tli ").and_then(TimelineId::new).unwrap();
            let before = number(rest, "prev tli ").and_then(TimelineId::new).unwrap();
            if timeline != before {
                let time = rest
                    .split_once("time ")
                    .and_then(|(_, time)| read_time(time));
                return Some(Happened::Promoted {
                    timeline,
                    before,
                    time,
                });
            }
            let oldest_running = number(rest, "oldest running xid ").filter(|xid| *xid > 0);
            (op != "END_OF_RECOVERY").then_some(Happened::Checkpoint { oldest_running })
        }
        ("XLOG", "FPI" | "FPI_FOR_HINT") => match main {
            Some((relation, 0)) if count == 1 => Some(Happened::FirstPage(relation)),
            _ => wrote,
        },
        _ => wrote,
    }
}

/// `0: rel 1663/5/16397 fork fsm blk 7 FPW`; None of another fork than the main one.
fn block(text: &str) -> Option<(Locator, u32)> {
    let (_, text) = text.split_once("rel ")?;
    let (relation, rest) = text.split_once(' ')?;
    let mut parts = relation.split('/').map(|part| part.parse().unwrap());
    let mut part = || parts.next().unwrap();
    let relation = Locator {
        tablespace: part(),
        database: part(),
        number: part(),
    };
    rest.starts_with("blk")
        .then(|| (relation, number(rest, "blk ").unwrap()))
}

fn ended(op: &str, rest: &str, xid: u32) -> Happened {
    let list = |title: &str| {
        let list = rest.split_once(title).map_or("", |(_, list)| list);
        let list = list.split(';').next().unwrap_or_default();
        list.split_whitespace()
    };
    let dropped = |word: &str| {
        let mut parts = word.split('/').map(|part| part.parse::<u64>().unwrap());
        let mut part = || parts.next().unwrap();
        match (part(), part() as u32, part() as u32) {
            (1, database, _) => Some(Dropped::Database(database)),
            (2, database, relation) => Some(Dropped::Relation { database, relation }),
            _ => None,
        }
    };
    Happened::Ended(Box::new(Ended {
        committed: op.starts_with("COMMIT"),
        prepared: op.ends_with("PREPARED"),
        xid,
        time: read_time(rest),
        parts: list("; subxacts:")
            .map(|xid| xid.parse().unwrap())
            .collect(),
        removed: list("; rels:").map(locator).collect(),
        dropped: list("; dropped stats:").filter_map(dropped).collect(),
    }))
}

/// The number behind the first `name`.
fn number(text: &str, name: &str) -> Option<u32> {
    let (_, rest) = text.split_once(name)?;
    let end = rest.find(|char: char| !char.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

/// `base/5/16384`, `global/1262`, `pg_tblspc/16390/PG_15_202209061/5/16391`.
fn locator(path: &str) -> Locator {
    let path = RelationPath::parse(path.as_bytes()).unwrap();
    let own = if path.database.is_some() { 1663 } else { 1664 };
    Locator {
        tablespace: path.tablespace.unwrap_or(own),
        database: path.database.unwrap_or(0),
        number: path.file.number,
    }
}

/// `2026-11-21 02:00:00.123456 UTC`, and whatever follows.
fn read_time(text: &str) -> Option<pgstow::util::clock::Time> {
    let (time, _) = text.split_once(" UTC")?;
    let time = NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S%.f").unwrap();
    Some(time.and_utc())
}
