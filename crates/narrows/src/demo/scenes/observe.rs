//! The scene of a boundary that is put before running traffic: it observes first.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Scene, Stage, claims, text};
use crate::assertion::ClientKey;
use crate::cli::init::{self, NewFile};
use crate::demo::{Failure, free_port, wait_for};
use crate::serving;

const CONFIG: &str = include_str!("../layout/observed.toml");
const RULES: &str = "@id(\"edge-reads-orders-for-support\")\n\
                     permit (principal == Workload::\"edge\", action == Action::\"order:read\", resource is Detail::Order)\n\
                     when { context.subject in Group::\"corp|support\" };\n";
/// How long the observing could take.
const DAYS: i64 = 30;
/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// A service that ran before: it looks at nobody's token, and keeps what it is sent.
struct Running {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, seen) = (listener.local_addr()?, Arc::<Mutex<Vec<_>>>::default());
        let kept = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&kept)));
            }
        });
        Ok(Self { address, seen, task })
    }

    /// What it was sent last.
    fn last(&self) -> Vec<u8> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).last().cloned().unwrap_or_default()
    }
}

async fn answer(mut stream: TcpStream, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    while let Ok(request) = message(&mut stream).await {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err() {
            return;
        }
    }
}

/// One message with its body, as bytes.
async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        if let Some(at) = message.windows(END.len()).position(|part| part == END) {
            let head = String::from_utf8_lossy(message.get(..at).unwrap_or_default()).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            if message.len() >= at + END.len() + length.unwrap_or(0) {
                return Ok(message);
            }
        }
        if stream.read_buf(&mut message).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Sends a request and gives the status of its answer.
async fn send(to: SocketAddr, request: &str) -> Result<u16, Failure> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(request.as_bytes()).await?;
    let reply = message(&mut stream).await?;
    let status = String::from_utf8_lossy(&reply).split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(status.unwrap_or_default())
}

fn request(line: &str, token: &str, body: &str) -> String {
    let token = if token.is_empty() {
        String::new()
    } else {
        format!("authorization: Bearer {token}\r\n")
    };
    let body = if body.is_empty() {
        "\r\n".to_owned()
    } else {
        format!("content-length: {}\r\n\r\n{body}", body.len())
    };
    format!("{line} HTTP/1.1\r\nhost: shop.example\r\nx-forwarded-for: 192.0.2.9\r\n{token}cookie: session=7\r\n{body}")
}

/// Puts a text into a file of the installation in place of another, and waits until that is in force.
async fn change(stage: &Stage<'_>, file: &str, from: &str, to: &str) -> Result<(), Failure> {
    let path = stage.folder.join(file);
    let before = versions(stage).await;
    std::fs::write(&path, std::fs::read_to_string(&path)?.replacen(from, to, 1))?;
    wait_for("the change", || async { versions(stage).await != before }).await
}

async fn ready(stage: &Stage<'_>) -> Value {
    let Ok(response) = reqwest::get(format!("{}/readyz", stage.issuer)).await else {
        return Value::Null;
    };
    serde_json::from_slice(&response.bytes().await.unwrap_or_default()).unwrap_or_default()
}

async fn versions(stage: &Stage<'_>) -> (String, String) {
    let ready = ready(stage).await;
    (text(&ready, "policy_version"), text(&ready, "config_version"))
}

/// The group of the report that is about this line, for this reason; `replayed` is sent until it is there.
async fn reported(stage: &Stage<'_>, auditor: &str, line: (&str, &str), replayed: &[String]) -> Result<Value, Failure> {
    let (path, reason) = line;
    for _ in 0..100 {
        for request in replayed {
            let front = stage.front.parse()?;
            send(front, request).await?;
        }
        let (_, report) = stage.narrows(&["report", "observed", "--json"], Some(auditor), None).await?;
        let report: Value = serde_json::from_str(&report)?;
        let items = report.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_it = |item: &&Value| item.pointer("/request/path") == Some(&path.into()) && text(item, "reason") == reason;
        if let Some(item) = items.iter().find(is_it) {
            return Ok(item.clone());
        }
    }
    Err(format!("the report does not tell of {path} ({reason})").into())
}

fn first_paste(item: &Value) -> String {
    item.pointer("/paste/0/text").and_then(Value::as_str).unwrap_or_default().to_owned()
}

async fn install(
    folder: &Path,
    issuer: &str,
    listen: SocketAddr,
    front: SocketAddr,
    stage: &Stage<'_>,
    up: SocketAddr,
) -> Result<(), Failure> {
    let until = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let until = until.saturating_add(jiff::Span::new().days(DAYS));
    let named = [
        ("@ISSUER@", issuer.to_owned()),
        ("@LISTEN@", listen.to_string()),
        ("@PROVIDER@", stage.provider.issuer.clone()),
        ("@FRONT@", front.to_string()),
        ("@UPSTREAM@", up.to_string()),
        ("@UNTIL@", until.to_string()),
    ];
    let config = named.into_iter().fold(CONFIG.to_owned(), |text, (name, place)| text.replace(name, &place));
    let (key, _) = ClientKey::generate()?;
    let files = [
        NewFile::open("narrows.toml", config),
        NewFile::secret("narrows.key", init::key_file()?),
        NewFile::open("policies/shop.cedar", RULES.to_owned()),
        NewFile::open("edge.jwks.json", format!("{}\n", key.jwks())),
    ];
    for file in files {
        init::write(&folder.join(&file.name), &file.text, file.secret)?;
    }
    Ok(())
}

