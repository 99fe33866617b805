//! Where a proxy listens, so that clients reach it by the boundary's `origin`.

use std::net::IpAddr;

use url::{Host, Url};

use super::written::label;
use crate::config::Front;

/// Where clients reach a proxy, by the boundary's `origin`.
pub(super) struct Place {
    pub(super) secure: bool,
    /// The address that it listens on; every address, if the origin is a name.
    pub(super) address: Option<String>,
    pub(super) port: u16,
}

impl Place {
    /// Nothing, if `origin` cannot be read.
    pub(super) fn of(origin: &str) -> Option<Self> {
        let url = Url::parse(origin).ok()?;
        let address = match url.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.to_string()),
            Host::Ipv6(address) => Some(format!("[{address}]")),
        };
        Some(Self {
            secure: url.scheme() == "https",
            address,
            port: url.port_or_known_default()?,
        })
    }
}

/// A comment, where the boundary takes this proxy's address for its clients'.
pub(super) fn stands_for_its_clients(front: &Front) -> Option<String> {
    (!front.believes_who_asks()).then(|| {
        format!(
            "# To policies (`context.client_ip`) and records every client has this proxy's own address, since boundary `{}` does not believe it:\n\
             # name the addresses that it asks from in `trusted_proxies`, such as trusted_proxies = [\"127.0.0.1/32\"].\n",
            label(&front.settings.name)
        )
    })
}

/// A comment, where the own proxy has the address that this one would listen on.
pub(super) fn in_each_others_way(front: &Front, place: &Place) -> Option<String> {
    let own = front.proxy.filter(|own| own.port() == place.port)?;
    let address = place.address.as_deref().and_then(|address| address.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    let meet = address.is_none_or(|address| address == own.ip() || address.is_unspecified() || own.ip().is_unspecified());
    meet.then(|| {
        format!(
            "# The boundary's own `proxy` listens on {own}, where clients reach it by `origin`. On one machine this proxy cannot listen there too:\n\
             # remove `proxy` from boundary `{}`, or give it another address.\n",
            label(&front.settings.name)
        )
    })
}
