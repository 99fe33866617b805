//! Questions to an issuer that are on their way: whoever shows opaque tokens makes us ask, and an issuer that is slow must not hold up
//! more than so many.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use delegation::oauth::ClientId;

use crate::limits::Network;

/// Questions to one issuer that are open at a time, of requests that somebody waits for.
const MOST: usize = 256;
/// And of those, of one who makes us ask.
const SHARE: usize = 64;
/// Questions of requests that are only observed: they take no place of the others.
const OBSERVED: usize = 32;

/// Who makes us ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    /// A client, which has shown who it is.
    Client(ClientId),
    /// Somebody at a boundary, who has not.
    Network(Network),
    /// All callers of a boundary whose addresses it does not know.
    Boundary(String),
    /// Nobody who waits for it.
    Observed,
}

impl Whose {
    fn share(&self) -> usize {
        match self {
            Self::Client(_) | Self::Network(_) | Self::Boundary(_) => SHARE,
            Self::Observed => OBSERVED,
        }
    }
}

/// Too many of them are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The questions that are open.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// By the name of the issuer.
    open: Mutex<HashMap<String, Open>>,
}

#[derive(Debug, Default)]
struct Open {
    /// Of those who wait.
    waited_for: usize,
    by: HashMap<Whose, usize>,
}

/// A place for one question, for as long as it is open.
#[derive(Debug)]
pub(crate) struct Place<'q> {
    questions: &'q Questions,
    issuer: String,
    whose: Whose,
}

impl Questions {
    /// A place for a question to `issuer`. Nobody waits for one: what is slow would only become slower.
    pub(crate) fn place(&self, issuer: &str, whose: Whose) -> Result<Place<'_>, TooMany> {
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = all.entry(issuer.to_owned()).or_default();
        let own = open.by.get(&whose).copied().unwrap_or_default();
        let is_observed = whose == Whose::Observed;
        if own >= whose.share() || (!is_observed && open.waited_for >= MOST) {
            return Err(TooMany);
        }
        open.waited_for += usize::from(!is_observed);
        open.by.insert(whose.clone(), own + 1);
        Ok(Place {
            questions: self,
            issuer: issuer.to_owned(),
            whose,
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.questions.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = all.get_mut(&self.issuer) else { return };
        if self.whose != Whose::Observed {
            open.waited_for = open.waited_for.saturating_sub(1);
        }
        if let Some(own) = open.by.get_mut(&self.whose) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.by.remove(&self.whose);
            }
        }
        if open.by.is_empty() {
            all.remove(&self.issuer);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::{MOST, Network, OBSERVED, Questions, SHARE, TooMany, Whose};

    fn network(number: usize) -> Whose {
        Whose::Network(Network::of(format!("192.0.2.{number}").parse().unwrap()))
    }

    #[test]
    fn nobody_has_more_than_a_share_and_all_no_more_than_there_are() {
        let questions = Questions::default();
        let mut held: Vec<_> = (0..SHARE).map(|_| questions.place("corp", network(0)).unwrap()).collect();
        assert_eq!(questions.place("corp", network(0)).err(), Some(TooMany));
        assert!(questions.place("other", network(0)).is_ok(), "each issuer has its own");
        for number in 1..MOST / SHARE {
            held.extend((0..SHARE).map(|_| questions.place("corp", network(number)).unwrap()));
        }
        let one_more = Whose::Boundary("front".to_owned());
        assert_eq!(questions.place("corp", one_more.clone()).err(), Some(TooMany));
        drop(held.pop());
        let last = questions.place("corp", one_more).unwrap();
        held.clear();
        drop(last);
        assert!(questions.open.lock().unwrap().is_empty(), "nothing is kept of what is over");
    }

    #[test]
    fn what_is_observed_takes_no_place_of_what_is_waited_for() {
        let questions = Questions::default();
        let observed: Vec<_> = (0..OBSERVED).map(|_| questions.place("corp", Whose::Observed).unwrap()).collect();
        assert_eq!(questions.place("corp", Whose::Observed).err(), Some(TooMany));
        let held: Vec<_> = (0..MOST).map_while(|number| questions.place("corp", network(number / SHARE)).ok()).collect();
        assert_eq!(held.len(), MOST, "all places but those of the observed");
        drop((observed, held));
    }
}
