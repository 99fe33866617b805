//! Requests through a boundary, by each of its doors, beside the same requests without it.
//!
//! One upstream that answers a constant shares the processor of the load. Everything between the two shares the other one, and
//! that is what is measured: the proxy, and who it asks. The caller's token is the same in all requests, as it is for minutes
//! in life; each request names an order of its own and so gets a token of its own, unless the series says otherwise.

mod proxies;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;

use crate::contest::narrows;
use crate::figures::{for_each, median, spread};
use crate::installation::{Installation, Shape};
use crate::load::{self, CONNECTIONS, Reply};
use crate::server::Server;
use crate::{Arguments, free_port};

pub(crate) const HEAD: [&str; 7] = [
    "requests by way of",
    "µs between client and service",
    "spread",
    "beside its proxy alone",
    "answered",
    "p50 / p99 ms",
    "alone on a connection, added p50 / p99 ms",
];

/// The client whose boundaries are in another process.
const PLANE: &str = "plane";

/// Where an upstream and proxies are.
struct Ports {
    upstream: u16,
    broker: u16,
    own: u16,
    own_apart: u16,
    envoy_apart: u16,
    ext_authz_apart: u16,
    apart_ready: u16,
    nginx: u16,
    nginx_alone: u16,
    nginx_constant: u16,
    envoy: u16,
    envoy_alone: u16,
    forward_auth: u16,
    ext_authz: u16,
}

/// A way to the upstream.
struct Way {
    title: &'static str,
    port: u16,
    /// What works between the client and the upstream, by its place among the servers.
    servers: Vec<usize>,
    /// The way that it is compared with, by its place.
    beside: usize,
    /// Every request names the same order.
    again: bool,
    rounds: Vec<Round>,
}

/// One way's part of a round.
struct Round {
    processor: f64,
    rate: f64,
    loaded: (f64, f64),
    alone: (f64, f64),
}

/// Measures all ways in every round, and gives the rows of the table.
pub(crate) async fn measure(arguments: &Arguments) -> Vec<Vec<String>> {
    let few = Ports::free();
    let many = Ports {
        upstream: few.upstream,
        ..Ports::free()
    };
    let upstream = tokio::spawn(upstream(few.upstream));
    let (small, large) = (
        installation(arguments, "doors", &few, 10),
        installation(arguments, "doors-10000", &many, 10_000),
    );
    let folder = proxies::folder(arguments, "doors-proxies");
    let servers = [
        narrows(&arguments.narrows, &small),
        narrows(&arguments.narrows, &large),
        proxies::nginx_alone(&folder, few.nginx_alone, few.upstream),
        proxies::nginx_constant(&folder, few.nginx_constant, few.upstream),
        proxies::nginx(arguments, &small, &folder, few.nginx),
        proxies::envoy_alone(arguments, &folder, few.envoy_alone, few.upstream),
        proxies::envoy(arguments, &small.folder, "envoy", &folder, few.envoy),
        proxies::envoy(arguments, &large.folder, "envoy", &folder, many.envoy),
        apart(arguments, &small, &few),
        proxies::envoy(arguments, &small.folder.join("apart"), "envoy-apart", &folder, few.envoy_apart),
    ];
    let mut ways = [
        Way::new("nobody: the service itself", few.upstream, &[], 0),
        Way::new("nginx alone", few.nginx_alone, &[2], 1),
        Way::new("nginx, auth_request to a constant 200", few.nginx_constant, &[3], 1),
        Way::new("nginx + us", few.nginx, &[4, 0], 1),
        Way::new("Envoy alone", few.envoy_alone, &[5], 4),
        Way::new("Envoy + us", few.envoy, &[6, 0], 4),
        Way::new("Envoy + us, 10,000 routes", many.envoy, &[7, 1], 4),
        Way::new("Envoy + us, the broker in another process", few.envoy_apart, &[9, 8, 0], 4),
        Way::new("our proxy", few.own, &[0], 1),
        Way::new("our proxy, 10,000 routes", many.own, &[1], 1),
        Way::new("our proxy, the broker in another process", few.own_apart, &[8, 0], 1),
        Way::new("our proxy, the same request again", few.own, &[0], 1).again(),
    ];
    let mut asked = 0;
    for round in 0..=arguments.rounds {
        // Many connections first; then one, a tenth of the requests, for what a request waits where nobody else does.
        for way in &mut ways {
            let mut requests = |count: usize| -> Vec<String> {
                let order = |_| {
                    asked += usize::from(!way.again);
                    request(&small, &large, &way.servers, if way.again { 0 } else { asked })
                };
                (0..count).map(order).collect()
            };
            let (loaded, alone) = (requests(arguments.exchanges), requests(arguments.exchanges / 10));
            let before = processor_time(&servers, &way.servers);
            let started = Instant::now();
            let replies = load::send_over(CONNECTIONS, way.port, loaded).await;
            let (passed, processor) = (started.elapsed(), processor_time(&servers, &way.servers) - before);
            let one = load::send_over(1, way.port, alone).await;
            if round > 0 {
                way.rounds.push(Round {
                    processor: for_each(processor, replies.len()),
                    rate: replies.len() as f64 / passed.as_secs_f64(),
                    loaded: waited(&replies),
                    alone: waited(&one),
                });
            }
        }
    }
    upstream.abort();
    ways.iter().map(|way| way.row(&ways[way.beside], &ways[0])).collect()
}

