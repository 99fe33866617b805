//! Measures `narrows` beside a floor server and its peers, in one run; `scripts/bench` pins the processors and starts it.
//!
//! A round sends the same number of exchanges to each server in turn, so that a machine that gets slower gets slower
//! for all. The figure is the median of the rounds.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a measurement that cannot go on stops"
)]

mod aims;
mod cascade;
mod contest;
mod doors;
mod figures;
mod floor;
mod guard;
mod installation;
mod load;
mod reuse;
mod server;
mod table;
mod view;

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum};

use crate::contest::{Contestant, Name, narrows};
use crate::figures::{Round, Series, for_each, median};
use crate::installation::{Installation, Shape};
use crate::table::Print;

/// Measures the program beside a floor server and its peers, all in the same rounds.
///
/// The figure is the processor time of a server's process for each request, in µs, the median of the rounds: every server
/// on processor 0, the load on processor 1. Every exchange has a subject token and a client assertion of its own, 10
/// policies and SQLite, unless the series says otherwise.
#[derive(Parser)]
struct Arguments {
    /// Series to measure, separated by commas or spaces; the floor and 10 policies always are. Default: all, and `--reuse`.
    #[arg(long, value_delimiter = ',', num_args = 1.., value_name = "NAME")]
    only: Vec<Name>,
    /// Measure a boundary in the process, with tokens handed out again and without; so does a run without `--only`.
    #[arg(long)]
    reuse: bool,
    /// Rounds; the median of all is the figure.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Exchanges, or requests of another kind, of each server in a round.
    #[arg(long, default_value_t = 2000)]
    exchanges: usize,
    /// Print Markdown, for docs/performance.md.
    #[arg(long)]
    markdown: bool,
    /// The program to measure.
    #[arg(long, default_value = "target/release/narrows")]
    narrows: PathBuf,
    /// The server made of the crate oauth-as.
    #[arg(long, default_value = "target/peers/release/peer-oauth-as")]
    oauth_as: PathBuf,
    /// Envoy itself.
    #[arg(long, default_value = "target/doors-venv/bin/envoy")]
    envoy: PathBuf,
    /// Where stores are written; the disk that syncs are measured on.
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Be the floor server on this port, for the keys in `folder`.
    #[arg(long, hide = true)]
    floor: Option<u16>,
}

impl Arguments {
    fn takes_part(&self, name: Name) -> bool {
        self.only.is_empty() || self.only.contains(&name) || matches!(name, Name::Floor | Name::Policies10)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    if let Some(port) = arguments.floor {
        return floor::serve(port, &arguments.folder).await;
    }
    let print = Print {
        markdown: arguments.markdown,
    };
    println!(
        "{} rounds of {} requests, {} connections; servers on processor 0, load on processor 1\n",
        arguments.rounds,
        arguments.exchanges,
        load::CONNECTIONS
    );
    let remembered = if arguments.takes_part(Name::Guard) {
        Some(guard::remembered().await)
    } else {
        None
    };
    let mut aims = cold_start(&arguments);
    aims.splice(0..0, exchanges(&arguments, print).await);
    if arguments.reuse || arguments.only.is_empty() {
        let rows = reuse::measure(&arguments.folder, arguments.rounds, arguments.exchanges).await;
        print.table(&reuse::HEAD, &rows);
    }
    if arguments.takes_part(Name::Cascade) {
        print.table(&cascade::HEAD, &cascade::measure(&arguments).await);
    }
    if arguments.takes_part(Name::Doors) {
        print.table(&doors::HEAD, &doors::measure(&arguments).await);
    }
    if arguments.takes_part(Name::View) {
        let (rows, of_the_view) = view::measure(arguments.rounds);
        print.table(&view::HEAD, &rows);
        aims.extend(of_the_view);
    }
    if let Some(remembered) = remembered {
        aims.extend(guard::measure(&arguments, &remembered, print).await);
    }
    print.table(&aims::HEAD, &aims);
}

/// Starts a broker that has its store ten times, and looks at its memory before anyone has asked for anything.
fn cold_start(arguments: &Arguments) -> Vec<Vec<String>> {
    let installation = Installation::write(&arguments.folder, "cold", free_port(), Shape::default());
    drop(narrows(&arguments.narrows, &installation));
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let server = narrows(&arguments.narrows, &installation);
        times.push(server.started_in.as_secs_f64() * 1000.0);
        memory.push(server.memory());
    }
    vec![
        aims::row("cold start, process to ready", median(&mut times), true, 100.0, " ms"),
        aims::row("resident memory, idle", median(&mut memory), true, 24.0, " MiB"),
    ]
}

/// Measures every series that takes part, prints the table, and gives what became of the aims.
async fn exchanges(arguments: &Arguments, print: Print) -> Vec<Vec<String>> {
    let names = Name::value_variants().iter().copied().filter(|name| name.is_server());
    let taking_part = names.filter(|name| arguments.takes_part(*name));
    let mut contestants: Vec<_> = taking_part.map(|name| Contestant::start(name, arguments)).collect();
    // A round before the rounds warms caches, tables and connections, and is not counted.
    for round in 0..=arguments.rounds {
        for contestant in &mut contestants {
            let bodies = contestant.bodies(arguments.exchanges).await;
            let (before, database) = (contestant.server.processor_time(), contestant.database.as_mut());
            let database = database.map(|database| (database.processor_time(), database));
            let started = Instant::now();
            let replies = load::send(contestant.installation.port, contestant.name.path(), bodies).await;
            let round_of = Round::of(contestant.server.processor_time() - before, started.elapsed(), &replies);
            if round == 0 {
                continue;
            }
            contestant.series.rounds.push(round_of);
            if let Some((before, database)) = database {
                let time = database.processor_time() - before;
                database.rounds.push(for_each(time, replies.len()));
            }
        }
    }
    let time = |name| contestants.iter().find(|each| each.name == name).map(|each| each.series.processor_time());
    let (floor, ten) = (time(Name::Floor).unwrap(), time(Name::Policies10).unwrap());
    let exchanges = contestants.iter().filter(|each| each.name.exchanges());
    let rows: Vec<_> = exchanges.map(|each| each.series.row(floor, ten, each.server.memory())).collect();
    print.table(&Series::HEAD, &rows);
    let others = contestants.iter().filter(|each| !each.name.exchanges());
    let rows: Vec<_> = others.map(|each| each.series.row_of_requests(ten, each.server.memory())).collect();
    if !rows.is_empty() {
        print.table(&Series::HEAD_OF_REQUESTS, &rows);
    }
    if let Some(database) = contestants.iter_mut().find_map(|each| each.database.as_mut()) {
        println!(
            "PostgreSQL's own processes beside the program's, on the processor of the load: {:.0} µs for each exchange.\n",
            median(&mut database.rounds)
        );
    }
    aims::rows(&contestants)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
