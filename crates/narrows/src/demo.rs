//! `demo`: the scenes of the product, end to end, over real HTTP on loopback.

mod layout;
mod legacy;
mod provider;
mod scenes;
mod services;
mod state;

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

pub(crate) use layout::{Places, files};

use crate::cli::init;
use crate::cli::output::{say, table};
use crate::serving;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Play the scenes, then stop; exit 0 only if every scene behaved.
    #[arg(long)]
    once: bool,
    /// Print the scenes as JSON at the end.
    #[arg(long)]
    json: bool,
    /// Where the broker listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[command(subcommand)]
    verb: Option<DemoVerb>,
}

#[derive(Debug, Subcommand)]
enum DemoVerb {
    /// Print a user's token from the sample provider of a demo that stays up.
    Token {
        /// alice (in the group support) or bob (not in it).
        #[arg(long, default_value = "alice")]
        user: String,
    },
}

/// One scene and how it went.
#[derive(Debug)]
pub(crate) struct Scene {
    id: &'static str,
    title: &'static str,
    ok: bool,
    steps: Vec<String>,
    quiet: bool,
}

impl Scene {
    fn new(id: &'static str, title: &'static str, quiet: bool) -> Self {
        let scene = Self {
            id,
            title,
            ok: true,
            steps: Vec::new(),
            quiet,
        };
        scene.print(&format!("\n{id}  {title}"));
        scene
    }

    fn print(&self, line: &str) {
        if !self.quiet {
            say(line);
        }
    }

    /// Tells one step.
    fn step(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.print(&format!("    {text}"));
        self.steps.push(text);
    }

    /// Tells what must be so; a scene is right if all of it is.
    fn must(&mut self, holds: bool, text: impl Into<String>) {
        self.ok &= holds;
        let text = format!("{} {}", if holds { "[ok]" } else { "[NOT SO]" }, text.into());
        self.print(&format!("  {text}"));
        self.steps.push(text);
    }
}

