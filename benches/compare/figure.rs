//! One line of the report: what two sides needed, slice by slice, and what is asked of the second.

/// A figure of one row.
pub(crate) struct Figure {
    /// The row's name, as `--only` takes it.
    pub(crate) row: &'static str,
    /// What was done, for people.
    pub(crate) what: String,
    /// What is counted.
    pub(crate) unit: &'static str,
    /// The first side; without values where there is nothing to compare with.
    pub(crate) base: Values,
    /// The second side.
    pub(crate) ours: Values,
    /// What is asked of it.
    pub(crate) bar: Bar,
    /// What has to be known to read it.
    pub(crate) note: Option<String>,
}

/// What one side needed in each slice.
pub(crate) struct Values {
    /// The side's name.
    pub(crate) name: &'static str,
    /// One value a slice.
    pub(crate) all: Vec<f64>,
}

/// What is asked of the second side.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// Nothing.
    None,
    /// So many times the first side at most.
    RatioAtMost(f64),
    /// So many times the first side at least.
    RatioAtLeast(f64),
    /// So much at most, whatever the first side needs.
    AtMost(f64),
}

/// Least, middle and greatest of some values.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    /// The least.
    pub(crate) min: f64,
    /// The one in the middle.
    pub(crate) median: f64,
    /// The greatest.
    pub(crate) max: f64,
}

/// The spread of `values`; `None` when there are none.
pub(crate) fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let (min, max, upper) = (*sorted.first()?, *sorted.last()?, *sorted.get(half)?);
    let lower = if sorted.len().is_multiple_of(2) { *sorted.get(half.checked_sub(1)?)? } else { upper };
    Some(Spread { min, median: f64::midpoint(lower, upper), max })
}

impl Figure {
    /// The second side as a multiple of the first, each slice against the one that ran next to it.
    pub(crate) fn ratio(&self) -> Option<Spread> {
        let pairs = self.base.all.iter().zip(&self.ours.all);
        spread(&pairs.map(|(base, ours)| ours / base).collect::<Vec<_>>())
    }

    /// Whether the second side does what is asked; `None` when nothing is.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let ratio = self.ratio().map(|spread| spread.median);
        let own = spread(&self.ours.all).map(|spread| spread.median);
        match self.bar {
            Bar::None => None,
            // What was not measured is not met.
            Bar::RatioAtMost(most) => Some(ratio.is_some_and(|ratio| ratio <= most)),
            Bar::RatioAtLeast(least) => Some(ratio.is_some_and(|ratio| ratio >= least)),
            Bar::AtMost(most) => Some(own.is_some_and(|own| own <= most)),
        }
    }
}
