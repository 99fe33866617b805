//! What is known of revocations, and since when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use delegation::revocation::{Disabled, Revoked, View};
use tokio::time::Instant;

/// The view that is in force. It is replaced whole where the feed had to begin anew, and never by an emptier one.
#[derive(Debug, Default)]
pub(super) struct Followed {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    view: Arc<View>,
    /// When the broker said last that everything up to then was told; nothing before it ever did.
    heard: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            view: Arc::new(View::default()),
            heard: None,
        }
    }
}

impl Followed {
    /// The view, and its age. Before it was ever complete it is as old as can be.
    pub(super) fn view(&self) -> (Arc<View>, Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let age = state.heard.map_or(Duration::MAX, |heard| heard.elapsed());
        (Arc::clone(&state.view), age)
    }

    /// Everything that the broker had acknowledged at `then` is in `revoked` and `disabled`.
    pub(super) fn is_complete(&self, revoked: &Arc<Revoked>, disabled: &Arc<Disabled>, then: Instant) {
        let view = View::default().beside(Arc::clone(revoked)).with_disabled(Arc::clone(disabled));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.view = Arc::new(view);
        state.heard = Some(then);
    }
    /// Those are disabled from now on. It says nothing of what was revoked, so the view gets no younger.
    pub(super) fn disabled(&self, disabled: &Arc<Disabled>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.view = Arc::new(View::clone(&state.view).with_disabled(Arc::clone(disabled)));
    }
}
