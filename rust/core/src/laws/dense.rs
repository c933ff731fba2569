//! Small symmetric systems.

/// Solves A x = b for the entries of `free` alone (all others of x are 0), A symmetric and row by row; None where A is
/// not positive definite there. Cholesky, O(p^3).
pub(super) fn solve(matrix: &[f64], b: &[f64], free: &[bool]) -> Option<Vec<f64>> {
    let n = b.len();
    let index: Vec<usize> = (0..n).filter(|&entry| free.get(entry).copied().unwrap_or(false)).collect();
    let p = index.len();
    let mut lower = vec![0.0; p * p];
    let mut y = Vec::with_capacity(p);
    for (i, &row) in index.iter().enumerate() {
        for (j, &column) in index.iter().enumerate().take(i + 1) {
            let (above, rest) = lower.split_at_mut(i * p);
            let (current, _) = rest.split_at_mut(p);
            let entry = *matrix.get(row * n + column)?;
            if i == j {
                let left: f64 = current.iter().take(j).map(|x| x * x).sum();
                let square = entry - left;
                // Below this share of the diagonal entry the rest is rounding.
                if square.is_nan() || square <= 1e-14 * entry.abs() || square.is_infinite() {
                    return None;
                }
                *current.get_mut(j)? = square.sqrt();
            } else {
                let other = above.get(j * p..j * p + p)?;
                let left: f64 = current.iter().zip(other).take(j).map(|(x, y)| x * y).sum();
                *current.get_mut(j)? = (entry - left) / other.get(j)?;
            }
        }
        let row_of = lower.get(i * p..i * p + p)?;
        let left: f64 = row_of.iter().zip(&y).map(|(x, y): (&f64, &f64)| x * y).sum();
        y.push((b.get(row)? - left) / row_of.get(i)?);
    }
    let mut x = vec![0.0; n];
    for (i, &row) in index.iter().enumerate().rev() {
        let mut value = *y.get(i)?;
        for (j, &below) in index.iter().enumerate().skip(i + 1) {
            value -= lower.get(j * p + i)? * x.get(below)?;
        }
        *x.get_mut(row)? = value / lower.get(i * p + i)?;
    }
    x.iter().all(|value| value.is_finite()).then_some(x)
}

/// Sum of products.
pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_free_part_is_solved() {
        let matrix = [4.0, 1.0, 2.0, 1.0, 3.0, 0.5, 2.0, 0.5, 5.0];
        let x = solve(&matrix, &[1.0, 2.0, 3.0], &[true, false, true]).unwrap();
        assert!((4.0 * x[0] + 2.0 * x[2] - 1.0).abs() < 1e-14);
        assert!((2.0 * x[0] + 5.0 * x[2] - 3.0).abs() < 1e-14);
        assert_eq!(x[1], 0.0);
        assert!(solve(&[1.0, 1.0, 1.0, 1.0], &[1.0, 1.0], &[true, true]).is_none());
        assert!(solve(&[f64::NAN], &[1.0], &[true]).is_none());
    }
}