impl Ports {
    fn free() -> Self {
        Self {
            upstream: free_port(),
            broker: free_port(),
            own: free_port(),
            own_apart: free_port(),
            envoy_apart: free_port(),
            ext_authz_apart: free_port(),
            apart_ready: free_port(),
            nginx: free_port(),
            nginx_alone: free_port(),
            nginx_constant: free_port(),
            envoy: free_port(),
            envoy_alone: free_port(),
            forward_auth: free_port(),
            ext_authz: free_port(),
        }
    }
}

impl Way {
    fn new(title: &'static str, port: u16, servers: &[usize], beside: usize) -> Self {
        Self {
            title,
            port,
            servers: servers.to_vec(),
            beside,
            again: false,
            rounds: Vec::new(),
        }
    }

    fn again(self) -> Self {
        Self { again: true, ..self }
    }

    fn median_of(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        median(&mut self.rounds.iter().map(figure).collect::<Vec<_>>())
    }

    fn row(&self, beside: &Self, nobody: &Self) -> Vec<String> {
        let processor = |way: &Self| way.median_of(|round| round.processor);
        let ratio = processor(self) / processor(beside);
        let added = |figure: fn(&Round) -> f64| self.median_of(figure) - nobody.median_of(figure);
        let is_nobody = self.servers.is_empty();
        vec![
            self.title.to_owned(),
            if is_nobody {
                "–".to_owned()
            } else {
                format!("{:.0}", processor(self))
            },
            if is_nobody {
                "–".to_owned()
            } else {
                spread(self.rounds.iter().map(|round| round.processor))
            },
            if is_nobody { "–".to_owned() } else { format!("{ratio:.2}×") },
            format!("{:.0} /s", self.median_of(|round| round.rate)),
            format!(
                "{:.1} / {:.1}",
                self.median_of(|round| round.loaded.0),
                self.median_of(|round| round.loaded.1)
            ),
            if is_nobody {
                "–".to_owned()
            } else {
                format!("{:.2} / {:.2}", added(|round| round.alone.0), added(|round| round.alone.1))
            },
        ]
    }
}

/// The service: a constant.
async fn upstream(port: u16) {
    let routes = Router::new().fallback(get(|| async { "{\"order\":\"4711\",\"state\":\"sent\"}" }));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    axum::serve(listener, routes).await.unwrap();
}

/// The p50 and p99 of these, which come the fastest first, in ms.
fn waited(replies: &[Reply]) -> (f64, f64) {
    let at = |share: f64| replies[((replies.len() - 1) as f64 * share) as usize].time.as_secs_f64() * 1000.0;
    (at(0.50), at(0.99))
}

fn processor_time(servers: &[Server], these: &[usize]) -> Duration {
    these.iter().map(|at| servers[*at].processor_time()).sum()
}

/// A request for an order, by the caller that the installation behind `servers` knows.
fn request(small: &Installation, large: &Installation, servers: &[usize], order: usize) -> String {
    let caller = if servers.contains(&1) { large } else { small };
    format!(
        "GET /orders/{order} HTTP/1.1\r\nhost: orders.internal\r\nauthorization: Bearer {}\r\n\r\n",
        caller.subject()
    )
}

