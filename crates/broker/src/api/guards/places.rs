//! Where tokens were shown first, as a guard in another process says it.

use serde_json::Value;

use super::super::members::Members;
use super::super::problem::Problem;
use super::{date, jti};
use crate::guards::{MOST, Place};

/// The places of a body, every one of which is right.
pub(super) fn read(body: &mut Members) -> Result<Vec<Place>, Problem> {
    let places = body.array("places")?.ok_or(Problem::Malformed("`places` is missing"))?;
    if places.len() > MOST {
        return Err(Problem::Malformed("more than 256 places; send the others next"));
    }
    places.into_iter().map(one).collect()
}

fn one(place: Value) -> Result<Place, Problem> {
    let Value::Object(place) = place else {
        return Err(Problem::Malformed("each of `places` must be an object"));
    };
    let mut body = Members(place);
    let read = Place {
        jti: jti(&mut body)?,
        iat: date(&mut body, "iat")?.ok_or(Problem::Malformed("`iat` is missing"))?,
        exp: date(&mut body, "exp")?.ok_or(Problem::Malformed("`exp` is missing"))?,
        from: body.address("from")?,
    };
    body.ends()?;
    Ok(read)
}
