//! The shop that the demo backs up: two tables, a customer who never stops, and a mistake.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::Serialize;

use crate::{
    error::{Error, Result},
    postgres::{connection::Session, conninfo::ConnInfo},
    util::cancel::Cancel,
};

pub const ACCOUNTS: u64 = 1000;
pub const ORDERS: u64 = 100_000;

/// Makes and fills the tables.
pub fn fill(session: &Session) -> Result<()> {
    for sql in [
        "CREATE TABLE public.accounts
         (id int PRIMARY KEY, name text NOT NULL, spent numeric(12, 2) NOT NULL DEFAULT 0)",
        "CREATE TABLE public.orders
         (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          account int NOT NULL REFERENCES public.accounts,
          item text NOT NULL,
          price numeric(8, 2) NOT NULL,
          placed timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp())",
    ] {
        session.execute(sql, &[])?;
    }
    session.execute(
        &format!(
            "INSERT INTO public.accounts SELECT n, 'customer ' || n
             FROM pg_catalog.generate_series(1, {ACCOUNTS}) AS n"
        ),
        &[],
    )?;
    session.execute(
        &format!(
            "INSERT INTO public.orders (account, item, price)
             SELECT 1 + n % {ACCOUNTS}, 'item ' || pg_catalog.md5(n::text), n % 500
             FROM pg_catalog.generate_series(1, {ORDERS}) AS n"
        ),
        &[],
    )?;
    Ok(())
}

/// Drops the orders, and works on.
pub fn make_mistake(session: &Session) -> Result<()> {
    session.execute("DROP TABLE public.orders", &[])?;
    session.execute(
        &format!(
            "INSERT INTO public.accounts SELECT n, 'came too late ' || n
             FROM pg_catalog.generate_series({ACCOUNTS} + 1, {ACCOUNTS} + 100) AS n"
        ),
        &[],
    )?;
    session.execute("UPDATE public.accounts SET spent = 0", &[])?;
    Ok(())
}

pub fn has_orders(session: &Session) -> Result<bool> {
    let sql = "SELECT pg_catalog.to_regclass('public.orders') IS NOT NULL";
    session.query_one(sql, &[])?.parse(0)
}

/// What a table holds: its number of rows, and a digest of all of them in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    pub rows: u64,
    pub md5: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contents {
    pub accounts: Table,
    pub orders: Table,
}

impl Contents {
    pub fn read(session: &Session) -> Result<Self> {
        let read = |table| {
            let row = session.query_one(
                &format!(
                    "SELECT pg_catalog.count(*),
                     pg_catalog.md5(pg_catalog.string_agg(t::text, ',' ORDER BY t.id))
                     FROM public.{table} AS t"
                ),
                &[],
            )?;
            Ok::<_, Error>(Table {
                rows: row.parse(0)?,
                md5: row.text(1)?,
            })
        };
        Ok(Self {
            accounts: read("accounts")?,
            orders: read("orders")?,
        })
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accounts, orders } = self;
        write!(
            f,
            "{} accounts ({}) and {} orders ({})",
            accounts.rows, accounts.md5, orders.rows, orders.md5
        )
    }
}

/// A customer in a session of its own: places an order every few milliseconds until dropped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    placed: Arc<AtomicU64>,
    cancel: Cancel,
    thread: Option<JoinHandle<Result<()>>>,
}

/// One transaction.
const ORDER: &str = "WITH ordered AS
    (INSERT INTO public.orders (account, item, price)
     VALUES ($1::int, 'item', 9.99) RETURNING account, price)
    UPDATE public.accounts SET spent = spent + price FROM ordered WHERE id = account";

impl Writer {
    pub fn start(info: &ConnInfo, cancel: &Cancel) -> Result<Self> {
        let session = Session::connect(info, cancel)?;
        let stop = Arc::new(AtomicBool::new(false));
        let placed = Arc::new(AtomicU64::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&placed));
        let place_orders = move || {
            while !stopped.load(Ordering::Relaxed) {
                let account = 1 + count.load(Ordering::Relaxed) % ACCOUNTS;
                session.execute(ORDER, &[&account.to_string()])?;
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
            Ok(())
        };
        Ok(Self {
            stop,
            placed,
            cancel: cancel.clone(),
            thread: Some(thread::spawn(place_orders)),
        })
    }

    /// Orders that were committed so far.
    pub fn placed(&self) -> u64 {
        self.placed.load(Ordering::Relaxed)
    }

    /// Waits until so many orders were committed.
    pub fn wait_for(&self, placed: u64) -> Result<()> {
        while self.placed() < placed {
            self.cancel.check()?;
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err(Error::failed("the second session ended by itself"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Ends it; all that it did is committed then.
    pub fn finish(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::failed("the second session panicked")))
            .map_err(|error| error.context("orders could not be placed"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What went wrong here has been told by whoever waited for orders, or is of no interest.
        let _ = self.join();
    }
}
