//! Addresses that are listened at: one socket has each, so no two keys may name one.

use std::net::{IpAddr, SocketAddr};

use super::Process;
use super::file::File;
use super::problem::Problems;

/// An address, by its key, and who listens there where the broker is another process.
struct Listens<'f> {
    key: String,
    address: &'f str,
    part: Part,
}

/// Boundaries and guards have a process each where the broker is elsewhere, and one together where it is not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Either,
    Boundaries,
    Guards,
}

impl Part {
    fn meets(self, other: Self) -> bool {
        self == other || self == Self::Either || other == Self::Either
    }
}

/// Finds every two that would be in each other's way when `process` starts.
pub(super) fn check(process: Process, file: &File, problems: &mut Problems) {
    let mut open: Vec<(String, SocketAddr, Part)> = Vec::new();
    for Listens { key, address, part } in all(file) {
        // What is no address was told where it is read; port 0 is any that is free.
        let Some(address) = address.parse::<SocketAddr>().ok().filter(|address| address.port() != 0) else {
            continue;
        };
        let is_in_the_way =
            |(_, at, of): &&(String, SocketAddr, Part)| (process == Process::Broker || of.meets(part)) && meet(*at, address);
        match open.iter().find(is_in_the_way) {
            Some((other, ..)) => {
                let place = problems.source().place(other);
                let mend = format!("`{address}` is taken by `{other}`, at {place}; give one of them another address or port");
                problems.add(&key, mend);
            }
            None => open.push((key, address, part)),
        }
    }
}

/// Every address with its key, in the order in which they are written.
fn all(file: &File) -> Vec<Listens<'_>> {
    let own = [("listen", &file.listen), ("metrics_listen", &file.metrics_listen)];
    let own = own.into_iter().map(|(key, address)| (key.to_owned(), address, Part::Either));
    let doors = file.boundaries.iter().enumerate().flat_map(|(at, boundary)| {
        let doors = [
            ("proxy", &boundary.proxy),
            ("ext_authz_grpc", &boundary.ext_authz_grpc),
            ("ext_authz_http", &boundary.ext_authz_http),
            ("forward_auth", &boundary.forward_auth),
        ];
        doors.map(|(key, address)| (format!("boundaries[{at}].{key}"), address, Part::Boundaries))
    });
    let guards = file.guards.iter().enumerate();
    let guards = guards.map(|(at, guard)| (format!("guards[{at}].listen"), &guard.listen, Part::Guards));
    let every = own.chain(doors).chain(guards);
    let written = every.filter_map(|(key, address, part)| Some((key, address.as_deref()?, part)));
    written.map(|(key, address, part)| Listens { key, address, part }).collect()
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
