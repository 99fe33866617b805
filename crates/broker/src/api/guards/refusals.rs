//! A batch of refusals, as a guard in another process says it: it gets into what auditors read.

use delegation::authority::Authority;
use delegation::chain::Actor;
use delegation::details::{Detail, DetailTypes, DetailsError, Standing};
use delegation::oauth::{ClientId, Reason, parse_scope};
use delegation::time::Timestamp;
use serde_json::Value;

use super::super::members::Members;
use super::super::problem::Problem;
use super::{LONGEST_JTI, date, jti};
use crate::guards::{Claims, Compared, MOST, RefusedCall};

/// How long an id may be.
const IDS: std::ops::RangeInclusive<usize> = 16..=64;
/// No more details than this stand in a token, or are needed by a request: 32, of 32 actions each.
const MOST_PIECES: usize = 1024;
/// No more parties act for one subject, and nothing comes from more.
const MOST_HOPS: usize = 64;
/// No more details stand in a token.
const MOST_DETAILS: usize = 32;
/// No text that is put on record is longer: no token is.
const LONGEST: usize = 16 * 1024;

/// The refusals of a body, every one of which is right.
pub(super) fn read(body: &mut Members, types: &DetailTypes) -> Result<Vec<RefusedCall>, Problem> {
    let refusals = body.array("refusals")?.ok_or(Problem::Malformed("`refusals` is missing"))?;
    if refusals.len() > MOST {
        return Err(Problem::Malformed("more than 256 refusals; send the others next"));
    }
    refusals.into_iter().map(|refusal| one(refusal, types)).collect()
}

fn one(refusal: Value, types: &DetailTypes) -> Result<RefusedCall, Problem> {
    let Value::Object(refusal) = refusal else {
        return Err(Problem::Malformed("each of `refusals` must be an object"));
    };
    let mut body = Members(refusal);
    let read = RefusedCall {
        decision_id: id(&mut body)?,
        at: millis(&mut body)?,
        reason: Reason::parse(&body.required("reason")?).ok_or(Problem::Malformed("`reason` must be a reason of a refusal"))?,
        request: body.request()?,
        from: body.address("client_ip")?,
        claims: body.object("claims")?.map(|said| claims(said, types)).transpose()?,
        compared: body.object("compared")?.map(compared).transpose()?,
        cause: body.text("cause")?.map(short).transpose()?,
        observed: body.truth("observed")?.unwrap_or_default(),
    };
    body.ends()?;
    Ok(read)
}

/// What a decision is found by: nothing of it means anything in a pattern, or in another place.
fn id(body: &mut Members) -> Result<String, Problem> {
    let id = body.required("decision_id")?;
    let of_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = IDS.contains(&id.len()) && id.bytes().all(of_id);
    fits.then_some(id)
        .ok_or(Problem::Malformed("`decision_id` must be 16 to 64 small letters, digits and `-`"))
}

fn millis(body: &mut Members) -> Result<Timestamp, Problem> {
    let at = body.number("at")?.and_then(|at| i64::try_from(at).ok());
    let at = at.filter(|at| *at < 1 << 53);
    at.map(Timestamp::from_millis)
        .ok_or(Problem::Malformed("`at` must be a number of milliseconds since 1970"))
}

fn claims(mut said: Members, types: &DetailTypes) -> Result<Claims, Problem> {
    let scopes = said.text("scope")?.map(short).transpose()?;
    let scopes = scopes.map(|scope| parse_scope(&scope)).transpose();
    let (details, undeclared) = details(&mut said, types)?;
    let read = Claims {
        jti: jti(&mut said)?,
        sub: short(said.required("sub")?)?,
        subject: said.object("sub_id")?.map(pair).transpose()?,
        client: ClientId::parse(&said.required("client_id")?).map_err(|_| Problem::Malformed("`client_id` is malformed"))?,
        audience: short(said.required("aud")?)?,
        exp: date(&mut said, "exp")?.ok_or(Problem::Malformed("`exp` is missing"))?,
        iat: date(&mut said, "iat")?.ok_or(Problem::Malformed("`iat` is missing"))?,
        task: said.text("task")?.map(short).transpose()?,
        txn: said.text("txn")?.map(short).transpose()?,
        actors: actors(&mut said)?,
        ancestors: ancestors(&mut said)?,
        authority: Authority {
            details,
            scopes: scopes.map_err(|_| Problem::Malformed("`scope` is malformed"))?.unwrap_or_default(),
        },
        undeclared,
    };
    said.ends()?;
    Ok(read)
}

