//! A route as the configuration has it: a key, and what it needs.

use delegation::details::DetailTypes;

use super::pattern::{Pattern, PatternError};
use super::template::{Template, TemplateError};
use super::values::Reads;
use super::{Demand, Route, Rule};

/// What stands for a route that needs nothing.
const PUBLIC: &str = "public";

/// Why two texts are no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The key is no pattern.
    #[error("route `{key}`: {why}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: PatternError,
    },
    /// What it needs is no detail.
    #[error("route `{key}`: {why}")]
    Needs {
        /// The key.
        key: String,
        /// What is wrong with what it needs.
        why: TemplateError,
    },
}

impl Route {
    /// The route `"GET /tickets/{id}" = "ticket:read/{id}"`, or one that is `"public"`.
    ///
    /// ```
    /// use narrows_guard::delegation::details::DetailTypes;
    /// use narrows_guard::route::Route;
    /// let types = DetailTypes::default();
    /// assert!(Route::written("GET /healthz", "public", &types).is_ok());
    /// assert!(Route::written("GET /tickets/{id}", "ticket:read/{id}", &types).is_err(), "no such type is declared");
    /// ```
    pub fn written(key: &str, needs: &str, types: &DetailTypes) -> Result<Self, RouteError> {
        let named = key.to_owned();
        let pattern = Pattern::parse(key).map_err(|why| RouteError::Key { key: key.to_owned(), why })?;
        if needs == PUBLIC {
            return Ok(Self::new(named, pattern, Rule::Public));
        }
        let detail = Template::parse(needs, types, &Reads::Request(pattern.variables()));
        let demand = Demand {
            detail: Some(detail.map_err(|why| RouteError::Needs { key: key.to_owned(), why })?),
            ..Demand::default()
        };
        Ok(Self::new(named, pattern, Rule::Needs(Box::new(demand))))
    }
}
