//! Gate 3: guests that really wait, for time and for SQL, and come back.

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tapline_content::{Item, ItemView};
use tapline_host_core::Host;
use tapline_host_database::{Database, DatabaseConfig};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};

use super::{PATIENCE, Run, builder, config, host_with, on_all_cores, on_one_thread, spec, wasm};
use crate::{
    bare::{Bare, Ours as _},
    items,
    measure::{Arm, nanoseconds, take_turns},
    stats::{self, Estimate},
    taps::{Clock, WAITING, Waiting},
};

const QUERY: &str = "SELECT title FROM items WHERE id = ?";
const ID: &str = "item-1";
const TITLE: &str = "Title of item-1";

/// Instances that may wait at the same time; with the share of one plugin, at least a thousand.
const SLOTS: u32 = 1500;

/// How long a guest waits, in milliseconds.
const WAIT: u32 = 10;

pub(super) fn run(run: &mut Run) -> Result<()> {
    let counts = run.scale.pick(vec![100, 1000, 10_000], vec![100, 1000, 10_000], vec![20]);
    let unanswered = on_all_cores(async { waits(run, &counts).await })?;
    let unanswered = unanswered + on_all_cores(async { queries(run, &counts).await })?;
    run.add("gate3.unanswered", Estimate::exact(unanswered as f64))?;
    on_all_cores(async { one_connection(run).await })?;
    on_one_thread(async { added(run).await })
}

/// Waits for requests under one deadline: a deadlock is a number, and no hang. How many did not answer.
async fn all(run: &mut Run, requests: Vec<JoinHandle<Result<()>>>) -> usize {
    let mut left = requests.len();
    let mut failures = Vec::new();
    let answered = async {
        for request in requests {
            match request.await.map_err(Into::into).flatten() {
                Ok(()) => left -= 1,
                Err(error) => failures.push(error),
            }
        }
    };
    let ended = timeout(PATIENCE, answered).await;
    if let Some(failure) = failures.first() {
        run.warn(format!("{} requests failed, the first one with: {failure:#}", failures.len()));
    }
    if ended.is_err() {
        run.warn(format!("after {PATIENCE:?}, {} requests had no answer", left - failures.len()));
    }
    left
}

async fn waits(run: &mut Run, counts: &[usize]) -> Result<usize> {
    let host = host_with(config(SLOTS), "waiting", Clock::default()).await?;
    let bare = Arc::new(Bare::waiting(&config(SLOTS), &wasm("waiting")?, WAITING, "run").ours()?);
    let mut unanswered = 0;
    for &count in counts {
        run.say(format!("{count} requests that wait {WAIT} ms inside the guest"));
        let (mut times, mut control) = (Vec::new(), Vec::new());
        for round in 0..=run.scale.pick(9, 5, 1) {
            let start = Instant::now();
            let requests = (0..count).map(|_| {
                let host = host.clone();
                tokio::spawn(async move {
                    let outcome = host.dispatch(Waiting, &WAIT).await?;
                    ensure!(matches!(outcome.answers[..], [(_, WAIT)]), "{:?}", outcome.failures);
                    Ok(())
                })
            });
            unanswered += all(run, requests.collect()).await;
            let time = nanoseconds(start);
            // Bare wasmtime has no queue: more than there are instances fail.
            let bare = if count <= SLOTS as usize { Some(bare_waits(&bare, count).await?) } else { None };
            if round > 0 {
                times.push(time);
                control.extend(bare);
            }
        }
        run.millis(format!("gate3.wait.{count}"), &times)?;
        if !control.is_empty() {
            run.millis(format!("gate3.wait.{count}.bare"), &control)?;
        }
    }
    Ok(unanswered)
}

/// The same through bare wasmtime: the time until all have waited.
async fn bare_waits(bare: &Arc<Bare>, count: usize) -> Result<f64> {
    let start = Instant::now();
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let bare = Arc::clone(bare);
            tokio::spawn(async move { bare.call::<(u32,), (u32,)>(|_| Ok((WAIT,))).await.ours() })
        })
        .collect();
    for call in calls {
        let ((answer,), ..) = call.await??;
        ensure!(answer == WAIT, "another answer");
    }
    Ok(nanoseconds(start))
}

/// A database file, and a host whose plugin queries it.
struct Site {
    host: Host,
    /// One query.
    item: Arc<Item>,
    directory: TempDir,
}

