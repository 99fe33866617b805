//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Refuses addresses inside the own network, save those that the configuration names.
///
/// It looks at the address that is connected to, after names are resolved, so a name that answers twice
/// differently (DNS rebinding) gains nothing.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) allow_private: Vec<IpNet>,
}

impl Guard {
    /// Whether `address` may be connected to: public, loopback, or in a network that the configuration names.
    pub(crate) fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || !is_special(address) || self.allow_private.iter().any(|net| net.contains(&address))
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let local = name.as_str().eq_ignore_ascii_case("localhost");
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted: Vec<SocketAddr> = found.filter(|at| guard.admits(at.ip()) && (!local || at.ip().is_loopback())).collect();
            if admitted.is_empty() {
                return Err("resolves only to addresses that are not allowed; see fetch.allow_private".into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one that the public internet does not route (IANA's special-purpose registries).
fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_special_v4(address),
        IpAddr::V6(address) => is_special_v6(address),
    }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || matches!((a, b), (0, _) | (100, 64..=127) | (198, 18..=19))
        || (a, b, c) == (192, 0, 0)
        || a >= 224
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    let [first, second, .., c, d] = address.segments();
    let [[a, b], [e, f]] = [c.to_be_bytes(), d.to_be_bytes()];
    let embedded = Ipv4Addr::new(a, b, e, f);
    // An IPv4 address inside the well-known translation prefix, 64:ff9b::/96 (RFC 6052), leads where that address leads. Others
    // hold it elsewhere, 64:ff9b:1::/48 (RFC 8215) wherever its network likes, and 6to4 right after its prefix.
    let well_known = matches!(address.segments(), [0x64, 0xff9b, 0, 0, 0, 0, ..]);
    let translated = (well_known && is_special_v4(embedded)) || first == 0x2002;
    let unicast = first & 0xe000 == 0x2000;
    let documentation = first == 0x2001 && (second == 0xdb8 || second < 0x200);
    address.is_unspecified() || translated || documentation || !(unicast || well_known)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use reqwest::dns::Resolve as _;

    use super::Guard;

    #[tokio::test]
    async fn what_a_name_resolves_to_is_looked_at_where_the_connection_is_made() {
        let guard = Guard {
            allow_private: vec!["10.1.0.0/16".parse().unwrap()],
        };
        let resolved = async |name: &str| guard.resolve(name.parse().unwrap()).await.map(Iterator::count);
        // SSRF-004: the addresses that are checked are the ones that are handed on, whatever a second answer would be.
        assert!(resolved("10.0.0.1").await.is_err());
        assert!(resolved("169.254.169.254").await.is_err());
        assert_eq!(resolved("10.1.2.3").await.unwrap(), 1);
    }

    #[test]
    fn addresses_inside_the_own_network_are_refused() {
        let guard = Guard {
            allow_private: vec!["10.1.0.0/16".parse().unwrap()],
        };
        let refused = [
            "10.0.0.1",
            "169.254.169.254",
            "192.168.0.1",
            "172.16.0.1",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "240.0.0.1",
            "::",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "64:ff9b:1:a00:0:100:808:808",
            "64:ff9b:0:1::808:808",
            "2002:a00:1::",
            "2001:db8::1",
            "::10.0.0.1",
        ];
        for address in refused {
            assert!(!guard.admits(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "93.184.216.34",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "10.1.2.3",
            "::ffff:10.1.2.3",
        ] {
            assert!(guard.admits(address.parse().unwrap()), "{address}");
        }
    }
}
