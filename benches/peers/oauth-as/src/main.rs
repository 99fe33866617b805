//! The crate `oauth-as` as a server: `peer-oauth-as PORT FOLDER`.
//!
//! One client, `edge`, that authenticates with the key in `FOLDER/edge.jwks.json` and exchanges for one audience. ES256
//! access tokens, everything in memory, nothing swept, no policy asked and nothing recorded. It takes only its own access
//! tokens as subject tokens, so the client first gets them from it by client credentials.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use oauth_as::client_assertion::AssertionKeys;
use oauth_as::http::ServiceBuilder;
use oauth_as::jwt::{AccessTokenFormat, EcdsaP256Key, Jwk, JwsAlg, JwtConfig};
use oauth_as::{AuthorizationServer, Client, ClientAuth, ClientId, GrantType, MemoryStorage, ScopeSet, ServerConfig};

const AUDIENCE: &str = "https://orders.internal";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, port, folder] = arguments.as_slice() else {
        return Err("usage: peer-oauth-as PORT FOLDER".into());
    };
    let issuer = format!("http://127.0.0.1:{port}");
    let mut config = ServerConfig::new(issuer.as_str(), format!("{issuer}/device"));
    config.token_endpoint = Some(format!("{issuer}/oauth2/token"));
    config.allowed_resources = Some([AUDIENCE.into()].into());
    config.access_token_ttl = Duration::from_secs(3600);
    config.access_token_format = AccessTokenFormat::Jwt(Box::new(JwtConfig::new(EcdsaP256Key::generate("k"), AUDIENCE)));
    let server = AuthorizationServer::new(config, MemoryStorage::new());
    server.register_client(edge(folder)?).await?;
    let service = ServiceBuilder::new(Arc::new(server))
        .dangerously_disable_verification_protections()
        .build()
        .map_err(|why| format!("{why:?}"))?;
    let routes = Router::from(service).route("/readyz", get(|| async { "ready" }));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    axum::serve(listener, routes).await?;
    Ok(())
}

fn edge(folder: &str) -> Result<Client, Box<dyn Error>> {
    let jwks: serde_json::Value = serde_json::from_slice(&std::fs::read(format!("{folder}/edge.jwks.json"))?)?;
    let key = jwks.pointer("/keys/0").ok_or("no key")?;
    let scopes = ScopeSet::parse("shop").map_err(|why| format!("{why:?}"))?;
    Ok(Client {
        client_id: ClientId::new("edge"),
        auth: ClientAuth::ConfidentialAssertion {
            keys: AssertionKeys::PublicKeys {
                alg: JwsAlg::Es256,
                keys: vec![Jwk::from_json(key).map_err(|why| format!("{why:?}"))?],
            },
        },
        grant_types: vec![GrantType::ClientCredentials, GrantType::TokenExchange],
        redirect_uris: Vec::new(),
        allowed_scopes: scopes.clone(),
        default_scopes: scopes,
        name: None,
        registration: None,
    })
}
