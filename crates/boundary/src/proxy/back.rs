//! The response, for as long as what the request went on with holds: without what is not for the caller.

use axum::body::Body as HttpBody;
use http::header::{TRAILER, WWW_AUTHENTICATE};
use http::{HeaderName, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::echo::{self, Shown};
use super::ends::{Ends, Over};
use super::failed::upstream_failed;
use super::{hop, trailers, upgrade};

/// What an upstream says about the token that it was shown, or wants (RFC 6750 §3, RFC 9449 §8, RFC 9110 §11.6.3).
pub(super) const OF_TOKENS: [HeaderName; 3] = [
    WWW_AUTHENTICATE,
    HeaderName::from_static("dpop-nonce"),
    HeaderName::from_static("authentication-info"),
];

/// What matters of the request when its response comes.
pub(super) struct Asked {
    /// Whether the upstream was shown a token that is none of the caller's.
    pub(super) is_minted: bool,
    /// The credential that it was shown.
    pub(super) shown: Option<Shown>,
    /// The caller's connection, where it asked for another protocol and may have it.
    pub(super) caller: Option<OnUpgrade>,
    /// Until when the response may take.
    pub(super) over: Over,
}

/// What the upstream answered, on its way to the caller.
pub(super) async fn back(response: Response<Incoming>, asked: Asked) -> Response<HttpBody> {
    let Asked {
        is_minted,
        shown,
        caller,
        over,
    } = asked;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match caller {
            Some(caller) => upgrade::join(response, caller, over),
            None => {
                tracing::warn!("the upstream changes to another protocol, for which nobody asked");
                upstream_failed(StatusCode::BAD_GATEWAY)
            }
        };
    }
    // Behind a body that is looked through for a credential there is nothing.
    let announced = match shown {
        None => trailers::announced(response.headers()),
        Some(_) => None,
    };
    let mut response = match shown {
        None => response.map(HttpBody::new),
        Some(Shown { credential, on_echo }) => match echo::cut(&credential, on_echo, response).await {
            Ok(response) => response.map(HttpBody::new),
            Err(unfit) => {
                let connection = credential.connection();
                tracing::error!(connection, ?unfit, "a response may hold the credential, and does not go on");
                return upstream_failed(StatusCode::BAD_GATEWAY);
            }
        },
    };
    hop::strip(response.headers_mut());
    if let Some(names) = announced {
        response.headers_mut().insert(TRAILER, names);
    }
    // What is said in our name, we say. And where the upstream was shown our token, nothing that it says of tokens is for the caller.
    let ours = |name: &&HeaderName| trailers::is_in_our_name(name) || (is_minted && OF_TOKENS.contains(name));
    let ours: Vec<_> = response.headers().keys().filter(ours).cloned().collect();
    for name in ours {
        response.headers_mut().remove(name);
    }
    let (parts, body) = response.into_parts();
    let body = Ends::response(body, over);
    Response::from_parts(parts, HttpBody::new(body))
}
