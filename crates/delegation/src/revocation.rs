//! What is dead though not expired. Fed with standing; the pure rule stands here, the feed elsewhere.

use std::collections::BTreeSet;

use crate::identity::Subject;
use crate::oauth::ClientId;

/// A view of standing: which clients and subjects are disabled.
///
/// Immutable; a change makes a new one, so that a request sees one state throughout.
#[derive(Clone, Debug, Default)]
pub struct View {
    clients: BTreeSet<ClientId>,
    subjects: BTreeSet<(String, String)>,
}

impl View {
    /// A view in which these clients and these subjects, as (issuer name, `sub`), are disabled.
    pub fn new(clients: impl IntoIterator<Item = ClientId>, subjects: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            clients: clients.into_iter().collect(),
            subjects: subjects.into_iter().collect(),
        }
    }

    /// Whether `client` is disabled.
    pub fn is_client_disabled(&self, client: &ClientId) -> bool {
        self.clients.contains(client)
    }

    /// Whether `subject` is disabled.
    pub fn is_subject_disabled(&self, subject: &Subject) -> bool {
        self.subjects.contains(&(subject.issuer_name.clone(), subject.sub.clone()))
    }
}
