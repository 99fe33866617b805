//! Measures `narrows` beside a floor server, in one run; `scripts/bench` pins the processors and starts it.
//!
//! A round sends the same number of exchanges to each server in turn, so that a machine that gets slower gets slower
//! for all. The figure is the median of the rounds.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that cannot go on stops")]

mod figures;
mod floor;
mod installation;
mod load;
mod server;

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::figures::{Round, Series, median};
use crate::installation::Installation;
use crate::server::Server;

/// Measures the program beside a floor server of the same run.
#[derive(Parser)]
struct Arguments {
    /// The program to measure.
    #[arg(long, default_value = "target/release/narrows")]
    narrows: PathBuf,
    /// Where stores are written; the disk that syncs are measured on.
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Rounds; the median of all is the figure.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Exchanges of each server in a round.
    #[arg(long, default_value_t = 4000)]
    exchanges: usize,
    /// Be the floor server on this port, for the keys in `folder`.
    #[arg(long, hide = true)]
    floor: Option<u16>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    if let Some(port) = arguments.floor {
        return floor::serve(port, &arguments.folder).await;
    }
    println!(
        "{} rounds of {} exchanges, {} connections; server on processor 0, load on processor 1\n",
        arguments.rounds,
        arguments.exchanges,
        load::CONNECTIONS
    );
    cold_start(&arguments);
    exchanges(&arguments).await;
}

/// Starts a broker that has its store ten times, and looks at its memory before anyone has asked for anything.
fn cold_start(arguments: &Arguments) {
    let installation = Installation::write(&arguments.folder, "cold", free_port(), 10);
    drop(narrows(arguments, &installation));
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let server = narrows(arguments, &installation);
        times.push(server.started_in.as_secs_f64() * 1000.0);
        memory.push(server.memory());
    }
    println!("cold start, process to ready: {:.0} ms", median(&mut times));
    println!("resident memory, idle:        {:.1} MiB\n", median(&mut memory));
}

/// The floor, and the program with 10, 1,000 and 10,000 policies.
async fn exchanges(arguments: &Arguments) {
    let mut series = Vec::new();
    for (name, policies) in [
        ("floor", None),
        ("narrows, 10 policies", Some(10)),
        ("narrows, 1,000 policies", Some(1000)),
        ("narrows, 10,000 policies", Some(10_000)),
    ] {
        let installation = Installation::write(
            &arguments.folder,
            &name.replace([' ', ','], ""),
            free_port(),
            policies.unwrap_or(10),
        );
        let server = if policies.is_some() {
            narrows(arguments, &installation)
        } else {
            floor(&installation)
        };
        series.push((Series::new(name), installation, server));
    }
    // A round before the rounds warms caches, tables and connections, and is not counted.
    for round in 0..=arguments.rounds {
        for (series, installation, server) in &mut series {
            let bodies = (0..arguments.exchanges).map(|_| installation.exchange()).collect();
            let before = server.processor_time();
            let sent = load::send(installation.port, bodies).await;
            let round_of = Round::of(server.processor_time() - before, &sent);
            if round > 0 {
                series.rounds.push(round_of);
            }
        }
    }
    let floor = series[0].0.processor_time();
    println!("{}", Series::HEAD);
    for (series, _, server) in &mut series {
        println!("{}", series.line(floor, server.memory()));
    }
}

fn narrows(arguments: &Arguments, installation: &Installation) -> Server {
    let config = installation.folder.join("narrows.toml");
    Server::start(
        &arguments.narrows,
        &["--config", config.to_str().unwrap(), "serve"],
        installation.port,
    )
}

fn floor(installation: &Installation) -> Server {
    let (port, folder) = (installation.port.to_string(), installation.folder.to_str().unwrap());
    Server::start(&own_path(), &["--floor", &port, "--folder", folder], installation.port)
}

fn own_path() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| Path::new("target/release/benches").to_owned())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
