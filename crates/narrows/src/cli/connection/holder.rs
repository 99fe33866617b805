//! Whose credential it is.

use broker::connections::{Connection, Holder};
use clap::Args;
use delegation::identity::is_sub;
use delegation::oauth::ClientId;

use crate::config::Loaded;

/// Whose credential; nobody is named where there is one for all.
#[derive(Args, Debug)]
pub(super) struct HolderArgs {
    /// The client's, where the connection is per client.
    #[arg(long, conflicts_with = "user")]
    pub(super) client: Option<String>,
    /// Somebody's, where the connection is per user: the issuer's name or `iss`, and their `sub` there.
    #[arg(long, num_args = 2, value_names = ["ISS", "SUB"])]
    pub(super) user: Vec<String>,
}

impl HolderArgs {
    /// Whose, among those whom the configuration knows: a credential of nobody would never be found.
    pub(super) fn holder(&self, loaded: &Loaded) -> Result<Holder, String> {
        if let Some(client) = &self.client {
            let id = ClientId::parse(client).map_err(|error| error.to_string())?;
            if !loaded.snapshot.clients.contains_key(&id) {
                return Err(format!("there is no client `{client}`; see `narrows client list`"));
            }
            return Ok(Holder::Client(id));
        }
        let [iss, sub] = self.user.as_slice() else { return Ok(Holder::All) };
        if !is_sub(sub) {
            return Err("expected a `sub` of 1 to 255 characters without control characters".to_owned());
        }
        let known = loaded.snapshot.issuers.get(iss).or_else(|| loaded.snapshot.issuer_named(iss));
        let iss = match known {
            Some(issuer) => issuer.issuer.clone(),
            None if *iss == loaded.snapshot.issuer => iss.clone(),
            None => return Err(format!("there is no trusted issuer `{iss}`; see `narrows config show`")),
        };
        Ok(Holder::User { iss, sub: sub.clone() })
    }
}

/// Refuses whom the connection is not kept for.
pub(super) fn fits(connection: &Connection, holder: &Holder) -> Result<(), String> {
    if connection.per == holder.per() {
        return Ok(());
    }
    let mend = match connection.per {
        broker::connections::Per::All => "is one for all: name nobody",
        broker::connections::Per::Client => "is per client: name one with --client ID",
        broker::connections::Per::User => "is per user: name one with --user ISS SUB",
    };
    Err(format!("`{}` {mend}", connection.name))
}
