//! A question without a token: what would be decided, for somebody who enforces it.
//!
//! The rules are those of an exchange, all but what only a token can show: to whom it is addressed, and what it holds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use delegation::details::DetailTypes;
use delegation::identity::{OUR_NAME, SubjectKind};
use delegation::oauth::{AskedPart, ClientId, GrantType, Reason, Scope};
use delegation::registry::{Audience, Client, Moment, Snapshot};
use delegation::revocation::Line;
use delegation::token::{StatedSubject, TokenError, refuse_ended};
use serde_json::{Map, Value};

use crate::audit::{Entry, Record, Use};
use crate::exchange::{asked, lifetime, questions, under};
use crate::policy::{ClientFacts, Inquiry, Proposal, Question, SubjectFacts};

/// The identifier that stands for none.
const EVERY: &str = "*";

/// What is stated, by somebody who is believed because nothing comes of it but an answer to them.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Whom it is about.
    pub subject: StatedParty,
    /// What would be asked for.
    pub about: About,
    /// All the rest.
    pub circumstances: StatedCircumstances,
}

/// What would be asked for.
#[derive(Clone, Debug)]
pub enum About {
    /// One action, in AuthZEN's words.
    Action(StatedAction),
    /// What a request for a token would say.
    Request(StatedRequest),
}

/// One action of one resource.
#[derive(Clone, Debug)]
pub struct StatedAction {
    /// One action of the detail type.
    pub action: String,
    /// Values of constraints, by what the action says of itself.
    pub action_properties: Map<String, Value>,
    /// The detail type.
    pub kind: String,
    /// The identifier, or `*` for none.
    pub identifier: String,
    /// Values of constraints, by what the resource says of itself.
    pub resource_properties: Map<String, Value>,
    /// The audience; without, the only one that understands the type and is open to the client.
    pub audience: Option<String>,
}

/// The parameters of a request for a token.
#[derive(Clone, Debug)]
pub struct StatedRequest {
    /// `audience`.
    pub audience: String,
    /// `authorization_details`, not parsed yet.
    pub details: Option<String>,
    /// `onward`, not parsed yet.
    pub onward: Option<String>,
    /// The scopes.
    pub scopes: BTreeSet<Scope>,
}

/// A subject as it is stated.
#[derive(Clone, Debug)]
pub struct StatedParty {
    /// `user` or `workload`.
    pub kind: String,
    /// Its `sub` in our tokens; in those of `issuer`, if that is named.
    pub id: String,
    /// The name or identifier of its issuer.
    pub issuer: Option<String>,
    /// Its attributes, as claims of its issuer.
    pub properties: Map<String, Value>,
}

/// What policy calls the circumstances, where a door cannot see them itself.
#[derive(Clone, Debug, Default)]
pub struct StatedCircumstances {
    /// The requester's address.
    pub client_ip: Option<IpAddr>,
    /// The clients that acted before, newest first.
    pub chain: Vec<ClientId>,
    /// The outside client that the subject's token was issued to.
    pub requested_by: Option<String>,
    /// How the subject authenticated.
    pub acr: Option<String>,
    /// Seconds since the subject authenticated.
    pub auth_age_seconds: Option<i64>,
    /// Seconds since the subject's attributes were read.
    pub subject_age_seconds: i64,
    /// The life that would be asked for, in seconds.
    pub expires_in: Option<u64>,
}

/// A question, understood, and not decided yet. Nothing can be minted of it.
#[derive(Clone, Debug)]
pub struct Evaluation {
    inquiry: Inquiry,
}

/// Why a question does not come to policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAsked {
    /// Why, for the record and for operators.
    pub reason: Reason,
    /// What a client is told. Whether there is a subject that it is not itself, and whether that is disabled or revoked, is not its to
    /// know: what stands against such a one looks like a refusal of policy.
    pub told: Reason,
    /// What policy would have been asked, where it looks as if it had refused; otherwise nothing.
    pub questions: Vec<Question>,
}

