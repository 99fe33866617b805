//! The boundary `front` before the service `tickets`, as most tests of doors configure it.

use std::path::Path;

/// What such a configuration says, beside what all of them say.
pub(crate) struct Front {
    upstream: String,
    service: String,
    routes: String,
    boundary: String,
}

impl Front {
    /// In front of what is at this address: a public route, and one that reads a ticket.
    pub(crate) fn before(upstream: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            service: String::new(),
            routes: String::new(),
            boundary: String::new(),
        }
    }

    /// With these keys of the service.
    pub(crate) fn service(self, keys: &str) -> Self {
        Self {
            service: keys.to_owned(),
            ..self
        }
    }

    /// With these routes too, and whatever tables follow them.
    pub(crate) fn routes(self, routes: &str) -> Self {
        Self {
            routes: routes.to_owned(),
            ..self
        }
    }

    /// With these keys of the boundary.
    pub(crate) fn boundary(self, keys: &str) -> Self {
        Self {
            boundary: keys.to_owned(),
            ..self
        }
    }

    /// The tables. Every door is open, at a port that the log tells.
    pub(crate) fn text(&self) -> String {
        let Self {
            upstream,
            service,
            routes,
            boundary,
        } = self;
        format!(
            r#"
[[services]]
name     = "tickets"
hosts    = ["tickets.internal"]
upstream = "{upstream}"
audience = "https://tickets.internal"
{service}
[services.routes]
"GET /healthz"      = "public"
"GET /tickets/{{id}}" = "ticket:read/{{id}}"
{routes}

[[boundaries]]
name           = "front"
client         = "edge"
services       = "*"
origin         = "https://edge.example"
proxy          = "127.0.0.1:0"
forward_auth   = "127.0.0.1:0"
ext_authz_grpc = "127.0.0.1:0"
ext_authz_http = "127.0.0.1:0"
login          = ["corp"]
{boundary}
"#
        )
    }

    /// Adds them to the configuration of the installation in `folder`.
    pub(crate) fn add(&self, folder: &Path) {
        self.add_changed(folder, |text| text);
    }

    /// Adds them to what `change` makes of that configuration.
    pub(crate) fn add_changed(&self, folder: &Path, change: impl FnOnce(String) -> String) {
        let config = folder.join("narrows.toml");
        let text = change(std::fs::read_to_string(&config).unwrap());
        std::fs::write(&config, text + &self.text()).unwrap();
    }
}
