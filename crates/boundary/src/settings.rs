//! What the configuration says about one boundary.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::uri::Scheme;
use ipnet::IpNet;
use narrows_guard::route::Table;
use url::Url;

use crate::observe::Modes;
use crate::proxy::sockets;
use crate::proxy::upstream_tls::UpstreamTls;

/// What the configuration says about one boundary: a value, swapped whole.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub origin: Origin,
    /// The routes of its services.
    pub table: Arc<Table>,
    /// Where each service is, by its name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// The issuers whose tokens callers may show, for the metadata.
    pub login: Vec<String>,
    /// The scopes that its routes may need, for the metadata.
    pub scopes: Vec<String>,
    /// The types of details that its routes may need, for the metadata.
    pub detail_types: Vec<String>,
    /// Who may connect to the doors of other proxies.
    pub peers: Peers,
    /// Proxies in front that are believed about the client's address.
    pub trusted_proxies: Peers,
    /// Whether the own proxy writes `X-Forwarded-*` anew; without, there are none.
    pub rebuilds_forwarded: bool,
    /// What of it only observes.
    pub modes: Modes,
}

/// Where a request came from, as far as it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) address: IpAddr,
    /// Whether that is the caller's own, and not that of a proxy which many callers come through.
    pub(crate) is_own: bool,
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: String,
    /// Whom it has to prove to be, and what is shown to it; without, any that the system trusts, and nothing.
    pub tls: Option<UpstreamTls>,
}

/// Scheme, host and port by which clients reach a boundary: the only source of what it says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// Not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginError;

impl Origin {
    /// Reads `http(s)://HOST[:PORT]`, with nothing behind it.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let url = Url::parse(text).map_err(|_| OriginError)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !bare || !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(OriginError);
        }
        Ok(Self(url.origin().ascii_serialization()))
    }

    /// Without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }
}

impl Upstream {
    /// Reads `http(s)://HOST[:PORT]`, with nothing behind it.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let origin = Origin::parse(text)?;
        let (scheme, authority) = origin.0.split_once("://").ok_or(OriginError)?;
        Ok(Self {
            scheme: scheme.parse().map_err(|_| OriginError)?,
            authority: authority.to_owned(),
            tls: None,
        })
    }

    /// The socket of this machine at `path`, which begins with `/`: nobody reaches it who may not open that.
    pub fn socket(path: &str) -> Result<Self, OriginError> {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(OriginError);
        }
        Ok(Self {
            scheme: Scheme::HTTP,
            authority: sockets::authority(path),
            tls: None,
        })
    }

    /// The same, reached with `tls` alone: where that is said and the scheme is not `https`, nothing gets there.
    pub fn with_tls(self, tls: Option<UpstreamTls>) -> Self {
        Self { tls, ..self }
    }
}

/// Networks.
#[derive(Clone, Debug, Default)]
pub struct Peers(pub Vec<IpNet>);

impl Peers {
    /// Whether `address` is in one of them.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Who is connected from `connected` to the own proxy, where these are the proxies that are believed.
    pub(crate) fn caller(&self, connected: IpAddr, headers: &HeaderMap) -> Caller {
        let address = self.client(connected, headers);
        Caller {
            address,
            is_own: !self.contain(address),
        }
    }

    /// Whose request the proxy at `peer` asks about. One that it names as its `source` is one caller; the proxy itself is many.
    pub(crate) fn caller_behind(&self, peer: IpAddr, source: Option<IpAddr>, headers: &HeaderMap) -> Caller {
        let caller = self.caller(source.unwrap_or(peer), headers);
        Caller {
            is_own: caller.is_own && caller.address != peer.to_canonical(),
            ..caller
        }
    }

