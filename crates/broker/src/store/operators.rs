//! Operators: added and removed with their record, known by the digest of their token.

use std::collections::{BTreeMap, BTreeSet};

use delegation::time::Timestamp;
use issuance::audit::Record;

use super::{Row, Store, StoreUnavailable, sql};
use crate::operator::{Operator, OperatorName, Role};

/// Operators by the SHA-256 of their token.
pub(crate) type OperatorsByToken = BTreeMap<[u8; 32], Operator>;

impl Store {
    /// Adds `operator`, whose token has this digest, with the record of it; `false` if the name is taken, and nothing happened.
    pub async fn add_operator(&self, operator: &Operator, token: &[u8; 32], record: &Record) -> Result<bool, StoreUnavailable> {
        let roles: Vec<_> = operator.roles.iter().map(|role| role.as_str()).collect();
        let (iss, sub) = operator.subject.clone().unzip();
        let insert = sql("INSERT INTO operators (name, token, roles, iss, sub, added_at)").row([
            operator.name.as_str().into(),
            token.to_vec().into(),
            roles.join(" ").into(),
            iss.into(),
            sub.into(),
            operator.added_at.millis().into(),
        ]);
        self.change(insert.then(" ON CONFLICT DO NOTHING"), record).await
    }

    /// Removes the operator of this name, with the record of it; `false` if there is none, and nothing happened.
    pub async fn remove_operator(&self, name: &OperatorName, record: &Record) -> Result<bool, StoreUnavailable> {
        let delete = sql("DELETE FROM operators WHERE name = $1").bind(name.as_str());
        self.change(delete, record).await
    }

    /// Every operator, by name.
    pub async fn operators(&self) -> Result<Vec<Operator>, StoreUnavailable> {
        let mut operators: Vec<_> = self.operators_by_token().await?.into_values().collect();
        operators.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(operators)
    }

    /// Every operator, by the digest of the token.
    pub(crate) async fn operators_by_token(&self) -> Result<OperatorsByToken, StoreUnavailable> {
        let rows = self.fetch(sql("SELECT name, token, roles, iss, sub, added_at FROM operators")).await?;
        Ok(rows.iter().map(operator).collect::<Result<_, _>>()?)
    }

    /// The operator whose token has this digest.
    pub(crate) async fn operator(&self, token: &[u8; 32]) -> Result<Option<Operator>, StoreUnavailable> {
        let one = "SELECT name, token, roles, iss, sub, added_at FROM operators WHERE token = $1";
        let rows = self.fetch(sql(one).bind(token.to_vec())).await?;
        let found = rows.first().map(operator).transpose()?;
        Ok(found.map(|(_, operator)| operator))
    }
}

fn operator(row: &Row) -> Result<([u8; 32], Operator), sqlx::Error> {
    let decode = |error: &str| sqlx::Error::Decode(error.into());
    let (name, token): (String, Vec<u8>) = (row.get("name")?, row.get("token")?);
    let (roles, iss, sub): (String, Option<String>, Option<String>) = (row.get("roles")?, row.get("iss")?, row.get("sub")?);
    let roles: Option<BTreeSet<_>> = roles.split_whitespace().map(Role::parse).collect();
    let operator = Operator {
        name: OperatorName::parse(&name).map_err(|_| decode("malformed name of an operator"))?,
        roles: roles.ok_or_else(|| decode("unknown role of an operator"))?,
        subject: iss.zip(sub),
        added_at: Timestamp::from_millis(row.get("added_at")?),
    };
    let token = <[u8; 32]>::try_from(token).map_err(|_| decode("malformed digest of an operator's token"))?;
    Ok((token, operator))
}