/// S19: a boundary is put before running traffic.
pub(in crate::demo) async fn running_traffic(stage: &Stage<'_>) -> Result<Scene, Failure> {
    let mut scene = Scene::new("S19", "A boundary is put before running traffic", stage.quiet);
    let service = Running::start().await?;
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let (listen, front) = (free_port(local)?, free_port(local)?);
    let folder = stage.folder.join("observed");
    let issuer = format!("http://{listen}");
    install(&folder, &issuer, listen, front, stage, service.address).await?;
    let running = serving::start(vec![folder.join("narrows.toml")]).await?;
    let here = Stage {
        folder,
        issuer,
        front: front.to_string(),
        ..stage.clone()
    };
    let played = play(&mut scene, &here, &service, front).await;
    running.stop().await;
    service.task.abort();
    played.map(|()| scene)
}

async fn play(scene: &mut Scene, stage: &Stage<'_>, service: &Running, front: SocketAddr) -> Result<(), Failure> {
    let (alice, bob) = (stage.provider.token("alice").await?, stage.provider.token("bob").await?);
    let honest = [
        request("GET /orders/7?full=1", &alice, ""),
        request("GET /archive/orders/8", &alice, ""),
        request("POST /orders/7/export", &alice, "{\"as\": \"pdf\"}"),
    ];
    let dishonest = [
        (request("GET /orders/7", &bob, ""), 403),
        (request("GET /orders/7", "", ""), 401),
        (request("GET /admin/../orders//7", &alice, ""), 400),
        (request("DELETE /orders/7", &alice, ""), 403),
    ];
    let all = || honest.iter().chain(dishonest.iter().map(|(request, _)| request));

    scene.step("a shop runs without a boundary; one is put before it, with mode = \"observe\" and one route");
    let (mut answered, mut same) = (true, true);
    for request in all() {
        send(service.address, request).await?;
        let before = service.last();
        answered &= send(front, request).await? == 200;
        same &= service.last() == before;
    }
    scene.must(
        answered && same,
        "each of seven requests, honest or not, reaches the shop byte for byte as it did without the boundary",
    );

    let (_, told) = stage.narrows(&["operator", "add", "ann", "--role", "auditor", "--json"], None, None).await?;
    let auditor = text(&serde_json::from_str(&told)?, "token");
    let item = reported(stage, &auditor, ("/archive/orders/{id}", "no_route"), &[]).await?;
    let (archive, export) = (
        first_paste(&item),
        reported(stage, &auditor, ("/orders/{id}/export", "no_route"), &[]).await?,
    );
    scene.step("narrows report observed: what would have been refused; of the honest, two lines have no route:");
    for route in [&archive, &first_paste(&export)] {
        scene.step(format!("  {route}"));
    }
    let bobs = reported(stage, &auditor, ("/orders/{id}", "policy_denied"), &[]).await?;
    scene.must(
        bobs.get("count") == Some(&Value::from(1)),
        "bob's request is told too; nobody pastes its permit",
    );

    let (routes, key) = (
        format!("[services.routes]\n{archive}\n{}\n", first_paste(&export)),
        "[services.routes]\n",
    );
    change(stage, "narrows.toml", key, &routes).await?;
    let item = reported(stage, &auditor, ("/orders/{id}/export", "policy_denied"), &honest).await?;
    scene.step("the routes are pasted; the next report knows the export, and that no rule permits it:");
    for line in first_paste(&item).lines() {
        scene.step(format!("  {line}"));
    }
    change(stage, "policies/shop.cedar", RULES, &format!("{RULES}\n{}\n", first_paste(&item))).await?;

    change(
        stage,
        "narrows.toml",
        "mode          = \"observe\"\nobserve_until",
        "# observe_until",
    )
    .await?;
    // The doors follow right behind the version that is told.
    let enforces = || async { ready(stage).await.get("observing") == Some(&Value::Array(Vec::new())) };
    scene.must(
        wait_for("the boundary enforces", enforces).await.is_ok(),
        "the permit is pasted, and `mode` removed: the boundary enforces",
    );
    let mut passed = true;
    for request in &honest {
        passed &= send(front, request).await? == 200;
        let seen = String::from_utf8_lossy(&service.last()).into_owned();
        let token = seen
            .lines()
            .find_map(|line| line.strip_prefix("authorization: Bearer "))
            .unwrap_or_default()
            .to_owned();
        passed &= text(&claims(&token), "iss") == stage.issuer;
    }
    scene.must(
        passed,
        "nothing honest is refused, and the shop sees a token of ours for each request alone",
    );
    let mut refused = true;
    for (request, status) in &dishonest {
        refused &= send(front, request).await? == *status;
    }
    scene.must(
        refused,
        "bob is 403, no token 401, a path to be read in two ways 400, a deletion without a route 403",
    );
    Ok(())
}
