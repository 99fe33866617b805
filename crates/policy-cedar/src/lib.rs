//! Cedar as the policy engine.
//!
//! The schema is generated from the configuration, policies are validated strictly when they are loaded, and an
//! index hands the engine only the policies whose scope can name this request.

mod absent;
mod engine;
#[cfg(test)]
mod equivalence;
mod explain;
mod index;
mod lint;
mod load;
mod members;
mod reads;
mod schema;
mod scope;
mod statements;
mod terms;

pub use engine::CedarPolicy;
pub use explain::{Explanation, NearMiss, QuestionExplanation, RuleRef};
pub use load::{LoadError, PolicyFile};
pub use schema::{SchemaError, cedar_schema, is_detail_entity};
