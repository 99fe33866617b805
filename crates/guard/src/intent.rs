//! What one request needs.

use std::collections::BTreeSet;
use std::time::Duration;

use delegation::authority::Authority;
use delegation::details::Detail;
use delegation::identity::Attributes;
use delegation::oauth::{AudienceId, Scope};

use crate::call::Call;
use crate::hygiene::Malformed;
use crate::hygiene::method::refuse_another;
use crate::route::values::{FillError, Values};
use crate::route::{Matched, Mode, Rule, Upgrade};

/// What one request needs before it goes on.
#[derive(Clone, Debug)]
pub enum Intent {
    /// No token; no identity goes on.
    Public,
    /// A token that allows exactly this.
    Needs(Box<Needs>),
}

/// The authority that a request needs, and how it is served.
#[derive(Clone, Debug)]
pub struct Needs {
    /// The name of the service.
    pub service: String,
    /// The name of the route.
    pub route: String,
    /// Whom the token is for.
    pub audience: AudienceId,
    /// What it must be for: one detail, or none where a scope is enough.
    pub details: Vec<Detail>,
    /// What is needed at later hops.
    pub onward: Vec<Detail>,
    /// The scopes it must have.
    pub scopes: BTreeSet<Scope>,
    /// The longest time since the person signed in (RFC 9470).
    pub max_auth_age: Option<Duration>,
    /// How the person must have signed in (RFC 9470).
    pub acr: Option<String>,
    /// The upstream credential that the request is sent on with.
    pub connection: Option<String>,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// The protocol that the connection may change to.
    pub upgrade: Option<Upgrade>,
    /// The largest body, in bytes.
    pub body_max: Option<usize>,
    /// Whether the route itself says to observe or enforce.
    pub mode: Option<Mode>,
    /// Constraints that a token may bound less than this request needs.
    pub wider: BTreeSet<String>,
}

/// Why no token would be enough.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No route of any service is for this request.
    #[error("no route is for this request")]
    NoRoute,
    /// It can be read in two ways.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A program that reads less strictly takes it for another route first, which asks for something else.
    #[error("`{own}` is for it, and a less strict reader takes it for `{other}`, which asks for something else")]
    Resembles {
        /// The route that it is for as it is.
        own: String,
        /// The other.
        other: String,
    },
    /// It says something that the route does not read, where it reads.
    #[error("`{0}` is not read here, and may change what the request means")]
    Unread(String),
    /// The route reads the body, and the door cannot show it whole.
    #[error("the body is read here, and this front door does not show it whole")]
    Hidden,
    /// Its values make no detail.
    #[error("{0}")]
    Details(FillError),
    /// The subject lacks an attribute that the detail is made of, or has one that does not fit there.
    #[error("the subject has no such attribute `{0}`")]
    Attribute(String),
}

impl Needs {
    /// Details and scopes together.
    pub(crate) fn authority(&self) -> Authority {
        Authority {
            details: self.details.clone(),
            scopes: self.scopes.clone(),
        }
    }
}

impl Refused {
    /// The reason on the wire and in records.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::Malformed(_) | Self::Resembles { .. } => "malformed_request",
            Self::Unread(_) | Self::Hidden => "unread_input",
            Self::Details(_) => "malformed_details",
            Self::Attribute(_) => "wider_than_subject",
        }
    }
}

impl From<FillError> for Refused {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Attribute(name) => Self::Attribute(name),
            FillError::Blank(_) => Self::Malformed(Malformed("a value that is read here begins or ends with a blank")),
            error => Self::Details(error),
        }
    }
}

impl Matched<'_> {
    /// What `call`, which this is the route of, needs of a token whose subject has `attributes`.
    pub fn intent(&self, call: &Call, attributes: &Attributes) -> Result<Intent, Refused> {
        let path = self.route().pattern().capture(call.method().as_str(), call.path());
        // Nobody can ask with a call that another route is for.
        let path = path.ok_or(Refused::NoRoute)?;
        refuse_another(call, |name| self.route().reading().reads_query(name))?;
        let Rule::Needs(demand) = self.route().rule() else {
            return Ok(Intent::Public);
        };
        let read = self.route().reading().read(call)?;
        let values = Values {
            path,
            query: read.query,
            host: call.host().name(),
            object: read.body.as_ref(),
            attributes,
        };
        let details = demand
            .detail
            .iter()
            .map(|template| template.fill(&values, self.types()))
            .collect::<Result<_, _>>()?;
        let onward = demand
            .onward
            .iter()
            .map(|template| template.fill(&values, self.types()))
            .collect::<Result<_, _>>()?;
        Ok(Intent::Needs(Box::new(Needs {
            service: self.service().name.clone(),
            route: self.route().name().to_owned(),
            // A table without an audience for this route is not built.
            audience: self.service().audience.clone().ok_or(Refused::NoRoute)?,
            details,
            onward,
            scopes: demand.scope.iter().cloned().collect(),
            max_auth_age: demand.max_auth_age,
            acr: demand.acr.clone(),
            connection: demand.connection.clone(),
            stream: demand.stream,
            upgrade: demand.upgrade,
            body_max: demand.body_max,
            mode: demand.mode,
            wider: demand.wider.clone(),
        })))
    }
}
