//! Whom a snippet is for.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::Proxy;
use super::middleware::Middleware;

/// A proxy that asks us, or a backend that checks for itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Proxy(Proxy),
    Middleware(Middleware),
}

/// The words of both, on one command line.
impl ValueEnum for Target {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Proxy(Proxy::Nginx),
            Self::Proxy(Proxy::Traefik),
            Self::Proxy(Proxy::Caddy),
            Self::Proxy(Proxy::Envoy),
            Self::Proxy(Proxy::Istio),
            Self::Middleware(Middleware::Axum),
            Self::Middleware(Middleware::Fastapi),
            Self::Middleware(Middleware::Express),
            Self::Middleware(Middleware::Java),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Proxy(proxy) => proxy.to_possible_value(),
            Self::Middleware(middleware) => middleware.to_possible_value(),
        }
    }
}