    /// The client's address: of what the proxies among these say one after the other, the newest that is none of them; that of
    /// the connection, if it is nobody's that is believed, or if what is said cannot be read.
    fn client(&self, connected: IpAddr, headers: &HeaderMap) -> IpAddr {
        let connected = connected.to_canonical();
        if !self.contain(connected) {
            return connected;
        }
        let mut hops = Vec::new();
        for line in headers.get_all("x-forwarded-for") {
            let Ok(line) = line.to_str() else { return connected };
            hops.extend(line.split(',').map(str::trim));
        }
        let mut nearest = connected;
        for hop in hops.into_iter().rev() {
            let Ok(address) = hop.parse::<IpAddr>() else { return nearest };
            nearest = address.to_canonical();
            if !self.contain(nearest) {
                break;
            }
        }
        nearest
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::net::IpAddr;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Origin, Peers, Upstream};

    fn client(trusted: &[&str], connected: &str, lines: &[&'static str]) -> Option<String> {
        let peers = Peers(trusted.iter().filter_map(|network| network.parse().ok()).collect());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
        let connected: IpAddr = connected.parse().ok()?;
        Some(peers.client(connected, &headers).to_string())
    }

    #[test]
    fn the_clients_address_is_the_newest_that_no_trusted_proxy_has() {
        let proxies = ["10.0.0.0/8"];
        let of = |connected, lines| client(&proxies, connected, lines).unwrap_or_default();
        assert_eq!(of("192.0.2.1", &["203.0.113.9"]), "192.0.2.1", "nobody who is believed says so");
        assert_eq!(of("10.0.0.1", &["203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(
            of("10.0.0.1", &["6.6.6.6, 203.0.113.9"]),
            "203.0.113.9",
            "what a client put in front does not count"
        );
        assert_eq!(of("10.0.0.1", &["6.6.6.6", "203.0.113.9"]), "203.0.113.9", "in two lines");
        assert_eq!(of("10.0.0.1", &["203.0.113.9, unknown"]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(of("::ffff:10.0.0.1", &["::ffff:203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn an_address_is_the_callers_own_only_where_no_proxy_has_it() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let trusted = Peers(vec!["10.0.0.0/8".parse().unwrap()]);
        let told: HeaderMap = [(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static("203.0.113.9"))]
            .into_iter()
            .collect();
        let nothing = HeaderMap::new();
        let rows = [
            (trusted.caller(address("192.0.2.1"), &nothing), "192.0.2.1", true),
            (trusted.caller(address("10.0.0.1"), &told), "203.0.113.9", true),
            (trusted.caller(address("10.0.0.1"), &nothing), "10.0.0.1", false),
            (trusted.caller_behind(address("10.0.0.1"), None, &told), "203.0.113.9", true),
            (trusted.caller_behind(address("192.0.2.1"), None, &told), "192.0.2.1", false),
            (trusted.caller_behind(address("::ffff:192.0.2.1"), None, &told), "192.0.2.1", false),
            (
                trusted.caller_behind(address("192.0.2.1"), Some(address("192.0.2.2")), &nothing),
                "192.0.2.2",
                true,
            ),
            (
                trusted.caller_behind(address("192.0.2.1"), Some(address("10.0.0.1")), &nothing),
                "10.0.0.1",
                false,
            ),
        ];
        for (caller, expected, is_own) in rows {
            assert_eq!((caller.address, caller.is_own), (address(expected), is_own));
        }
    }

    #[test]
    fn an_origin_has_nothing_behind_it() {
        let said = |text| Origin::parse(text).map(|origin| origin.as_str().to_owned()).ok();
        assert_eq!(said("https://edge.example/").as_deref(), Some("https://edge.example"));
        assert_eq!(said("http://127.0.0.1:8430").as_deref(), Some("http://127.0.0.1:8430"));
        for wrong in [
            "edge.example",
            "https://edge.example/a",
            "https://edge.example?a",
            "ftp://edge.example",
            "https://u@edge.example",
        ] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
        let upstream = Upstream::parse("http://127.0.0.1:9001").ok();
        assert_eq!(
            upstream.map(|upstream| (upstream.scheme.to_string(), upstream.authority)),
            Some(("http".to_owned(), "127.0.0.1:9001".to_owned()))
        );
    }
}
