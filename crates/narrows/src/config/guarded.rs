//! Which clients guard which service: those of its `[[guards]]`, and data planes that receive its audience, which may have a guard in
//! themselves.

use std::collections::BTreeMap;

use broker::Guarded;
use delegation::oauth::{AudienceId, ClientId};

use super::file::{Client, File, Service};

/// Every service that is guarded.
pub(super) fn build(file: &File) -> BTreeMap<String, Guarded> {
    let guarded = |service: &Service| {
        let audience = service.audience.as_deref()?;
        let named = |client: &&Client| {
            let guard = file
                .guards
                .iter()
                .find(|guard| guard.service == service.name && guard.client.as_ref() == Some(&client.id));
            guard.is_some() || client.data_plane
        };
        let receives = |client: &&Client| client.receives.iter().any(|receives| receives.audience() == audience);
        let clients = file.clients.iter().filter(named).filter(receives);
        let guarded = Guarded {
            audience: AudienceId::parse(audience).ok()?,
            clients: clients.filter_map(|client| ClientId::parse(&client.id).ok()).collect(),
        };
        Some((service.name.clone(), guarded))
    };
    file.services.iter().filter_map(guarded).collect()
}
