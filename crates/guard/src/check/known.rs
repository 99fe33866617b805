//! A token that the broker made, with all that it says: true for longer than a moment, so this alone may be remembered.

use std::sync::Arc;

use delegation::details::DetailTypes;
use delegation::token::{AccessClaims, AccessToken, Authentic, KeySet, Voucher};

use super::refusal::Refusal;

/// A token whose maker is known. Nothing of it has been compared with anything: when, where and for what it is shown is asked each time.
///
/// The token itself is not here: once it was read, its bytes and its JSON would only take room.
pub(crate) struct Known {
    said: Arc<AccessClaims>,
    voucher: Voucher,
    size: usize,
}

impl Known {
    /// Reads `token` as a guard does that knows these `types`, where chains have at most `max_chain` levels.
    pub(crate) fn read(token: &Authentic<AccessToken>, types: &DetailTypes, max_chain: usize) -> Result<Self, Refusal> {
        Ok(Self {
            said: Arc::new(token.says(types, max_chain)?),
            voucher: token.voucher(),
            size: token.size(),
        })
    }

    /// What it says.
    pub(crate) fn says(&self) -> &Arc<AccessClaims> {
        &self.said
    }

    /// Whether it may be relied on again under `keys`.
    pub(crate) fn holds_under(&self, keys: &KeySet) -> bool {
        self.voucher.holds_under(keys)
    }

    /// The bytes that it was read from.
    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

/// Without what it says.
impl std::fmt::Debug for Known {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Known").finish_non_exhaustive()
    }
}
