//! Tasks: authority that hangs from one purpose, is redeemed token by token, and ends.
//!
//! A task token says nothing and is worth nothing by itself. What it stands for is kept here, [`KeptTask`]; opening one is
//! proposed, decided and recorded like an exchange ([`Opening`]), and redeeming one is an exchange, in which everything is
//! decided again ([`OpenTask`]).

mod kept;
mod open;
mod opening;

pub use kept::{KeptTask, Over, Slot, Status, TaskChange};
pub use open::OpenTask;
pub use opening::{FreshTask, Opened, Opening, mint_task};