impl NotAsked {
    /// `reason` stands against a subject that the client is not itself; the rest of its question was `understood` so far.
    fn about_another<T>(reason: Reason, understood: &Result<(T, Vec<Question>), Reason>) -> Self {
        let (told, questions) = match understood {
            Ok((_, questions)) => (Reason::PolicyDenied, questions.clone()),
            Err(reason) => (*reason, Vec::new()),
        };
        Self { reason, told, questions }
    }
}

impl From<Reason> for NotAsked {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            told: reason,
            questions: Vec::new(),
        }
    }
}

impl Evaluation {
    /// Proposes what `stated` says for a decision about `client`, by the steps and for the reasons of an exchange, of which a client is
    /// not told each.
    ///
    /// What becomes known goes into `record`, so that a refusal at any step says as much as was known. Nothing is allowed yet;
    /// see [`decide`](crate::policy::decide).
    pub fn propose(moment: &Moment, client: &ClientId, stated: &Statement, record: &mut Record) -> Result<Self, NotAsked> {
        let (snapshot, circumstances) = (&*moment.snapshot, &stated.circumstances);
        // 1. Client: in good standing, and with a grant for such a subject.
        let client = in_standing(moment, client)?;
        let party = &stated.subject;
        let subject = SubjectKind::parse(&party.kind)
            .and_then(|kind| StatedSubject::read(snapshot, kind, &party.id, party.issuer.as_deref(), &party.properties).ok());
        let is_own = |subject: &StatedSubject| subject.subject.issuer_name == OUR_NAME && subject.subject.sub == client.id.as_str();
        let is_own = subject.as_ref().is_some_and(is_own);
        let is_itself = is_own && circumstances.chain.is_empty();
        let grants: &[_] = if is_itself {
            &[GrantType::ClientCredentials]
        } else {
            &[GrantType::TokenExchange, GrantType::JwtBearer]
        };
        if !grants.iter().any(|grant| client.grants.contains(grant)) {
            return Err(Reason::UnauthorizedClient.into());
        }

        // 2. Subject: there is one, and a token that was issued for it now would be alive.
        record.subject = subject.as_ref().map(|subject| subject.subject.clone());
        let subject = subject.ok_or(Reason::SubjectTokenInvalid).and_then(|subject| alive(moment, client, subject));

        // 3. Target, details and chain, whoever the subject is: what is wrong there is said alike of one that there is and of none.
        let understood = understand(moment, client, stated, is_itself, record);
        let subject = subject.map_err(|reason| {
            if is_own {
                reason.into()
            } else {
                NotAsked::about_another(reason, &understood)
            }
        })?;
        let (audience, questions) = understood?;

        // 4. Lifetime.
        let expires_at = lifetime::expiry(moment, audience, circumstances.expires_in, None, false);

        // 5. What policy will be told.
        let inquiry = Inquiry {
            client: ClientFacts::from(client),
            subject: SubjectFacts {
                risk: moment.revocations.risk(&subject.subject),
                subject: subject.subject,
                kind: subject.kind,
                attributes: subject.attributes,
            },
            audience: audience.id.to_string(),
            now_millis: moment.now.millis(),
            expires_in: expires_at.seconds() - moment.now.seconds(),
            subject_age_seconds: circumstances.subject_age_seconds,
            requested_by: circumstances.requested_by.clone(),
            chain: circumstances.chain.clone(),
            client_ip: circumstances.client_ip,
            sender_constrained: false,
            auth_age_seconds: circumstances.auth_age_seconds,
            acr: circumstances.acr.clone(),
            task: None,
            questions,
        };
        record.expires_in = Some(inquiry.expires_in);
        record.inputs = under(None, std::slice::from_ref(&inquiry));
        Ok(Self { inquiry })
    }

    /// What policy will be told.
    pub fn inquiry(&self) -> &Inquiry {
        &self.inquiry
    }
}

impl Proposal for Evaluation {
    fn inquiries(&self) -> &[Inquiry] {
        std::slice::from_ref(&self.inquiry)
    }

    fn uses(&self) -> &[Use] {
        &[]
    }

    fn entry(&self, record: Record) -> Entry {
        Entry::of(record)
    }
}

