//! The independent writer that knows the truth: it commits numbered rows, one after the other on
//! one connection, and notes for each where and when that was. So a test can say which rows a
//! restore to a time, an LSN or a transaction must have, without asking pgstow.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pgstow::postgres::lsn::Lsn;
use tokio_postgres::{Client, NoTls};

use super::{Cluster, cluster::SUPERUSER};

/// Between two commits, so that the witness does not crowd out what is tested.
const PAUSE: Duration = Duration::from_millis(3);

pub struct Witness {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    truth: Mutex<Truth>,
}

/// One committed row. LSNs are insert positions, times are the server's.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    pub number: u64,
    pub xid: u64,
    /// Before the transaction wrote anything.
    pub begin_lsn: Lsn,
    /// After the row was written, before the commit record.
    pub before_lsn: Lsn,
    /// Behind the commit record.
    pub after_lsn: Lsn,
    /// In microseconds since 1970; the commit record's own time is between the two.
    pub before_time: i64,
    pub after_time: i64,
}

#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub commits: Vec<Commit>,
    /// A row was on its way when the connection broke: it may be committed or not.
    pub in_flight: bool,
}

/// Rows 1 to `surely` must be there; up to `perhaps` they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub surely: u64,
    pub perhaps: u64,
}

impl Witness {
    /// Makes the table `name` and starts to write.
    pub fn start(cluster: &Cluster, name: &str) -> Self {
        cluster.psql(&format!("create table {name} (number bigint primary key)"));
        Self::go_on(cluster, name)
    }

    /// Goes on with a table that is there, as after a restore.
    pub fn go_on(cluster: &Cluster, name: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            host: cluster.host().to_owned(),
            port: cluster.port(),
            table: name.to_owned(),
            first: rows(cluster, name) + 1,
            shared: Arc::clone(&shared),
        };
        let writer = thread::spawn(move || writer.run());
        Self {
            shared,
            writer: Some(writer),
        }
    }

    /// Waits for `count` more commits.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        let limit = Instant::now() + Duration::from_secs(60);
        let wanted = self.seen() + count;
        while self.seen() < wanted {
            assert!(Instant::now() < limit, "the witness does not get on");
            thread::sleep(PAUSE);
        }
    }

    fn seen(&self) -> usize {
        self.shared.truth.lock().unwrap().commits.len()
    }

    /// Ends after the row at hand.
    pub fn stop(mut self) -> Truth {
        self.end();
        self.shared.truth.lock().unwrap().clone()
    }

    /// Ends because the server has ended, with a row on its way.
    pub fn outlive(mut self) -> Truth {
        self.join();
        self.shared.truth.lock().unwrap().clone()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join();
    }

    fn join(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.join().expect("the witness");
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.end();
        }
    }
}

/// The number of rows in the witness's table `name`, which must be 1, 2, 3 ... without holes.
#[track_caller]
pub fn rows(cluster: &Cluster, name: &str) -> u64 {
    let answer = cluster.psql(&format!(
        "select count(*), coalesce(min(number), 1), coalesce(max(number), 0) from {name}"
    ));
    let numbers: Vec<u64> = answer.split('|').map(|n| n.parse().unwrap()).collect();
    let [count, first, last] = numbers[..] else {
        panic!("{answer}")
    };
    assert_eq!((first, last), (1, count), "rows are missing within {name}");
    count
}

impl Truth {
    /// What a restore to `time` (microseconds since 1970) holds: commits at or before it.
    pub fn at_time(&self, time: i64) -> Expected {
        self.expected(|c| c.after_time <= time, |c| c.before_time <= time)
    }

    /// What a restore to `lsn` holds: recovery goes on to the first record that begins at or
    /// behind it, and with that one (recoveryStopsAfter in xlogrecovery.c).
    pub fn at_lsn(&self, lsn: Lsn) -> Expected {
        // A row's own record precedes its commit: if even that begins behind, the commit is out.
        self.expected(|c| c.after_lsn <= lsn, |c| c.begin_lsn < lsn)
    }

    /// What a restore to just before `lsn` holds (recoveryStopsBefore).
    pub fn before_lsn(&self, lsn: Lsn) -> Expected {
        self.expected(|c| c.after_lsn <= lsn, |c| c.before_lsn < lsn)
    }

    /// What a restore to the transaction `xid` of this witness holds.
    pub fn at_xid(&self, xid: u64) -> Expected {
        self.expected(|c| c.xid <= xid, |c| c.xid <= xid)
    }

    /// What a restore to the end of the WAL holds.
    pub fn at_end(&self) -> Expected {
        let mut expected = self.expected(|_| true, |_| true);
        expected.perhaps += u64::from(self.in_flight);
        expected
    }

    fn expected(
        &self,
        surely: impl Fn(&Commit) -> bool,
        perhaps: impl Fn(&Commit) -> bool,
    ) -> Expected {
        let before = self.commits.first().map_or(0, |first| first.number - 1);
        let last = |holds: &dyn Fn(&Commit) -> bool| {
            let held = self.commits.iter().take_while(|commit| holds(commit));
            before + held.count() as u64
        };
        Expected {
            surely: last(&surely),
            perhaps: last(&perhaps),
        }
    }
}

impl Expected {
    /// `found` is a number of rows that [`rows`] counted.
    #[track_caller]
    pub fn check(self, found: u64) {
        assert!(
            (self.surely..=self.perhaps).contains(&found),
            "{found} rows, not {self:?}"
        );
    }
}

struct Writer {
    host: PathBuf,
    port: u16,
    table: String,
    first: u64,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::Config::new()
                .host_path(&self.host)
                .port(self.port)
                .user(SUPERUSER)
                .dbname("postgres")
                .connect(NoTls)
                .await
                .expect("the witness connects");
            // The connection's end shows as an error of the client.
            runtime.spawn(connection);
            for number in self.first.. {
                if self.shared.stop.load(Ordering::Relaxed) {
                    return;
                }
                let outcome = self.commit(&client, number).await;
                if !self.note(outcome) {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// Whether it goes on.
    fn note(&self, outcome: Result<Commit, tokio_postgres::Error>) -> bool {
        let mut truth = self.shared.truth.lock().unwrap();
        truth.in_flight = outcome.is_err();
        truth.commits.extend(outcome.ok());
        !truth.in_flight
    }

    async fn commit(&self, client: &Client, number: u64) -> Result<Commit, tokio_postgres::Error> {
        const HERE: &str = "(pg_current_wal_insert_lsn() - '0/0')::text";
        const NOW: &str = "(extract(epoch from clock_timestamp()) * 1000000)::bigint::text";
        let table = &self.table;
        let begin = ask(client, &format!("begin; select {HERE}")).await?;
        let before = ask(
            client,
            &format!(
                "insert into {table} values ({number});
                 select {HERE}, {NOW}, pg_current_xact_id()::text"
            ),
        )
        .await?;
        let after = ask(client, &format!("commit; select {HERE}, {NOW}")).await?;
        Ok(Commit {
            number,
            xid: before[2] as u64,
            begin_lsn: Lsn(begin[0] as u64),
            before_lsn: Lsn(before[0] as u64),
            after_lsn: Lsn(after[0] as u64),
            before_time: before[1],
            after_time: after[1],
        })
    }
}

/// The numbers in the one row that `sql` returns.
async fn ask(client: &Client, sql: &str) -> Result<Vec<i64>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let row = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.expect("a row");
    let numbers = (0..row.len()).map(|column| row.get(column).unwrap().parse().unwrap());
    Ok(numbers.collect())
}
