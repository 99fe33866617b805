//! What a task is opened with.

use std::path::PathBuf;

use clap::Args;
use delegation::oauth::{GrantType, TokenType};
use delegation::token::sha256;

use crate::cli::as_client::{AsClient, details};
use crate::cli::exchange::type_named;
use crate::config::Loaded;

/// What `task start` and `task run` share.
#[derive(Args, Debug)]
pub(super) struct OpenArgs {
    #[command(flatten)]
    pub(super) who: AsClient,
    /// An audience that tokens of the task may be for; may be repeated.
    #[arg(long = "audience")]
    pub(super) audiences: Vec<String>,
    /// Details in the short form, such as `ticket:read/42`; may be repeated.
    #[arg(long)]
    pub(super) details: Vec<String>,
    /// Scopes, with spaces between them.
    #[arg(long)]
    scope: Option<String>,
    /// What the task is for, in at most 200 characters.
    #[arg(long)]
    purpose: Option<String>,
    /// The client that redeems it; the one that asks by default.
    #[arg(long)]
    actor: Option<String>,
    /// How many tokens it gives.
    #[arg(long)]
    max_tokens: Option<u32>,
    /// For work that is done later: the task may end after the subject token.
    #[arg(long)]
    deferred: bool,
    /// The file that the task is bound to: every redemption names its SHA-256.
    #[arg(long)]
    payload: Option<PathBuf>,
    /// The life asked for, in seconds.
    #[arg(long)]
    expires_in: Option<u64>,
    /// The type of the subject token: access_token, id_token or jwt.
    #[arg(long, default_value = "access_token")]
    subject_token_type: String,
}

impl OpenArgs {
    /// The request that opens the task for `subject_token`.
    pub(super) fn form(
        &self,
        loaded: &Loaded,
        subject_token: String,
    ) -> Result<Vec<(&'static str, String)>, Box<dyn std::error::Error + Send + Sync>> {
        let kind = type_named(&self.subject_token_type).filter(|kind| !matches!(kind, TokenType::Task | TokenType::TxnToken));
        let kind = kind.ok_or("--subject-token-type: expected access_token, id_token or jwt")?;
        if self.audiences.is_empty() {
            return Err("name one --audience at least".into());
        }
        let mut form = vec![
            ("grant_type", GrantType::TokenExchange.as_str().to_owned()),
            ("requested_token_type", TokenType::Task.as_str().to_owned()),
            ("subject_token", subject_token),
            ("subject_token_type", kind.as_str().to_owned()),
        ];
        form.extend(self.audiences.iter().map(|audience| ("audience", audience.clone())));
        form.extend(details(&self.details, &loaded.snapshot.types)?.map(|text| ("authorization_details", text)));
        form.extend(self.scope.clone().map(|scope| ("scope", scope)));
        form.extend(self.purpose.clone().map(|purpose| ("purpose", purpose)));
        form.extend(self.actor.clone().map(|actor| ("actor", actor)));
        form.extend(self.max_tokens.map(|most| ("max_tokens", most.to_string())));
        form.extend(self.deferred.then(|| ("deferred", "true".to_owned())));
        form.extend(self.payload_sha256()?.map(|digest| ("payload_sha256", digest)));
        form.extend(self.expires_in.map(|seconds| ("expires_in", seconds.to_string())));
        Ok(form)
    }

    /// The SHA-256 of the payload, in lower-case hexadecimal.
    pub(super) fn payload_sha256(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.payload else { return Ok(None) };
        let bytes = std::fs::read(path).map_err(|error| format!("--payload `{}`: {error}", path.display()))?;
        Ok(Some(sha256(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}
