//! Spans of time that recur with the period.

/// Microseconds after the grid's origin, or between two moments.
pub(super) type Micros = i64;

/// The time after `from`, up to and including `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Micros,
    pub(super) to: Micros,
}

/// What a span and the recurrences of another one have in common, both of them shorter than the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Common {
    Nothing,
    /// One stretch.
    Part(Span),
    /// The end of one recurrence and the beginning of the next.
    Twice,
}

impl Span {
    pub(super) fn width(self) -> Micros {
        self.to - self.from
    }

    pub(super) fn shifted(self, by: Micros) -> Self {
        Self {
            from: self.from + by,
            to: self.to + by,
        }
    }

    /// The recurrence whose end is the first one after `moment`, and how many periods later it is.
    pub(super) fn recurring_after(self, moment: Micros, period: Micros) -> (Self, i64) {
        let periods = (moment - self.to).div_euclid(period) + 1;
        (self.shifted(periods * period), periods)
    }

    /// What `seen` has in common with the recurrences of this span.
    pub(super) fn common(self, seen: Self, period: Micros) -> Common {
        let (first, _) = self.recurring_after(seen.from, period);
        if first.from >= seen.to {
            return Common::Nothing;
        }
        if first.from + period < seen.to {
            return Common::Twice;
        }
        Common::Part(Self {
            from: first.from.max(seen.from),
            to: first.to.min(seen.to),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Micros = 30;

    fn span(from: Micros, to: Micros) -> Span {
        Span { from, to }
    }

    #[test]
    fn a_recurrence_ends_after_the_moment_and_at_most_a_period_later() {
        for moment in -100..100 {
            let (found, periods) = span(3, 9).recurring_after(moment, PERIOD);
            assert_eq!(found, span(3, 9).shifted(periods * PERIOD));
            assert!(
                found.to > moment && found.to <= moment + PERIOD,
                "{moment}: {found:?}"
            );
        }
    }

    #[test]
    fn common_stretches_are_those_that_counting_moment_by_moment_finds() {
        for (from, to) in (0..PERIOD).flat_map(|from| (from + 1..from + PERIOD).map(move |to| (from, to))) {
            let recurs = |moment: Micros| (moment - from - 1).rem_euclid(PERIOD) < to - from;
            for seen in [span(95, 96), span(90, 100), span(90, 119), span(61, 78)] {
                let hits: Vec<Micros> = (seen.from + 1..=seen.to)
                    .filter(|moment| recurs(*moment))
                    .collect();
                let gaps = hits.windows(2).filter(|pair| pair[1] - pair[0] > 1).count();
                let expected = match (hits.first(), hits.last()) {
                    (Some(first), Some(last)) if gaps == 0 => Common::Part(span(first - 1, *last)),
                    (Some(_), Some(_)) => Common::Twice,
                    _ => Common::Nothing,
                };
                assert_eq!(
                    span(from, to).common(seen, PERIOD),
                    expected,
                    "({from}, {to}] and {seen:?}"
                );
            }
        }
    }
}
