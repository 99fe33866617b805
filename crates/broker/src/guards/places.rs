//! Where tokens were shown first, as guards say it: one token at two guards, from two places.

use std::collections::BTreeMap;
use std::net::IpAddr;

use delegation::oauth::AudienceId;
use delegation::time::Timestamp;
use delegation::token::sha256;
use narrows_guard::sightings::is_one_place;

use super::sightings::forget_at;
use super::{Guard, Seen, SeenTwice, seen_twice};
use crate::broker::Broker;
use crate::overload::Overloaded;
use crate::store::StoreUnavailable;

/// Where a guard saw a token first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its `jti`.
    pub jti: String,
    /// Its `iat`.
    pub iat: Timestamp,
    /// Its `exp`.
    pub exp: Timestamp,
    /// The caller's address, as far as the guard believes it.
    pub from: IpAddr,
}

/// Keeps where `guard` saw tokens first, and reports those as [seen twice](seen_twice) that another guard of their audience, on whichever
/// node, saw elsewhere before; gives how many are on record by that.
///
/// Of each token nothing is kept but a digest and the first address, until a minute past its end. `Err`: some may be kept, and all may be
/// sent again.
pub async fn first_seen(broker: &Broker, guard: &Guard<'_>, places: &[Place]) -> Result<usize, StoreUnavailable> {
    let in_force = broker.in_force();
    let Some(service) = in_force.guards.get(guard.service) else {
        return Ok(0);
    };
    let _turn = broker.gate().enter().await.map_err(|Overloaded| StoreUnavailable::busy())?;
    let mut said = BTreeMap::new();
    for place in places {
        let key = key(&service.audience, &place.jti);
        said.entry(key).or_insert_with(|| (place.from, forget_at(broker, &in_force, place.exp)));
    }
    let first = broker.store().first_places(&said).await?;
    let mut recorded = 0;
    for place in places {
        let Some(first) = first.get(&key(&service.audience, &place.jti)) else {
            continue;
        };
        if is_one_place(*first, place.from) {
            continue;
        }
        let seen = SeenTwice {
            jti: place.jti.clone(),
            exp: place.exp,
            iat: Some(place.iat),
            first: *first,
            second: place.from,
        };
        // Behind the place that was first, so that whoever is to send it again finds it there.
        recorded += usize::from(seen_twice(broker, guard, &seen).await? != Seen::Before);
    }
    Ok(recorded)
}

/// What a token is known by. A guard says nothing of tokens for other audiences than its own.
fn key(audience: &AudienceId, jti: &str) -> [u8; 32] {
    sha256(format!("{}\0{jti}", audience.as_str()).as_bytes())
}
