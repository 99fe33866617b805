//! Addresses that are listened at: one socket has each, so no two keys may name one.

use std::net::{IpAddr, SocketAddr};

use super::Process;
use super::file::File;
use super::problem::Problems;

/// Finds every two that would be in each other's way when `process` starts.
pub(super) fn check(process: Process, file: &File, problems: &mut Problems) {
    let mut open: Vec<(String, SocketAddr)> = Vec::new();
    for (key, text) in all(process, file) {
        // What is no address was told where it is read; port 0 is any that is free.
        let Some(address) = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0) else {
            continue;
        };
        match open.iter().find(|(_, other)| meet(*other, address)) {
            Some((other, _)) => {
                let place = problems.source().place(other);
                let mend = format!("`{address}` is taken by `{other}`, at {place}; give one of them another address or port");
                problems.add(&key, mend);
            }
            None => open.push((key, address)),
        }
    }
}

/// Every address with its key, in the order in which they are written.
fn all(process: Process, file: &File) -> Vec<(String, &str)> {
    let own = [("listen", &file.listen), ("metrics_listen", &file.metrics_listen)];
    let own = own.into_iter().map(|(key, address)| (key.to_owned(), address));
    let doors = file.boundaries.iter().enumerate().flat_map(|(at, boundary)| {
        let doors = [
            ("proxy", &boundary.proxy),
            ("ext_authz_grpc", &boundary.ext_authz_grpc),
            ("ext_authz_http", &boundary.ext_authz_http),
            ("forward_auth", &boundary.forward_auth),
        ];
        doors.map(|(key, address)| (format!("boundaries[{at}].{key}"), address))
    });
    // Guards have a process of their own where boundaries have one.
    let guards = file.guards.iter().enumerate().filter(|_| process == Process::Broker);
    let guards = guards.map(|(at, guard)| (format!("guards[{at}].listen"), &guard.listen));
    let every = own.chain(doors).chain(guards);
    every.filter_map(|(key, address)| Some((key, address.as_deref()?))).collect()
}

/// Whether two sockets cannot have these addresses at once. A socket for every address has that of each; one for every address of
/// version 6 has those of version 4 too.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: IpAddr, ip: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || ip.is_ipv4());
    let (first, second) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (first == second || covers(first, second) || covers(second, first))
}

#[cfg(test)]
mod tests {
    use std::net::AddrParseError;

    use super::meet;

    #[test]
    fn two_meet_where_two_sockets_would() -> Result<(), AddrParseError> {
        for (first, second, both) in [
            ("127.0.0.1:8430", "127.0.0.1:8430", true),
            ("127.0.0.1:8430", "127.0.0.1:8431", false),
            ("127.0.0.1:8430", "127.0.0.2:8430", false),
            ("127.0.0.1:8430", "0.0.0.0:8430", true),
            ("127.0.0.1:8430", "0.0.0.0:8431", false),
            ("127.0.0.1:8430", "[::]:8430", true),
            ("[::1]:8430", "0.0.0.0:8430", false),
            ("[::1]:8430", "[::]:8430", true),
            ("[::1]:8430", "127.0.0.1:8430", false),
            ("[::ffff:127.0.0.1]:8430", "127.0.0.1:8430", true),
        ] {
            let (one, other) = (first.parse()?, second.parse()?);
            assert_eq!((meet(one, other), meet(other, one)), (both, both), "{first} and {second}");
        }
        Ok(())
    }
}
