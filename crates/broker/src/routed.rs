//! The routes of the configuration in force: what a report of the past looks at, to say what is so today.

use std::collections::BTreeMap;
use std::sync::Arc;

use narrows_guard::route::Table;

/// Which routes there are.
#[derive(Debug, Default)]
pub struct Routed {
    /// Of each boundary, by its name: those of all its services.
    pub boundaries: BTreeMap<String, Arc<Table>>,
    /// Of each service, by its name: those that a guard of it goes by.
    pub services: BTreeMap<String, Table>,
}