/// Who acted, newest first.
fn actors(said: &mut Members) -> Result<Vec<Actor>, Problem> {
    const ACTORS: Problem = Problem::Malformed("`actor` must be a list of at most 64 objects of `iss` and `sub`");
    let list = said.array("actor")?.unwrap_or_default();
    if list.len() > MOST_HOPS {
        return Err(ACTORS);
    }
    let actor = |actor: Value| {
        let Value::Object(members) = actor else { return Err(ACTORS) };
        let mut members = Members(members);
        let (iss, sub) = (short(members.required("iss")?)?, short(members.required("sub")?)?);
        members.ends()?;
        Ok(Actor { iss, sub })
    };
    list.into_iter().map(actor).collect()
}

/// What it came from, root first.
fn ancestors(said: &mut Members) -> Result<Vec<String>, Problem> {
    const CHAIN: Problem = Problem::Malformed("`chain` must be a list of at most 64 texts of 1 to 256 bytes");
    let list = said.array("chain")?.unwrap_or_default();
    if list.len() > MOST_HOPS {
        return Err(CHAIN);
    }
    let entry = |entry: Value| match entry {
        Value::String(entry) if (1..=LONGEST_JTI).contains(&entry.len()) => Ok(entry),
        _ => Err(CHAIN),
    };
    list.into_iter().map(entry).collect()
}

/// What it allows, as this broker understands it, and what of it this broker does not declare.
///
/// The configuration may have been changed since the token was made: what a guard saw is on record all the same.
fn details(said: &mut Members, types: &DetailTypes) -> Result<(Vec<Detail>, Vec<Value>), Problem> {
    const DETAILS: Problem = Problem::Malformed("`authorization_details` must be a list of at most 32 details");
    let list = said.array("authorization_details")?.unwrap_or_default();
    if list.len() > MOST_DETAILS {
        return Err(DETAILS);
    }
    let (mut declared, mut undeclared) = (Vec::new(), Vec::new());
    for detail in list {
        match Detail::from_json(&detail, types, Standing::Ceiling) {
            Ok(detail) => declared.push(detail),
            Err(DetailsError::Malformed) => return Err(DETAILS),
            Err(_) => undeclared.push(detail),
        }
    }
    if undeclared.iter().map(|detail| detail.to_string().len()).sum::<usize>() > LONGEST {
        return Err(DETAILS);
    }
    Ok((declared, undeclared))
}

/// The outside pair (RFC 9493 §3.2.3).
fn pair(mut said: Members) -> Result<(String, String), Problem> {
    let (iss, sub) = (short(said.required("iss")?)?, short(said.required("sub")?)?);
    if said.text("format")?.is_some_and(|format| format != "iss_sub") {
        return Err(Problem::Malformed("`sub_id` must be of the format `iss_sub`"));
    }
    said.ends()?;
    Ok((iss, sub))
}

fn compared(mut said: Members) -> Result<Compared, Problem> {
    let read = Compared {
        required: pieces(&mut said, "required")?,
        presented: pieces(&mut said, "presented")?,
        surplus: pieces(&mut said, "surplus")?,
    };
    said.ends()?;
    Ok(read)
}

fn pieces(said: &mut Members, name: &str) -> Result<Vec<String>, Problem> {
    const PIECES: Problem = Problem::Malformed("`required`, `presented` and `surplus` must be lists of at most 1024 texts");
    let list = said.array(name)?.unwrap_or_default();
    if list.len() > MOST_PIECES {
        return Err(PIECES);
    }
    let text = |piece: Value| match piece {
        Value::String(text) => short(text),
        _ => Err(PIECES),
    };
    list.into_iter().map(text).collect()
}

fn short(text: String) -> Result<String, Problem> {
    let fits = text.len() <= LONGEST;
    fits.then_some(text).ok_or(Problem::Malformed("a text is longer than any in a token"))
}
