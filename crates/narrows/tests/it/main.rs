//! The program as people run it, and rules about the code that the compiler does not know.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod architecture;
mod attacks;
mod boundary;
mod configuration;
mod corp;
mod demo;
mod documentation;
mod echo;
mod every_key;
mod ext_authz;
mod id_jag;
mod inspect;
mod inspected;
mod leak;
mod leak_rules;
mod mistakes;
mod observe;
mod overlay;
mod policies;
mod program;
mod reload;
mod routes_learn;
mod run;
mod secured;
mod security_checks;
mod served;
mod shown;
mod snippet;
mod store_address;
mod task;
mod why;
