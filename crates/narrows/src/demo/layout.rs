//! The files of the demo's installation.

use super::Failure;
use crate::assertion::ClientKey;
use crate::cli::init::{self, NewFile};

const CONFIG: &str = include_str!("layout/narrows.toml");
/// The rules of the scenes, which lie where people look for them.
const RULES: &str = include_str!("../../../../policies/shop.cedar");
const TASK_CASES: &str = include_str!("../../../../policies/tasks.cases.toml");
const TASK_RULES: &str = include_str!("../../../../policies/tasks.cedar");
/// What the rules must say.
const CASES: &str = include_str!("../../../../policies/shop.cases.toml");

/// Where everything of the installation is.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The broker.
    pub(crate) listen: String,
    /// The sample identity provider's identifier.
    pub(crate) provider: String,
    /// The order service.
    pub(crate) orders: String,
    /// The ticket service.
    pub(crate) tickets: String,
    /// The boundary.
    pub(crate) front: String,
    /// The boundary between orders and tickets.
    pub(crate) mesh: String,
    /// The customer accounts, of which the backend is an old one.
    pub(crate) crm: String,
    /// The guard before orders.
    pub(crate) orders_guard: String,
    /// The guard before the customer accounts.
    pub(crate) crm_guard: String,
}

impl Places {
    /// Where they are if nothing else is said.
    pub(crate) fn usual() -> Self {
        Self {
            listen: "127.0.0.1:8420".to_owned(),
            provider: "http://127.0.0.1:8421".to_owned(),
            orders: "127.0.0.1:8422".to_owned(),
            tickets: "127.0.0.1:8423".to_owned(),
            front: "127.0.0.1:8430".to_owned(),
            mesh: "127.0.0.1:8433".to_owned(),
            crm: "127.0.0.1:8424".to_owned(),
            orders_guard: "127.0.0.1:8440".to_owned(),
            crm_guard: "127.0.0.1:8441".to_owned(),
        }
    }

    /// The broker's identifier.
    pub(crate) fn issuer(&self) -> String {
        format!("http://{}", self.listen)
    }
}

/// Every file of the installation, with fresh keys.
pub(crate) fn files(places: &Places) -> Result<Vec<NewFile>, Failure> {
    let named = [
        ("@ISSUER@", &places.issuer()),
        ("@PROVIDER@", &places.provider),
        ("@LISTEN@", &places.listen),
        ("@ORDERS@", &places.orders),
        ("@TICKETS@", &places.tickets),
        ("@FRONT@", &places.front),
        ("@MESH@", &places.mesh),
        ("@CRM@", &places.crm),
        ("@ORDERS_GUARD@", &places.orders_guard),
        ("@CRM_GUARD@", &places.crm_guard),
    ];
    let config = named.into_iter().fold(CONFIG.to_owned(), |text, (name, place)| text.replace(name, place));
    let mut files = vec![
        NewFile::open("narrows.toml", config),
        NewFile::secret("narrows.key", init::key_file()?),
        NewFile::open("policies/shop.cedar", RULES.to_owned()),
        NewFile::open("policies/tasks.cedar", TASK_RULES.to_owned()),
        NewFile::open("policies/shop.cases.toml", CASES.to_owned()),
        NewFile::open("policies/tasks.cases.toml", TASK_CASES.to_owned()),
    ];
    for client in [
        "edge",
        "orders",
        "agent",
        "worker",
        "deploy",
        "support-bot",
        "guard-orders",
        "guard-crm",
    ] {
        let (key, pem) = ClientKey::generate()?;
        files.push(NewFile::open(&format!("{client}.jwks.json"), format!("{}\n", key.jwks())));
        files.push(NewFile::secret(&format!("{client}.key"), pem));
    }
    Ok(files)
}