/// The services of an installation, with so many routes.
fn services(ports: &Ports, routes: usize) -> String {
    let mut text = format!(
        "\n[[services]]\nname = \"orders\"\nhosts = [\"orders.internal\"]\nupstream = \"http://127.0.0.1:{}\"\n\
         audience = \"https://orders.internal\"\n[services.routes]\n\"GET /orders/{{id}}\" = \"order:read/{{id}}\"\n",
        ports.upstream
    );
    for route in 1..routes {
        let _ = writeln!(text, "\"GET /things-{}/part-{route}/{{id}}\" = \"order:read/{{id}}\"", route % 100);
    }
    text
}

/// A boundary with one door; `client` acts there.
fn boundary(name: &str, client: &str, origin: u16, door: &str, at: u16) -> String {
    format!(
        "\n[[boundaries]]\nname = \"{name}\"\nclient = \"{client}\"\nservices = \"*\"\norigin = \"http://127.0.0.1:{origin}\"\n\
         {door} = \"127.0.0.1:{at}\"\n"
    )
}

/// An installation whose broker serves boundaries of its own, and lets those of another process ask.
fn installation(arguments: &Arguments, name: &str, ports: &Ports, routes: usize) -> Installation {
    let ours = format!("http://127.0.0.1:{}", ports.broker);
    let tables = [
        services(ports, routes),
        boundary("own", "edge", ports.own, "proxy", ports.own),
        boundary("nginx", "edge", ports.nginx, "forward_auth", ports.forward_auth),
        boundary("envoy", "edge", ports.envoy, "ext_authz_grpc", ports.ext_authz),
        // The same names as in the other process; here nobody comes to their doors.
        boundary("own-apart", PLANE, ports.own_apart, "proxy", free_port()),
        boundary("envoy-apart", PLANE, ports.envoy_apart, "ext_authz_grpc", free_port()),
        known(&ours),
    ];
    let shape = Shape {
        tables: tables.concat(),
        rules: format!("@id(\"plane\") permit (principal == Workload::\"{PLANE}\", action, resource);\n"),
        exchangers: vec![PLANE.to_owned()],
        ..Shape::default()
    };
    let installation = Installation::write(&arguments.folder, name, ports.broker, shape);
    let key = proxies::run(arguments, &["client", "add", PLANE], &installation.folder);
    assert!(key.contains(PLANE), "{key}");
    installation
}

/// The client of another process, and what it needs of the broker at `ours`.
fn known(ours: &str) -> String {
    format!(
        "\n[[clients]]\nid = \"{PLANE}\"\nauth = {{ method = \"private_key_jwt\", jwks_file = \"{PLANE}.jwks.json\" }}\n\
         \n[[audiences]]\nid = \"{ours}\"\nscopes = [\"narrows.data_plane\"]\n\
         \n[[scopes]]\nname = \"narrows.data_plane\"\ndetails = []\n"
    )
}

/// `narrows boundary`, which asks the broker of `installation`.
fn apart(arguments: &Arguments, installation: &Installation, ports: &Ports) -> Server {
    let folder = installation.folder.join("apart");
    std::fs::create_dir_all(&folder).unwrap();
    // The last two for `snippet`; the boundary itself opens neither.
    let files = [
        "plane.key",
        "plane.jwks.json",
        "edge.jwks.json",
        "provider.jwks.json",
        "narrows.key",
        "rules.cedar",
    ];
    for file in files {
        std::fs::copy(installation.folder.join(file), folder.join(file)).unwrap();
    }
    let whole = std::fs::read_to_string(installation.folder.join("narrows.toml")).unwrap();
    // All but the boundaries that another client acts at, and what a process without a broker does not need.
    let (before, rest) = whole.split_once("\n[[boundaries]]").unwrap();
    let (_, after) = rest.rsplit_once("\n[[clients]]").unwrap();
    let text = [
        format!("metrics_listen = \"127.0.0.1:{}\"\n{before}", ports.apart_ready),
        boundary("own-apart", PLANE, ports.own_apart, "proxy", ports.own_apart),
        boundary("envoy-apart", PLANE, ports.envoy_apart, "ext_authz_grpc", ports.ext_authz_apart),
        format!("\n[[clients]]{after}"),
        format!(
            "\n[broker]\nurls = [\"http://127.0.0.1:{}\"]\nclient = \"{PLANE}\"\nkey = {{ file = \"{PLANE}.key\" }}\ndeadline = \"5s\"\n",
            ports.broker
        ),
    ];
    std::fs::write(folder.join("narrows.toml"), text.concat()).unwrap();
    let config = folder.join("narrows.toml");
    Server::start(
        &arguments.narrows,
        &["--config", config.to_str().unwrap(), "boundary"],
        ports.apart_ready,
    )
}
