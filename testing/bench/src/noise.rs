//! A significance test for the figures of two kinds of runs.

use std::time::Duration;

use crate::table::{self, ms, quantile};

/// A difference with a p-value below this is significant.
const SIGNIFICANCE: f64 = 0.05;

/// Prints medians and ranges of the figures of two kinds of runs, and whether those of the second are significantly
/// higher.
pub(crate) fn compare(
    what: &str,
    (first, mut firsts): (&str, Vec<Duration>),
    (second, mut seconds): (&str, Vec<Duration>),
) {
    let (p, least) = p_value(&firsts, &seconds);
    let verdict = if least >= SIGNIFICANCE {
        "too few runs to tell"
    } else if p >= SIGNIFICANCE {
        "within noise"
    } else {
        "above noise"
    };
    let text = |figures: &mut [Duration]| {
        let median = quantile(figures, 0.5);
        format!("{} ({} to {})", ms(median), ms(quantile(figures, 0.0)), ms(quantile(figures, 1.0)))
    };
    let (firsts, seconds) = (text(&mut firsts), text(&mut seconds));
    table::print_line(&format!("{what}: {first} {firsts}, {second} {seconds}: {verdict} (p = {p:.3})"));
}

/// The p-value of the exact one-sided Mann-Whitney U test for higher second figures, and the least p-value that this
/// number of figures can have.
fn p_value(firsts: &[Duration], seconds: &[Duration]) -> (f64, f64) {
    let all = [firsts, seconds].concat();
    assert!(all.len() <= 20, "every choice is enumerated");
    // Doubled, so that equal figures count half.
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
    fn high_ranks_are_significant() {
        let of = |firsts: &[u64], seconds: &[u64]| p_value(&times(firsts), &times(seconds)).0;
        // From published tables of U for five and five: U = 4 is the critical value of a one-sided test.
        assert!((of(&[1, 2, 3, 4, 5], &[6, 7, 8, 9, 10]) - 1.0 / 252.0).abs() < 1e-9);
        assert!(of(&[1, 2, 3, 4, 9], &[5, 6, 7, 8, 10]) < SIGNIFICANCE);
        assert!(of(&[1, 2, 3, 5, 9], &[4, 6, 7, 8, 10]) >= SIGNIFICANCE);
        assert!((of(&[1, 1, 1], &[1, 1, 1]) - 1.0).abs() < 1e-9);
        assert!((of(&[6, 7, 8, 9, 10], &[1, 2, 3, 4, 5]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn few_runs_are_not_significant() {
        assert!(p_value(&times(&[1, 2, 3]), &times(&[4, 5, 6])).1 >= SIGNIFICANCE);
        assert!(p_value(&times(&[1, 2, 3, 4]), &times(&[5, 6, 7, 8])).1 < SIGNIFICANCE);
    }
}
