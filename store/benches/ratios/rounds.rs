//! Measuring things in turn, so that what disturbs the machine disturbs all of them.

/// The middle of what a few rounds give.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The middle of one column of a few rounds.
pub fn column<const N: usize>(rounds: &[[f64; N]], column: usize) -> f64 {
    median(rounds.iter().map(|round| round[column]))
}
