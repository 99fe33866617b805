//! The case that shows what a proposed rule does: refused before it is pasted as after, but by that rule only then.

use delegation::authority::atoms;
use delegation::details::{Detail, Standing};
use delegation::identity::{Attributes, OUR_NAME, Subject, SubjectKind};
use delegation::oauth::{ClientId, Scope};
use delegation::registry::Snapshot;
use issuance::policy::{Answer, Because, ClientFacts, Inquiry, Policy as _, Question, SubjectFacts};
use policy_cedar::CedarPolicy;

use super::mend::quoted;

/// Whom the case is about: nobody in particular.
const ANYBODY: &str = "anybody";

/// What a case asks for.
pub(super) enum Asks {
    /// A detail in the short form, of one action.
    Detail(String),
    /// The same for a later hop.
    Onward(String),
    Scope(String),
}

/// One case, in the words of a `NAME.cases.toml`.
pub(super) struct Case<'c> {
    pub(super) name: String,
    pub(super) client: &'c str,
    pub(super) audience: &'c str,
    pub(super) asks: &'c Asks,
}

impl Case<'_> {
    /// Its text, for a forbid called `id` beside the rules of `policy`. A case names every rule that decides, so those forbids that are in
    /// force and fire for it are named too.
    pub(super) fn text(&self, id: &str, snapshot: &Snapshot, policy: &CedarPolicy) -> String {
        let subject = subject(snapshot);
        let mut rules = self.inquiry(subject.clone(), snapshot).map(|inquiry| forbids(policy, &inquiry)).unwrap_or_default();
        rules.push(id.to_owned());
        // As the engine names them.
        rules.sort();
        let (member, asked) = match self.asks {
            Asks::Detail(short) => ("details ", short),
            Asks::Onward(short) => ("onward  ", short),
            Asks::Scope(name) => ("scope   ", name),
        };
        let rules: Vec<_> = rules.iter().map(|rule| quoted(rule)).collect();
        format!(
            "[[case]]\nname     = {}\nclient   = {}\nsubject  = {}\naudience = {}\n{member} = [{}]\nexpect   = \"deny\"\nrules    = [{}]",
            quoted(&self.name),
            quoted(self.client),
            quoted(&format!("{}|{}", subject.subject.issuer_name, subject.subject.sub)),
            quoted(self.audience),
            quoted(asked),
            rules.join(", "),
        )
    }

    /// What `policy test` makes of it; nothing where the client is not known any more.
    fn inquiry(&self, subject: SubjectFacts, snapshot: &Snapshot) -> Option<Inquiry> {
        let client = snapshot.clients.get(&ClientId::parse(self.client).ok()?)?;
        let question = match self.asks {
            Asks::Scope(name) => Question::Scope(Scope::parse(name).ok()?),
            Asks::Detail(short) | Asks::Onward(short) => {
                let detail = Detail::parse_short(short, &snapshot.types, Standing::Asked).ok()?;
                let atom = atoms(std::slice::from_ref(&detail)).next()?;
                Question::Detail {
                    detail: atom.detail.clone(),
                    action: atom.action.to_owned(),
                    onward: matches!(self.asks, Asks::Onward(_)),
                }
            }
        };
        Some(Inquiry {
            questions: vec![question],
            ..Inquiry::plain(ClientFacts::from(client), subject, self.audience.to_owned())
        })
    }
}

/// Somebody of the first issuer.
fn subject(snapshot: &Snapshot) -> SubjectFacts {
    let issuer = snapshot.issuers.values().next();
    SubjectFacts {
        subject: Subject {
            issuer_name: issuer.map_or(OUR_NAME, |issuer| &issuer.name).to_owned(),
            iss: issuer.map(|issuer| issuer.issuer.clone()).unwrap_or_default(),
            sub: ANYBODY.to_owned(),
        },
        kind: issuer.map_or(SubjectKind::Workload, |issuer| issuer.subject),
        attributes: Attributes::default(),
        risk: None,
    }
}

/// The plain forbids that fire: with another beside them they fire still, where permits and holds are not named any more.
fn forbids(policy: &CedarPolicy, inquiry: &Inquiry) -> Vec<String> {
    let verdict = policy.ask(inquiry);
    match verdict.answer {
        Answer::Deny {
            because: Because::Forbid, ..
        } => verdict.rules,
        Answer::Allow | Answer::Deny { .. } => Vec::new(),
    }
}
