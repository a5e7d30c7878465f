//! Whether figures of two kinds of runs differ by more than runs of one kind do.

use std::time::Duration;

use crate::table::{self, ms, quantile};

/// Below this, a difference is not put down to chance.
const UNLIKELY: f64 = 0.05;

/// Prints medians and ranges of the figures of two kinds of runs, and whether those of the second are higher than chance
/// explains.
pub(crate) fn compare(
    what: &str,
    (first, mut firsts): (&str, Vec<Duration>),
    (second, mut seconds): (&str, Vec<Duration>),
) {
    let (chance, least) = chance(&firsts, &seconds);
    let verdict = if least >= UNLIKELY {
        "too few runs to tell"
    } else if chance >= UNLIKELY {
        "within noise"
    } else {
        "above noise"
    };
    let text = |figures: &mut [Duration]| {
        let median = quantile(figures, 0.5);
        format!("{} ({} to {})", ms(median), ms(quantile(figures, 0.0)), ms(quantile(figures, 1.0)))
    };
    let (firsts, seconds) = (text(&mut firsts), text(&mut seconds));
    table::say(&format!("{what}: {first} {firsts}, {second} {seconds}: {verdict} (p = {chance:.3})"));
}

/// How likely it is that the second figures rank as high among all of them as they do, if there is no difference: the
/// exact one-sided Mann-Whitney U test. And the least that it can come to, with this many.
fn chance(firsts: &[Duration], seconds: &[Duration]) -> (f64, f64) {
    let all = [firsts, seconds].concat();
    assert!(all.len() <= 20, "every choice is looked at");
    // Twice how many it is above, so that an equal one counts half.
    let rank = |figure: &Duration| all.iter().map(|other| 1 + figure.cmp(other) as i32).sum::<i32>();
    let ranks: Vec<_> = all.iter().map(rank).collect();
    let seen: i32 = ranks[firsts.len()..].iter().sum();
    let (mut choices, mut as_high) = (0, 0);
    for chosen in 0_u32..1 << all.len() {
        if chosen.count_ones() as usize != seconds.len() {
            continue;
        }
        choices += 1;
        let sum: i32 =
            ranks.iter().enumerate().filter(|(index, _)| chosen >> index & 1 == 1).map(|(_, rank)| rank).sum();
        as_high += i32::from(sum >= seen);
    }
    (f64::from(as_high) / f64::from(choices), 1.0 / f64::from(choices))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: &[u64]) -> Vec<Duration> {
        millis.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn only_what_ranks_high_is_unlikely() {
        let of = |firsts: &[u64], seconds: &[u64]| chance(&times(firsts), &times(seconds)).0;
        // From the published tables of U for five and five: U = 4 is the most that is rare enough on one side.
        assert!((of(&[1, 2, 3, 4, 5], &[6, 7, 8, 9, 10]) - 1.0 / 252.0).abs() < 1e-9);
        assert!(of(&[1, 2, 3, 4, 9], &[5, 6, 7, 8, 10]) < UNLIKELY);
        assert!(of(&[1, 2, 3, 5, 9], &[4, 6, 7, 8, 10]) >= UNLIKELY);
        assert!((of(&[1, 1, 1], &[1, 1, 1]) - 1.0).abs() < 1e-9);
        assert!((of(&[6, 7, 8, 9, 10], &[1, 2, 3, 4, 5]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn few_runs_tell_nothing() {
        assert!(chance(&times(&[1, 2, 3]), &times(&[4, 5, 6])).1 >= UNLIKELY);
        assert!(chance(&times(&[1, 2, 3, 4]), &times(&[5, 6, 7, 8])).1 < UNLIKELY);
    }
}
