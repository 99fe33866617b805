//! The end of a root: how long it takes until it is acknowledged, by how many tokens hang from it.
//!
//! Nothing of what hangs from it is looked up, so it must not depend on how much there is. All roots of a round have their
//! descendants first; then they end one after another, in turns of each size, at a server that has nothing else to do.

use serde_json::Value;

use crate::contest::{INTROSPECT, REVOKE, narrows, tokens};
use crate::figures::{median, spread};
use crate::installation::{Installation, Shape};
use crate::{Arguments, free_port, load};

pub(crate) const HEAD: [&str; 4] = ["descendants in 7 levels", "µs until its end is acknowledged", "spread", "beside 7"];

/// As deep as the default of `max_chain` allows below a root that came from outside.
const LEVELS: usize = 7;
/// Descendants in each level.
const WIDTHS: [(usize, &str); 3] = [(1, "7"), (100, "700"), (1000, "7,000")];
/// Roots of each size that end in a round.
const ROOTS: usize = 2;

/// Measures all sizes in every round, and gives the rows of the table.
pub(crate) async fn measure(arguments: &Arguments) -> Vec<Vec<String>> {
    let shape = Shape {
        onward: true,
        ..Shape::default()
    };
    let installation = Installation::write(&arguments.folder, "cascade", free_port(), shape);
    let server = narrows(&arguments.narrows, &installation);
    let mut times = [const { Vec::new() }; WIDTHS.len()];
    for _ in 0..arguments.rounds {
        let mut families = Vec::new();
        for (size, (width, _)) in WIDTHS.iter().enumerate() {
            for root in 0..ROOTS {
                families.push((root, size, family(&installation, *width).await));
            }
        }
        families.sort_by_key(|(root, size, _)| (*root, *size));
        // One before them, which is not counted, has the server do what it put off.
        end(&installation, &family(&installation, 1).await).await;
        for (_, size, family) in families {
            times[size].push(end(&installation, &family).await);
        }
    }
    drop(server);
    let medians = times.each_mut().map(|times| median(times));
    let rows = WIDTHS.iter().zip(&times).zip(medians).map(|(((_, title), times), time)| {
        vec![
            (*title).to_owned(),
            format!("{time:.0}"),
            spread(times.iter().copied()),
            format!("{:.2}×", time / medians[0]),
        ]
    });
    rows.collect()
}

/// Makes a root and what hangs from it; gives the root and one of each level.
async fn family(installation: &Installation, width: usize) -> Vec<String> {
    let mut level = tokens(installation, vec![installation.exchange()]).await;
    let mut some = level.clone();
    for _ in 0..LEVELS {
        let children = (0..width).map(|at| installation.exchange_of(&level[at % level.len()], true)).collect();
        level = tokens(installation, children).await;
        some.push(level[0].clone());
    }
    some
}

/// Ends the root, and sees that one of each level died; gives the time until the end was acknowledged in µs.
async fn end(installation: &Installation, family: &[String]) -> f64 {
    let ended = load::send(installation.port, REVOKE, vec![installation.about(&family[0])]).await;
    let asked = family.iter().map(|token| installation.about(token)).collect();
    for reply in load::send(installation.port, INTROSPECT, asked).await {
        let said: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(said["active"], false, "a descendant survived");
    }
    ended[0].time.as_secs_f64() * 1e6
}
