//! Which refusals are the same.

use std::net::IpAddr;

use issuance::audit::Record;
use serde_json::Value;

/// What makes two refusals of one second the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    One {
        kind: &'static str,
        reason: String,
        /// The method and path that was asked, the boundary, or the guard.
        door: Option<String>,
        network: Option<String>,
        /// The client, if it authenticated and asked too often.
        client: Option<String>,
        /// The second by the clock of a guard, which may tell of several at once.
        second: Option<i64>,
        /// Of a request that was only observed, what is like it: whoever mends the configuration needs to see each.
        like: Option<(String, String, String)>,
    },
    /// All that came when enough were told apart.
    Others,
}

impl Source {
    pub(super) fn of(record: &Record) -> Self {
        Self::One {
            kind: record.kind.as_str(),
            reason: record.reason.clone(),
            door: door(record),
            network: record.client_ip.map(network),
            client: record.client.as_ref().map(ToString::to_string),
            second: record.inputs.get("at").and_then(Value::as_i64).map(|millis| millis.div_euclid(1000)),
            like: record.request.as_ref().filter(|_| record.effect.is_some()).map(|request| {
                let path = narrows_guard::shape::shape(&request.path);
                (request.method.clone(), request.host.clone(), path)
            }),
        }
    }

    /// Whether what is like in all of them is known.
    pub(super) fn is_of_one_shape(&self) -> bool {
        matches!(self, Self::One { like: Some(_), .. })
    }
}

fn door(record: &Record) -> Option<String> {
    let text = |name: &str| record.inputs.get(name).and_then(Value::as_str);
    let guard = || Some(format!("{} {}", text("guard")?, text("service")?));
    text("asked").map(str::to_owned).or_else(guard)
}

/// The network that an address belongs to: /24, or /56 of IPv6.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{:x}::/56", d & 0xff00)
        }
    }
}
