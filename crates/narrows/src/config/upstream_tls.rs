//! `upstream_tls` of `[[services]]`: whom an upstream has to prove to be, and what is shown to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use boundary::{PairFiles, Unfit, UpstreamTls, UpstreamTlsFiles};
use url::Url;

use super::either::OneOrMany;
use super::file::{Boundary, File, Service};
use super::problem::{Problem, Problems};
use super::tls::is_too_open;

/// What each service says that says something, by its name.
pub(super) type ByService = BTreeMap<String, UpstreamTls>;

/// Every table that is right: boundaries and guards before one service share it, with its connections.
pub(super) fn build(file: &File, problems: &mut Problems) -> ByService {
    let each = |(at, service): (usize, &Service)| {
        let path = format!("services[{at}].upstream_tls");
        if !is_whole(service, &path, problems) {
            return None;
        }
        match UpstreamTls::load(&files(service)?) {
            Ok(tls) => Some((service.name.clone(), tls)),
            Err(error) => {
                problems.add(&format!("{path}.{}", error.key), error.why);
                None
            }
        }
    };
    file.services.iter().enumerate().filter_map(each).collect()
}

/// Whether what the table says by itself is right; a service that has none says nothing wrong.
fn is_whole(service: &Service, path: &str, problems: &mut Problems) -> bool {
    let Some(table) = &service.upstream_tls else { return true };
    match (&table.cert_file, &table.key_file) {
        (Some(cert), None) => problems.add(
            &format!("{path}.key_file"),
            format!("is required beside `cert_file`, which is `{cert}`; name the file of its private key"),
        ),
        (None, Some(key)) => problems.add(
            &format!("{path}.cert_file"),
            format!("is required beside `key_file`, which is `{key}`; name the file of the certificate that it belongs to"),
        ),
        (None, None) if table.ca_file.is_none() => problems.add(
            path,
            "says nothing; name `ca_file`, `cert_file` and `key_file`, or all three, or take it out".to_owned(),
        ),
        _ => {}
    }
    // What is no URL was told where that is read.
    if let Some(upstream) = service.upstream.as_deref().filter(|text| !is_https(text) && Url::parse(text).is_ok()) {
        problems.add(
            path,
            format!("is for TLS, and `upstream` is `{upstream}`; write that as `https://HOST[:PORT]`, or take this out"),
        );
    }
    !problems.within(path)
}

fn is_https(upstream: &str) -> bool {
    Url::parse(upstream).is_ok_and(|url| url.scheme() == "https")
}

/// Whether both sides show a certificate where `service` is: it gets one by which it can tell us from everybody else.
pub(super) fn is_mutual(service: &Service) -> bool {
    service.upstream.as_deref().is_some_and(is_https) && files(service).is_some_and(|files| files.pair.is_some())
}

/// The files that the table of `service` names.
pub(super) fn files(service: &Service) -> Option<UpstreamTlsFiles> {
    let table = service.upstream_tls.as_ref()?;
    let pair = |(cert, key): (&String, &String)| PairFiles {
        cert_file: PathBuf::from(cert),
        key_file: PathBuf::from(key),
    };
    Some(UpstreamTlsFiles {
        ca_file: table.ca_file.as_ref().map(PathBuf::from),
        pair: table.cert_file.as_ref().zip(table.key_file.as_ref()).map(pair),
    })
}

/// Those of them that take part in a version that is shown: all but the private key, with which a certificate changes too.
pub(super) fn public(files: &UpstreamTlsFiles) -> impl Iterator<Item = &PathBuf> {
    files.ca_file.iter().chain(files.pair.as_ref().map(|pair| &pair.cert_file))
}

/// What upstreams will not take, and what nobody has use for, without being wrong by itself.
///
/// A certificate that ends makes no configuration wrong: a change of something else, which may take rights away, waits for nobody's
/// renewal. What it is shown to refuses it.
pub(super) fn doubts(file: &File, known: &ByService, problems: &Problems) -> Vec<Problem> {
    let mut doubts = Vec::new();
    for (at, service) in file.services.iter().enumerate() {
        let (Some(tls), Some(files)) = (known.get(&service.name), files(service)) else {
            continue;
        };
        let path = format!("services[{at}].upstream_tls");
        if let Some(PairFiles { cert_file, key_file }) = &files.pair {
            if let Some(unfit) = tls.unfit(SystemTime::now()) {
                doubts.push(problems.at(&format!("{path}.cert_file"), format!("`{}` {}", cert_file.display(), why(unfit))));
            }
            if is_too_open(key_file) {
                let mend = format!("`{0}` can be read by others on this machine; `chmod 600 {0}`", key_file.display());
                doubts.push(problems.at(&format!("{path}.key_file"), mend));
            }
        }
        if !is_reached(file, service) {
            let mend = "does nothing here: neither a guard nor the own `proxy` of a boundary goes to this service; another proxy is told \
                        whom to trust and what to show by what `narrows snippet` prints for it";
            doubts.push(problems.at(&path, mend.to_owned()));
        }
    }
    doubts
}

fn why(unfit: Unfit) -> String {
    let time = |time: SystemTime| jiff::Timestamp::try_from(time).map(|time| time.to_string()).unwrap_or_default();
    match unfit {
        Unfit::Ended(then) => format!(
            "ended at {}, and no upstream takes it; put a new one and its key in place",
            time(then)
        ),
        Unfit::NotBegun(then) => format!("begins at {}, and no upstream takes it before; use one that holds now", time(then)),
        Unfit::NotForClients => {
            "is for servers and not for clients, and no upstream takes it; have one made with `clientAuth` among its extended key usages"
                .to_owned()
        }
    }
}

/// Whether anything here connects to it.
fn is_reached(file: &File, service: &Service) -> bool {
    let serves = |boundary: &Boundary| {
        let named = boundary.services.as_ref().map_or(&[][..], OneOrMany::as_slice);
        boundary.proxy.is_some() && named.iter().any(|name| name == "*" || *name == service.name)
    };
    file.guards.iter().any(|guard| guard.service == service.name) || file.boundaries.iter().any(serves)
}
