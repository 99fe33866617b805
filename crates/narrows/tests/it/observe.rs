//! A boundary that only observes, before a service that runs: nothing changes, what would be refused is on record, and what is
//! pasted from the report lets the honest through when it enforces.

mod mode;
mod report;
mod traffic;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::front::Front;
use crate::served::Served;
use crate::{corp, echo};

/// A broker with a boundary before a backend that answers with the request as it came.
struct Edge {
    served: Served,
    proxy: SocketAddr,
    door: SocketAddr,
    token: String,
    other: String,
}

/// The day so many days from now.
fn day(ahead: i64) -> String {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    today.saturating_add(jiff::Span::new().days(ahead)).to_string()
}

/// What the configuration says to observe for a month.
fn observe() -> String {
    format!("mode = \"observe\"\nobserve_until = \"{}\"\n", day(30))
}

impl Edge {
    /// With these keys of the service and of the boundary, and these routes beside the usual ones.
    fn start(service: &str, routes: &str, boundary: &str) -> Self {
        let (issuer, backend) = (corp::issuer(), format!("http://{}", echo::start()));
        let served = Served::start(|folder| {
            corp::trust(folder, &issuer);
            Front::before(&backend).service(service).routes(routes).boundary(boundary).add(folder);
        });
        Self {
            proxy: served.door("proxy"),
            door: served.door("forward_auth"),
            served,
            token: corp::token(&issuer, "tickets.full", "support", 600),
            other: corp::token(&issuer, "tickets.full", "sales", 600),
        }
    }

    /// What the backend saw of a raw request, and the status.
    fn sent(&self, request: &[u8]) -> (u16, String) {
        let mut stream = echo::open(self.proxy, "");
        stream.write_all(request).unwrap();
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        (status, reply.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
    }

    fn get(&self, target: &str, token: &str) -> u16 {
        let bearer = if token.is_empty() {
            String::new()
        } else {
            format!("authorization: Bearer {token}\r\n")
        };
        self.sent(format!("GET {target} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\n{bearer}\r\n").as_bytes())
            .0
    }

    /// The records of what was observed.
    fn observed(&self) -> Vec<Value> {
        let store = format!("sqlite:{}", self.served.path().join("narrows.db").display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let records = runtime.block_on(async {
            let store = broker::store::Store::open(&store.parse().unwrap()).await.unwrap();
            store.records(0, 10_000).await.unwrap()
        });
        let records = records.iter().map(|record| serde_json::from_str::<Value>(record).unwrap());
        records.filter(|record| record["effect"] == "observed").collect()
    }

    /// Looks at what was observed until it `holds`.
    fn until(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let observed = self.observed();
            if holds(&observed) {
                return observed;
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{what}: {observed:?}\n{}",
                self.served.log()
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// A request as its lines, in the order of their names; those of headers in lower case, as HTTP/2 has them.
fn lines(request: &str) -> (String, Vec<String>, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
    let mut lines = head.split("\r\n").map(str::to_owned);
    let first = lines.next().unwrap_or_default();
    let lower = |line: String| line.split_once(':').map(|(name, value)| format!("{}:{value}", name.to_ascii_lowercase()));
    let mut headers: Vec<_> = lines.filter_map(lower).filter(|line| line != "connection: close").collect();
    headers.sort();
    (first, headers, body.to_owned())
}

const CLOSE: &str = "Host: tickets.internal\r\nConnection: close\r\n";
