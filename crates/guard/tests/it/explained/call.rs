use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use narrows_guard::check::At;
use narrows_guard::delegation::revocation::View;
use narrows_guard::{Body, Call, Clock, Guard};

/// What `GET /tickets/7` needs of whoever shows `token`, and what the token allows beside that.
fn explained(guard: &Guard, clock: &Clock, token: &str) -> Result<String, Box<dyn Error>> {
    let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?)]);
    let call = Call::parse("GET", b"tickets.internal", b"/tickets/7", &headers, Body::Absent)?;
    let at = At {
        now: clock.now(),
        // Of what is revoked it knows nothing, and takes that for what the broker has just said.
        view: Arc::new(View::default()),
        view_age: Duration::ZERO,
    };
    Ok(match guard.explain(&call, &headers, &at) {
        Ok(None) => "anybody may do this".to_owned(),
        Ok(Some(compared)) => compared.for_operator(),
        Err(refusal) => format!("nothing can be said: {}", refusal.reason.as_str()),
    })
}
