//! The guards of a service, and what token each of them takes for a request.

use delegation::details::Detail;
use narrows_guard::Needs;
use narrows_guard::live::Recheck;
use narrows_guard::route::Table;
use narrows_guard::surplus::{Excess, Fixed, Required};
use serde_json::{Value, json};

use super::super::Failure;
use super::told::line;
use crate::config::{Loaded, Post};

/// All guards of one service: they go by the same routes.
pub(super) struct Guards<'l> {
    service: &'l str,
    table: Table,
    /// Those of the configuration; none where the service guards itself.
    posts: Vec<&'l Post>,
    /// Who guards it from within.
    within: Vec<&'l str>,
}

/// Every service that is guarded.
pub(super) fn all(loaded: &Loaded) -> Result<Vec<Guards<'_>>, Failure> {
    let mut all = Vec::new();
    for backend in &loaded.backends {
        let service = backend.service.name.as_str();
        let posts: Vec<_> = loaded.posts.iter().filter(|post| post.settings.service == service).collect();
        let guarded = loaded.guarded.get(service);
        let named = guarded.into_iter().flat_map(|guarded| guarded.clients.iter().map(|client| client.as_str()));
        let within: Vec<_> = if posts.is_empty() { named.collect() } else { Vec::new() };
        if posts.is_empty() && within.is_empty() {
            continue;
        }
        all.push(Guards {
            service,
            table: Table::build(vec![backend.service.clone()], loaded.snapshot.types.clone())?,
            posts,
            within,
        });
    }
    Ok(all)
}

impl Guards<'_> {
    pub(super) fn service(&self) -> &str {
        self.service
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// What the first one that takes a token for the request needs; nothing where every one has another value `fixed` than it names.
    pub(super) fn first_needed(&self, needs: &Needs) -> Option<Vec<Detail>> {
        if self.posts.is_empty() {
            return Some(needs.details.clone());
        }
        self.posts.iter().find_map(|post| self.needed(post, needs))
    }

    /// Each of them, with what it takes for a request that `needs` this.
    pub(super) fn tell(&self, needs: Option<&Needs>) {
        for client in &self.within {
            line("guard", format!("{client}, in the service"));
            if let Some(needs) = needs {
                needs.details.iter().for_each(|detail| line("needed", detail));
                line("excess", "what a token may hold beyond this its program says");
            }
        }
        for post in &self.posts {
            line("guard", format!("{} at {}", post.client, post.listen));
            let Some(needs) = needs else { continue };
            match self.needed(post, needs) {
                Some(details) => details.iter().for_each(|detail| line("needed", detail)),
                None => line("refused", format!("wider_than_subject: {ELSEWHERE}")),
            }
            line("excess", excess(post.excess, needs));
            if post.recheck == Recheck::Each {
                line("recheck", "policy is asked again for every request");
            }
        }
    }

    pub(super) fn to_json(&self, needs: Option<&Needs>) -> Value {
        let within = self.within.iter().map(|client| json!({ "client": client }));
        let posts = self.posts.iter().map(|post| {
            let mut told = json!({
                "client": post.client.as_str(), "listen": post.listen.to_string(), "excess": word(post.excess),
                "recheck": if post.recheck == Recheck::Each { "each" } else { "never" },
            });
            if let (Some(needs), Some(members)) = (needs, told.as_object_mut()) {
                let details = self.needed(post, needs);
                let details = details.map(|details| details.iter().map(ToString::to_string).collect::<Vec<_>>());
                members.insert("details".to_owned(), details.into());
            }
            told
        });
        Value::from_iter(within.chain(posts))
    }

    /// What a token must hold at `post`, with what is fixed there; nothing where the request is for somebody else.
    fn needed(&self, post: &Post, needs: &Needs) -> Option<Vec<Detail>> {
        let types = self.table.types();
        let fixed = Fixed::of(&post.fixed, types).ok()?;
        Some(Required::of(needs, &fixed, types).ok()?.authority().details)
    }
}

/// Why no token helps.
pub(super) const ELSEWHERE: &str = "the request names another value than is `fixed` here";

fn word(excess: Excess) -> &'static str {
    Excess::ALL.into_iter().find(|(_, each)| *each == excess).map_or("", |(word, _)| word)
}

/// What a token may hold beyond the request.
fn excess(excess: Excess, needs: &Needs) -> String {
    let more = match excess {
        Excess::None => "a token that holds anything else is refused",
        Excess::SameResource => "a token may allow other actions on the same resource, and is refused if it allows anything else",
        Excess::Any => "a token may allow anything else",
    };
    let wider: Vec<_> = needs.wider.iter().map(String::as_str).collect();
    let wider = if wider.is_empty() || excess != Excess::SameResource {
        String::new()
    } else {
        format!("; it may be wider in {}", wider.join(", "))
    };
    format!("{}: {more}{wider}", word(excess))
}