impl Site {
    async fn new(slots: u32, connections: u32) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let url = format!("sqlite:{}", directory.path().join("site.db").display());
        let mut owner = SqliteConnection::connect(&format!("{url}?mode=rwc")).await?;
        sqlx::raw_sql(
            "CREATE TABLE items (id TEXT PRIMARY KEY, title TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO items SELECT 'item-' || i, 'Title of item-' || i FROM n",
        )
        .execute(&mut owner)
        .await?;
        owner.close().await?;
        let settings =
            DatabaseConfig { max_connections: connections, acquire_timeout: PATIENCE, ..DatabaseConfig::default() };
        let host = builder(config(slots)).capability(Database::connect(&url, settings).await?).build()?;
        host.load(spec("query", wasm("query")?)?.grant("database", "read")).await?;
        Ok(Self { host, item: asking(1)?, directory })
    }

    fn requests(&self, count: usize) -> Vec<JoinHandle<Result<()>>> {
        let request = |_| {
            let (host, item) = (self.host.clone(), Arc::clone(&self.item));
            tokio::spawn(async move { query(&host, &item).await })
        };
        (0..count).map(request).collect()
    }

    /// The same file through plain `sqlx`.
    async fn plain(&self) -> Result<SqlitePool> {
        let options = SqliteConnectOptions::new().filename(self.directory.path().join("site.db")).read_only(true);
        Ok(SqlitePoolOptions::new().max_connections(1).connect_with(options).await?)
    }
}

/// An item whose plugin awaits so many queries.
fn asking(queries: i64) -> Result<Arc<Item>> {
    items::host_item(&tapline_sdk::Item::builder(ID).title("Asking").field("queries", queries).build())
}

async fn query(host: &Host, item: &Arc<Item>) -> Result<()> {
    let outcome = host.dispatch(ItemView, item).await?;
    let (_, answer) = outcome.answers.first().with_context(|| format!("{:?}", outcome.failures))?;
    let body = answer.body();
    ensure!(body == format!("<p>{TITLE}</p>").as_str(), "the query found {body}");
    Ok(())
}

async fn queries(run: &mut Run, counts: &[usize]) -> Result<usize> {
    let site = Site::new(SLOTS, 4).await?;
    query(&site.host, &site.item).await?;
    let mut unanswered = 0;
    for &count in counts {
        run.say(format!("{count} requests that await a query"));
        let mut times = Vec::new();
        for _ in 0..run.scale.pick(5, if count > 1000 { 1 } else { 3 }, 1) {
            let start = Instant::now();
            unanswered += all(run, site.requests(count)).await;
            times.push(nanoseconds(start));
        }
        run.millis(format!("gate3.query.{count}"), &times)?;
    }
    Ok(unanswered)
}

async fn one_connection(run: &mut Run) -> Result<()> {
    let waiters = run.scale.pick(1000, 1000, 20);
    run.say(format!("{waiters} requests for one connection"));
    let site = Site::new(SLOTS, 1).await?;
    query(&site.host, &site.item).await?;
    let start = Instant::now();
    let unanswered = all(run, site.requests(waiters)).await;
    run.millis("gate3.one-connection.wall", &[nanoseconds(start)])?;
    run.add("gate3.one-connection", Estimate::exact(unanswered as f64))
}

/// What a query of a guest costs more than the same query through plain `sqlx`, one at a time.
async fn added(run: &mut Run) -> Result<()> {
    const MORE: i64 = 11;
    run.say("one query, through a guest and through plain sqlx");
    let site = &Site::new(4, 1).await?;
    let plain = &site.plain().await?;
    let many = &asking(MORE)?;
    let arms = [
        Arm::new("one", ["whole"], async || {
            let start = Instant::now();
            query(&site.host, &site.item).await?;
            Ok([nanoseconds(start)])
        }),
        Arm::new("many", ["whole"], async || {
            let start = Instant::now();
            query(&site.host, many).await?;
            Ok([nanoseconds(start)])
        }),
        Arm::new("plain", ["whole"], async || {
            let start = Instant::now();
            let title: String = sqlx::query_scalar(QUERY).bind(ID).fetch_one(plain).await?;
            let whole = nanoseconds(start);
            ensure!(title == TITLE, "plain sqlx found {title}");
            Ok([whole])
        }),
    ];
    let rounds = take_turns(&arms, run.scale.rounds(), run.scale.pick(100, 50, 2)).await?;
    let (one, many) = (rounds.medians("one", "whole"), rounds.medians("many", "whole"));
    // The slope: what one query more costs the same call. The instance and the arguments fall out.
    let each = stats::paired(many, one, |many, one| (many - one) / (MORE - 1) as f64);
    let plain = rounds.medians("plain", "whole");
    run.micros("gate3.plain-query", plain)?;
    run.micros("gate3.guest-query", &each)?;
    run.micros("gate3.added", &stats::paired(&each, plain, |guest, plain| guest - plain))
}