/// Plays the scenes.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    if let Some(DemoVerb::Token { user }) = args.verb {
        return token(&user).await;
    }
    // 1. A folder, a sample provider, two services, and a broker with a boundary from its own files.
    let folder = std::env::temp_dir().join(format!("narrows-demo-{}", uuid::Uuid::now_v7().simple()));
    // It holds keys.
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let listen = if args.listen.port() == 0 {
        free_port(args.listen)?
    } else {
        args.listen
    };
    let issuer = format!("http://{listen}");
    let provider = provider::start().await?;
    let services = services::start(&folder, &issuer).await?;
    let crm = legacy::Legacy::start().await?;
    let places = Places {
        listen: listen.to_string(),
        provider: provider.issuer.clone(),
        orders: services.orders.to_string(),
        tickets: services.tickets.to_string(),
        front: free_port(SocketAddr::from(([127, 0, 0, 1], 0)))?.to_string(),
        mesh: free_port(SocketAddr::from(([127, 0, 0, 1], 0)))?.to_string(),
        crm: crm.address.to_string(),
        orders_guard: free_port(SocketAddr::from(([127, 0, 0, 1], 0)))?.to_string(),
        crm_guard: free_port(SocketAddr::from(([127, 0, 0, 1], 0)))?.to_string(),
    };
    for file in files(&places)? {
        init::write(&folder.join(&file.name), &file.text, file.secret)?;
    }
    let config = folder.join("narrows.toml");
    let running = serving::start(vec![config.clone()]).await?;

    // 2. The scenes.
    let stage = scenes::Stage {
        folder: folder.clone(),
        issuer: issuer.clone(),
        provider: &provider,
        front: places.front.clone(),
        mesh: places.mesh.clone(),
        orders_guard: places.orders_guard.clone(),
        crm_guard: places.crm_guard.clone(),
        services: &services,
        crm: &crm,
        running: &running,
        quiet: args.json,
    };
    let mut played = Vec::new();
    played.push(scenes::exchange_at_the_edge(&stage).await);
    played.push(scenes::two_hops_in(&stage).await);
    played.push(scenes::stolen_token(&stage).await);
    played.push(scenes::other_circumstances(&stage).await);
    played.push(scenes::guards::broader_than_needed(&stage).await);
    played.push(scenes::guards::old_backend(&stage).await);
    played.push(scenes::work::queued_work(&stage).await);
    played.push(scenes::mesh::graph(&stage).await);
    played.push(scenes::work::agent(&stage).await);
    played.push(scenes::work::deployment(&stage).await);
    played.push(scenes::work::ten_minutes(&stage).await);
    played.push(scenes::leaks::pasted_token(&stage).await);
    played.push(scenes::leaks::long_lived_token(&stage).await);
    played.push(scenes::usage::too_much(&stage).await);
    played.push(scenes::observe::running_traffic(&stage).await);
    let mut all = true;
    let mut rows = Vec::new();
    let mut told = Vec::new();
    for scene in played {
        let scene = scene?;
        all &= scene.ok;
        rows.push(vec![
            scene.id.to_owned(),
            if scene.ok { "ok".to_owned() } else { "FAILED".to_owned() },
            scene.title.to_owned(),
        ]);
        told.push(json!({ "id": scene.id, "title": scene.title, "ok": scene.ok, "steps": scene.steps }));
    }

    // 3. What came of it.
    if args.json {
        say(json!({ "scenes": told }));
    } else {
        let (good, count) = (
            rows.iter().filter(|row| row.get(1).is_some_and(|word| word == "ok")).count(),
            rows.len(),
        );
        say(format!("\n{}", table(&["scene", "", "what was seen"], rows)));
        say(format!("demo: {good} passed, {} failed", count - good));
    }
    if !args.once {
        state::write(&json!({ "provider": provider.issuer, "folder": folder }))?;
        if !args.json {
            stay(&config, &issuer, &places);
        }
        tokio::signal::ctrl_c().await?;
        state::remove();
    }
    services.stop();
    crm.stop();
    provider.stop();
    running.stop().await;
    std::fs::remove_dir_all(&folder)?;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn stay(config: &std::path::Path, issuer: &str, places: &Places) {
    let program = std::env::args().next().unwrap_or_else(|| "narrows".to_owned());
    let folder = config.parent().unwrap_or(config).display();
    let narrows = format!("{program} --config {}", config.display());
    let ask = |user: &str| {
        let exchange = "exchange --client edge --audience https://orders.internal --details order:read/7";
        format!("{program} demo token --user {user} | {narrows} {exchange} --key {folder}/edge.key")
    };
    say(format!(
        "\nThe broker stays up at {issuer} until you press Ctrl-C. In another terminal:\n"
    ));
    say("# alice opens order 7 at the boundary; the service behind it never sees her token");
    say(format!(
        "curl -s http://{}/orders/7 -H \"authorization: Bearer $({program} demo token --user alice)\"\n",
        places.front
    ));
    say("# a token for two orders, shown to the guard before the service with a request for one");
    say(format!(
        "curl -s http://{}/orders/7 -H \"authorization: Bearer $({} --details order:read/8)\"\n",
        places.orders_guard,
        ask("alice")
    ));
    say("# alice's token becomes one for order 7, and is read out");
    say(format!("{} | {narrows} inspect\n", ask("alice")));
    say("# bob is refused, and told the command that says why");
    say(format!("{}\n", ask("bob")));
    say("# who may do what");
    say(format!("{narrows} policy matrix --group 'corp|support'"));
}

async fn token(user: &str) -> Result<ExitCode, Failure> {
    let state = state::read()?;
    let provider = state.get("provider").and_then(|value| value.as_str()).unwrap_or_default();
    say(provider::token_for(provider, user).await?);
    Ok(ExitCode::SUCCESS)
}

/// A port that is free now; the issuer's identifier has to name it before the broker listens there.
fn free_port(at: SocketAddr) -> Result<SocketAddr, Failure> {
    Ok(std::net::TcpListener::bind(at)?.local_addr()?)
}

/// Waits until `ready` says so, for ten seconds at most.
async fn wait_for<F: Future<Output = bool>>(what: &str, mut ready: impl FnMut() -> F) -> Result<(), Failure> {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..200 {
        tick.tick().await;
        if ready().await {
            return Ok(());
        }
    }
    Err(format!("{what} did not happen within ten seconds").into())
}
