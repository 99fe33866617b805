//! `snippet`: a complete configuration of another proxy, or a middleware for a backend, for this installation.

mod headers;
mod middleware;
mod place;
mod service;
mod target;
mod template;
mod written;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use narrows_guard::route::Service;

use super::Outcome;
use super::output::{remark, say};
use crate::config::{self, Front, Loaded};
use headers::{MEMBERS, UNSAID, families, stripped};
use place::{Place, in_each_others_way, stands_for_its_clients};
use service::{all_domains, largest_body, service_values, unread};
use target::Target;
use template::Values;
use written::{dns, label};

/// How long a proxy waits for an answer at least: what an exchange may take on a busy machine, and some.
const LEAST: Duration = Duration::from_secs(2);
/// What it waits beyond the deadline of a broker elsewhere: the boundary answers by then, and its answer is better than none.
const MARGIN: Duration = Duration::from_secs(1);
/// The longest text that Envoy answers with by itself, unless it is told otherwise.
const LONGEST_SPOKEN: usize = 4096;
/// Where a boundary says what it is (RFC 9728 §3.1).
const PLACE: &str = boundary::metadata::PLACE;
/// Where a proxy finds its certificate, if clients reach it by https.
const CERTIFICATE: [&str; 2] = ["/etc/narrows/tls.crt", "/etc/narrows/tls.key"];
/// Authorities of upstreams, where a proxy has to be told.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Arguments of `snippet`.
#[derive(Args, Debug)]
pub(super) struct SnippetArgs {
    /// The proxy, or what the backend is written with.
    #[arg(value_enum)]
    target: Target,
    /// The boundary that a proxy asks; may be left out where there is one alone.
    #[arg(long)]
    boundary: Option<String>,
    /// The service whose backend checks for itself; may be left out where there is one alone.
    #[arg(long)]
    service: Option<String>,
}

/// A proxy that asks us.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Proxy {
    /// `auth_request`; a file for conf.d/.
    Nginx,
    /// ForwardAuth; static and dynamic configuration.
    Traefik,
    /// `forward_auth`; a Caddyfile.
    Caddy,
    /// `ext_authz` by gRPC; a whole configuration.
    Envoy,
    /// The ingress gateway of a mesh: resources, and what MeshConfig needs.
    Istio,
}

/// Prints it.
pub(super) fn run(args: &SnippetArgs, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load_as_run(paths).map_err(|problems| problems.to_string())?;
    let text = match (args.target, &args.boundary, &args.service) {
        (Target::Proxy(_), _, Some(_)) => {
            return Err("--service is for backends; a proxy is told of a boundary (--boundary)".to_owned().into());
        }
        (Target::Middleware(_), Some(_), _) => {
            return Err("--boundary is for proxies; a backend is told of a service (--service)".to_owned().into());
        }
        (Target::Proxy(proxy), name, None) => {
            let front = named(&loaded, name.as_deref())?;
            let deadline = loaded.remote.as_ref().map(|remote| remote.deadline);
            proxy.snippet(front, timeout(deadline))?
        }
        (Target::Middleware(middleware), None, service) => {
            let printed = middleware.snippet(&loaded, service.as_deref())?;
            printed.warnings.iter().for_each(|warning| remark(warning));
            printed.text
        }
    };
    say(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// Whole seconds that a proxy waits for an answer, where the broker has so long for its own.
fn timeout(deadline: Option<Duration>) -> u64 {
    let longest = deadline.map_or(LEAST, |deadline| deadline.saturating_add(MARGIN).max(LEAST));
    longest.as_secs().saturating_add(u64::from(longest.subsec_nanos() > 0))
}

fn named<'l>(loaded: &'l Loaded, name: Option<&str>) -> Result<&'l Front, String> {
    match (name, loaded.fronts.as_slice()) {
        (None, [only]) => Ok(only),
        (None, []) => Err("there is no boundary; add a table `[[boundaries]]`".to_owned()),
        (None, several) => {
            let names: Vec<_> = several.iter().map(|front| front.settings.name.as_str()).collect();
            Err(format!(
                "there are several boundaries; name one with --boundary: {}",
                names.join(", ")
            ))
        }
        (Some(name), fronts) => {
            let found = fronts.iter().find(|front| front.settings.name == name);
            found.ok_or_else(|| {
                let names: Vec<_> = fronts.iter().map(|front| front.settings.name.as_str()).collect();
                format!("there is no boundary `{name}`; there are: {}", names.join(", "))
            })
        }
    }
}