/// The entry of `client`, if it could authenticate now.
fn in_standing<'m>(moment: &'m Moment, client: &ClientId) -> Result<&'m Client, Reason> {
    let known = moment.snapshot.clients.get(client).filter(|known| {
        let has_ended = known.ends.is_some_and(|end| moment.now >= end);
        !has_ended && !moment.revocations.is_client_disabled(client)
    });
    known.ok_or(Reason::ClientAuthenticationFailed)
}

/// The subject, if a token that was issued for it now would be alive.
fn alive(moment: &Moment, client: &Client, stated: StatedSubject) -> Result<StatedSubject, Reason> {
    let line = Line {
        chain: &[],
        txn: None,
        task: None,
        subject: &stated.subject,
        client: Some(client.id.as_str()),
        act: None,
        iat: moment.now,
    };
    match refuse_ended(&line, &moment.revocations) {
        Ok(()) => Ok(stated),
        Err(TokenError::SubjectDisabled) => Err(Reason::SubjectDisabled),
        Err(_) => Err(Reason::SubjectTokenRevoked),
    }
}

/// What is asked for, and what policy would be asked of it. The client would come last in the chain, unless it asks for itself.
fn understand<'m>(
    moment: &'m Moment,
    client: &Client,
    stated: &Statement,
    is_itself: bool,
    record: &mut Record,
) -> Result<(&'m Audience, Vec<Question>), Reason> {
    let (snapshot, circumstances) = (&*moment.snapshot, &stated.circumstances);
    let asked = match &stated.about {
        About::Action(action) => AskedPart {
            targets: vec![audience(snapshot, client, action)?],
            scopes: BTreeSet::new(),
            details: Some(detail(&snapshot.types, action)?.to_string()),
            onward: None,
            requested: None,
            expires_in: circumstances.expires_in,
        },
        About::Request(request) => AskedPart {
            targets: vec![request.audience.clone()],
            scopes: request.scopes.clone(),
            details: request.details.clone(),
            onward: request.onward.clone(),
            requested: None,
            expires_in: circumstances.expires_in,
        },
    };
    let (audience, authority, onward) = asked::understand(moment, &client.id, &asked, record)?;
    if !is_itself && circumstances.chain.len() >= snapshot.max_chain {
        return Err(Reason::ChainTooLong);
    }
    Ok((audience, questions(&authority, &onward)?))
}

/// The audience that is stated, or the only one that it can be.
fn audience(snapshot: &Snapshot, client: &Client, stated: &StatedAction) -> Result<String, Reason> {
    if let Some(audience) = &stated.audience {
        return Ok(audience.clone());
    }
    let mut fits = snapshot.audiences.values().filter(|audience| {
        let is_open = audience.clients.as_ref().is_none_or(|clients| clients.contains(&client.id));
        is_open && audience.detail_types.contains(&stated.kind)
    });
    match (fits.next(), fits.next()) {
        (Some(only), None) => Ok(only.id.to_string()),
        (Some(_), Some(_)) => Err(Reason::SeveralAudiences),
        (None, _) if snapshot.types.get(&stated.kind).is_none() => Err(Reason::UnknownType),
        (None, _) => Err(Reason::UnknownAudience),
    }
}

/// The detail that is asked about, as a client would write it.
///
/// Of the properties only the action's constraints mean anything. One that is not stated is not bounded, so that policy is asked
/// about more and never about less.
fn detail(types: &DetailTypes, stated: &StatedAction) -> Result<Value, Reason> {
    let mut members = Map::new();
    let rule = types.get(&stated.kind).and_then(|declared| declared.actions.get(&stated.action));
    for name in rule.into_iter().flat_map(|rule| &rule.constraints) {
        let of_resource = stated.resource_properties.get(name);
        match (of_resource, stated.action_properties.get(name)) {
            (Some(one), Some(other)) if one != other => return Err(Reason::MalformedDetails),
            (Some(value), _) | (None, Some(value)) => {
                members.insert(name.clone(), value.clone());
            }
            (None, None) => {}
        }
    }
    members.insert("type".to_owned(), Value::from(stated.kind.as_str()));
    members.insert("actions".to_owned(), Value::from(vec![stated.action.as_str()]));
    if stated.identifier != EVERY {
        members.insert("identifier".to_owned(), Value::from(stated.identifier.as_str()));
    }
    Ok(Value::from(vec![Value::Object(members)]))
}
