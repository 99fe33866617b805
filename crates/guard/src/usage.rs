//! Usage: what tokens granted beside what their requests used, added up.
//!
//! A token that grants more than anybody uses is found here before it is stolen. Sums name clients, audiences, routes, types,
//! actions, scopes and constraints, all of which are words of the configuration: never a token, an identifier or a value.
//!
//! Everything is bounded, and what finds no room is counted: [`MOST_SUMS`] sums, [`MOST_ROWS`] rows of a kind in each, and as many
//! tokens as `Shown` remembers.

mod shown;
mod sum;

use std::collections::HashMap;

use delegation::authority::Authority;
use delegation::time::Timestamp;
use delegation::token::AccessClaims;
use serde_json::{Value, json};

use crate::check::{Allowed, Refusal};
pub use shown::MOST_TOKENS;
use shown::{Shown, Sight};
pub use sum::MOST_ROWS;
use sum::Sum;

/// So many sums are kept between two looks.
pub const MOST_SUMS: usize = 2_000;
/// About so many bytes of them are handed out at a time: what a broker takes in one request is twice as much.
const AT_ONCE: usize = 256 * 1024;

/// Whose tokens, for whom, at which route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Of {
    client: String,
    audience: String,
    route: String,
}

/// What a guard adds up.
///
/// ```
/// # use narrows_guard::usage::Usage;
/// let mut usage = Usage::default();
/// assert!(usage.take().is_none());
/// ```
#[derive(Debug, Default)]
pub struct Usage {
    sums: HashMap<Of, Sum>,
    shown: Shown,
    /// Requests that found no room in a sum.
    others: u64,
}

impl Usage {
    /// Adds a request that was let through at `now`.
    pub fn allowed(&mut self, request: &Allowed<'_>, now: Timestamp) {
        let claims: &AccessClaims = request;
        let needs = request.needs();
        self.shown.forget(now);
        self.add(claims, &needs.route, |sum| {
            sum.held(&claims.authority, &needs.details, &needs.scopes);
            sum.lived(claims.exp.since(claims.iat), now.since(claims.iat));
        });
    }

    /// Adds a request that was refused at `route`, with a token for this guard's audience. That the token was shown is counted whatever
    /// it was refused for, unless it had ended by `now`: then it ended unseen.
    ///
    /// What the request needed was used only if its token covers that, and was refused because it allowed more than it may: a client all
    /// of whose tokens are too wide is not taken for one that needs nothing. Other refusals say nothing about use.
    pub fn refused(&mut self, refusal: &Refusal, route: &str, now: Timestamp) {
        let Some(claims) = &refusal.claims else { return };
        self.shown.forget(now);
        let surplus = refusal
            .compared
            .as_ref()
            .filter(|compared| compared.missing.is_none() && !compared.surplus.is_empty());
        let Some(compared) = surplus else {
            if now < claims.exp {
                self.see(claims, route);
            }
            return;
        };
        let Authority { details, scopes } = &compared.required;
        self.add(claims, &compared.route, |sum| {
            sum.held(&compared.presented, details, scopes);
            sum.lived(claims.exp.since(claims.iat), now.since(claims.iat));
            sum.refused(&compared.surplus);
        });
    }

    /// Gives out what was added up, and forgets it: an object with `sums`, and `others` where something found no room. Whoever sends
    /// it to `POST /v1/usage` adds `batch`, a name that no other has, `service`, `from` and `until`, and sends just that again until
    /// it is kept. `None` if there is nothing (any more): of many sums a part is given at a time.
    pub fn take(&mut self) -> Option<Value> {
        if self.sums.is_empty() && self.others == 0 {
            return None;
        }
        let mut kept = std::mem::take(&mut self.sums).into_iter();
        let (mut sums, mut size) = (Vec::new(), 0);
        for (of, sum) in kept.by_ref() {
            let told = sum.told(&of.client, &of.audience, &of.route);
            size += told.to_string().len();
            sums.push(told);
            if size >= AT_ONCE {
                break;
            }
        }
        self.sums = kept.collect();
        let others = std::mem::take(&mut self.others);
        Some(if others == 0 {
            json!({ "sums": sums })
        } else {
            json!({ "sums": sums, "others": others })
        })
    }

    fn add(&mut self, claims: &AccessClaims, route: &str, change: impl FnOnce(&mut Sum)) {
        let of = Of::new(claims, route);
        if !self.has_room(&of) {
            return;
        }
        let sum = self.sums.entry(of).or_default();
        sum.shown(self.shown.see(claims.key(), claims.exp));
        change(sum);
    }

    /// Takes note of a token alone.
    fn see(&mut self, claims: &AccessClaims, route: &str) {
        let of = Of::new(claims, route);
        if !self.has_room(&of) {
            return;
        }
        match self.shown.see(claims.key(), claims.exp) {
            Sight::Again => {}
            sight => self.sums.entry(of).or_default().seen(sight),
        }
    }

    /// Whether there is a sum of this; if there is no room for one, that is counted.
    fn has_room(&mut self, of: &Of) -> bool {
        let has_room = self.sums.len() < MOST_SUMS || self.sums.contains_key(of);
        self.others += u64::from(!has_room);
        has_room
    }
}

impl Of {
    fn new(claims: &AccessClaims, route: &str) -> Self {
        Self {
            client: claims.client.as_str().to_owned(),
            audience: claims.audiences.first().cloned().unwrap_or_default(),
            route: route.to_owned(),
        }
    }
}
