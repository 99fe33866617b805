//! What a broker follows: its keys, its standing and its operators, which other processes and time change too.

use std::sync::Arc;
use std::time::Instant;

use delegation::revocation::View;

use super::{Broker, own_keys};
use crate::store::StoreUnavailable;

impl Broker {
    /// Follows what other processes did to the store, and what time did to the keys. Called each second.
    pub async fn tend(&self) {
        // 1. Keys; published ones verify before any of them signs.
        let schedule = Self::schedule(&self.settings(), &self.in_force.load().snapshot);
        // Credentials first: when the keys are encrypted with the first file, all is.
        let resealed = self.connections.reseal(self.now()).await;
        if let Err(error) = &resealed {
            tracing::error!(%error, "upstream credentials could not be encrypted anew");
        }
        let tended = self.signer.tend(&schedule, self.now()).await;
        if let Err(error) = &tended {
            tracing::error!(%error, "signing keys could not be tended");
        }
        match own_keys(&self.in_force.load().snapshot.issuer, &self.signer) {
            Ok(ours) => self.keys.swap_ours(Some(ours)),
            Err(error) => tracing::error!(%error, "our own keys could not be read"),
        }
        // 2. Standing. A node that does not follow the keys must not go on for long either, so that view gets old too.
        let reading = self.standing.lock().await;
        match self.store.standing().await {
            Ok(view) if tended.is_ok() => self.put_standing(view, Instant::now()),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "standing could not be read; keeping the last view"),
        }
        match self.store.operators_by_token().await {
            Ok(operators) => self.operators.store(Arc::new(operators)),
            Err(error) => tracing::error!(%error, "operators could not be read; keeping those that were known"),
        }
        drop(reading);
        // 3. What ended too long ago to matter: a part each second, all of it in about a minute.
        self.store.revoked().forget(self.now());
    }

    /// Follows what other processes revoked, and writes what is counted of seconds that are over. Called several times a second.
    pub async fn follow(&self) {
        match self.store.follow_revocations().await {
            Ok(()) => {}
            Err(error) => tracing::error!(%error, "revocations could not be read"),
        }
        self.flush_refusals(Some(self.now().seconds())).await;
    }

    /// Takes note of standing that was changed here, before that is acknowledged. The age of the view stays: the keys were not
    /// looked at.
    pub(crate) async fn read_standing(&self) -> Result<(), StoreUnavailable> {
        let _reading = self.standing.lock().await;
        let view = self.store.standing().await?;
        let read_at = self.view.load().1;
        self.put_standing(view, read_at);
        Ok(())
    }

    /// Puts what was read of standing in force, with the key that everybody has by the configuration of now. Whoever tells others of it is
    /// woken when it changed.
    pub(super) fn put_standing(&self, view: View, read_at: Instant) {
        let snapshot = Arc::clone(&self.in_force.load().snapshot);
        let before = self.view();
        let disabled = view.keys_of_disabled(|name| snapshot.issuer_of_subjects(name));
        let is_same = disabled == **before.disabled();
        let disabled = if is_same {
            Arc::clone(before.disabled())
        } else {
            Arc::new(disabled)
        };
        self.view.store(Arc::new((Arc::new(view.with_disabled(disabled)), read_at)));
        if !is_same {
            self.streams.tell_standing();
        }
    }

    /// Takes note of an operator who was removed here, before that is acknowledged.
    pub(crate) async fn read_operators(&self) -> Result<(), StoreUnavailable> {
        let _reading = self.standing.lock().await;
        self.operators.store(Arc::new(self.store.operators_by_token().await?));
        Ok(())
    }
}