impl Proxy {
    /// The whole text; a proxy waits for `timeout` seconds.
    fn snippet(self, front: &Front, timeout: u64) -> Result<String, String> {
        let settings = &front.settings;
        let name = &settings.name;
        let (key, door) = match self {
            Self::Envoy | Self::Istio => ("ext_authz_grpc", front.ext_authz_grpc),
            Self::Nginx | Self::Traefik | Self::Caddy => ("forward_auth", front.forward_auth),
        };
        let door = door.ok_or_else(|| format!("boundary `{name}` has no door for this proxy; add `{key} = \"ADDRESS:PORT\"` to it"))?;
        let place = Place::of(settings.origin.as_str()).ok_or("the boundary's `origin` cannot be read")?;
        let services = settings.table.services();
        let [certificate, key] = CERTIFICATE;
        let mut whole = Values::default();
        whole.set("boundary", label(name));
        whole.set("id", dns(name));
        whole.set("door", door);
        whole.set("door_address", door.ip());
        whole.set("door_port", door.port());
        whole.set("timeout", timeout);
        whole.set_each("stripped", stripped());
        whole.set_each("family", families());
        whole.set_each("member", MEMBERS);
        whole.set_each("unsaid", UNSAID);
        whole.set_each("unread", unread(services));
        whole.set("body_max", largest_body(services));
        whole.set("listen", self.listen(&place));
        whole.set("address", place.address.as_deref().unwrap_or("0.0.0.0").trim_matches(['[', ']']));
        whole.set("port", place.port);
        whole.set_each("bind", place.address.iter().map(|address| format!("default_bind {address}")));
        whole.set(
            "elsewhere",
            format!("{}://:{}", if place.secure { "https" } else { "http" }, place.port),
        );
        whole.set_each("certificate", self.certificate().into_iter().filter(|_| place.secure));
        whole.set("key", key);
        let store = [
            "tls:".to_owned(),
            "  certificates:".to_owned(),
            format!("    - certFile: {certificate}"),
            format!("      keyFile: {key}"),
        ];
        whole.set_each("certificates", store.into_iter().filter(|_| place.secure));
        whole.set("all_domains", all_domains(services));
        let mut upstreams = services.iter().filter_map(|service| settings.upstreams.get(&service.name));
        let is_told = upstreams.any(|upstream| upstream.tls.is_some());
        whole.set_each("transports", is_told.then_some("serversTransports:"));
        whole.repeat("secure", place.secure.then(Values::default).into_iter().collect());
        whole.repeat("plain", (!place.secure).then(Values::default).into_iter().collect());
        let metadata = front.forward_auth.map(|told_by| {
            let mut values = Values::default();
            values.set("metadata_address", told_by.ip());
            values.set("metadata_port", told_by.port());
            values
        });
        whole.repeat("spoken", spoken(front)?.into_iter().collect());
        whole.repeat("metadata", metadata.into_iter().collect());
        let places = [format!("= {PLACE}"), format!("^~ {PLACE}/")].map(|place| {
            let mut values = Values::default();
            values.set("metadata_place", place);
            values
        });
        whole.repeat("metadata_places", places.into());
        let each = |service: &Service| {
            let upstream = settings.upstreams.get(&service.name)?;
            Some(service_values(service, upstream, &place))
        };
        whole.repeat("service", services.iter().filter_map(each).collect());
        // By gRPC a proxy says its client's address itself.
        let by_http = matches!(self, Self::Nginx | Self::Traefik | Self::Caddy);
        let remarks = [in_each_others_way(front, &place), stands_for_its_clients(front).filter(|_| by_http)];
        Ok(remarks.into_iter().flatten().collect::<String>() + &template::fill(self.template(), &whole))
    }

    fn template(self) -> &'static str {
        match self {
            Self::Nginx => include_str!("snippet/nginx.conf"),
            Self::Traefik => include_str!("snippet/traefik.yaml"),
            Self::Caddy => include_str!("snippet/Caddyfile"),
            Self::Envoy => include_str!("snippet/envoy.yaml"),
            Self::Istio => include_str!("snippet/istio.yaml"),
        }
    }

    /// What it is told about its certificate.
    fn certificate(self) -> Vec<String> {
        let [certificate, key] = CERTIFICATE;
        match self {
            Self::Nginx => vec![format!("ssl_certificate {certificate};"), format!("ssl_certificate_key {key};")],
            Self::Traefik => vec!["tls: {}".to_owned()],
            Self::Caddy => vec![format!("tls {certificate} {key}")],
            Self::Envoy | Self::Istio => vec![certificate.to_owned()],
        }
    }

    fn listen(self, place: &Place) -> String {
        let address = match (self, &place.address) {
            (Self::Nginx, None) => place.port.to_string(),
            (_, None) => format!(":{}", place.port),
            (_, Some(address)) => format!("{address}:{}", place.port),
        };
        let words = if matches!(self, Self::Nginx) && place.secure { " ssl" } else { "" };
        address + words
    }
}

/// What the boundary says about itself (RFC 9728), where no door of it is asked by HTTP, so that the proxy says it.
fn spoken(front: &Front) -> Result<Option<Values>, String> {
    if front.forward_auth.is_some() {
        return Ok(None);
    }
    let said = boundary::metadata::of(&front.settings, "");
    if said.len() > LONGEST_SPOKEN {
        return Err(format!(
            "what boundary `{}` says about itself has {} bytes, and a proxy says {LONGEST_SPOKEN} at most; add `forward_auth = \"ADDRESS:PORT\"` to it",
            front.settings.name,
            said.len()
        ));
    }
    let mut values = Values::default();
    // Between single quotes nothing has a meaning in YAML but these.
    values.set("metadata", said.replace('\'', "''"));
    Ok(Some(values))
}
