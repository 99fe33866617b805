//! What an issuer answered about an opaque token, for the rest of the request that showed it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fetch::Introspection;

use crate::remembered::Digest;

/// How long after it was asked for an answer is still one of now. A request whose body took longer has its issuer asked again.
const HOLDS: Duration = Duration::from_secs(1);

/// An answer about one token. It goes along with one request, which may be looked at more than once, and with no other.
#[derive(Clone)]
pub(crate) struct Answer {
    /// Whose it is.
    issuer: String,
    /// What it is about.
    token: Digest,
    asked: Instant,
    reply: Arc<[u8]>,
}

impl Answer {
    /// What `issuer` said of `token`, for which it was asked at `asked`.
    pub(super) fn new(issuer: &Introspection, token: Digest, asked: Instant, reply: Vec<u8>) -> Self {
        Self {
            issuer: issuer.issuer.clone(),
            token,
            asked,
            reply: reply.into(),
        }
    }

    /// The reply, if `issuer` has just given it, about `token`.
    pub(super) fn of(&self, issuer: &Introspection, token: &Digest, now: Instant) -> Option<Arc<[u8]>> {
        let is_it = self.issuer == issuer.issuer && self.token == *token;
        (is_it && now.duration_since(self.asked) < HOLDS).then(|| self.reply())
    }

    pub(super) fn reply(&self) -> Arc<[u8]> {
        Arc::clone(&self.reply)
    }
}

/// Without what was said.
impl std::fmt::Debug for Answer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Answer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::{Duration, Instant};

    use fetch::Introspection;

    use super::{Answer, HOLDS};
    use crate::remembered::Digest;

    fn issuer(name: &str) -> Introspection {
        Introspection {
            name: "corp".to_owned(),
            issuer: format!("https://{name}.example"),
            url: "https://corp.example/introspect".parse().unwrap(),
            client_id: "narrows".to_owned(),
            client_secret: "secret".to_owned(),
        }
    }

    #[test]
    fn an_answer_is_of_one_issuer_about_one_token_and_for_a_second() {
        let (corp, token, asked) = (issuer("corp"), Digest::of("token"), Instant::now());
        let answer = Answer::new(&corp, token, asked, b"{}".to_vec());
        assert_eq!(answer.of(&corp, &token, asked).as_deref(), Some(&b"{}"[..]));
        assert!(answer.of(&corp, &token, asked + HOLDS - Duration::from_millis(1)).is_some());
        assert!(answer.of(&corp, &token, asked + HOLDS).is_none());
        assert!(answer.of(&issuer("other"), &token, asked).is_none());
        assert!(answer.of(&corp, &Digest::of("another"), asked).is_none());
    }
}
