//! Trailing averages along the checkpoints of a series (arXiv 2508.13144, section 5); never a look ahead.
//!
//! mean: y_t = (x_{t-w+1} + .. + x_t) / w, over the checkpoints that exist at the start of the series.
//! ema:  y_t = (1 - a) y_{t-1} + a x_t, y_1 = x_1, a = 2 / (w + 1).
//! window -> w; cost O(n w) for the mean (no running sum, so no drift), O(n) for ema.
//! Twin: python/signoise/reference/checkpoints.py

use crate::error::{Error, Result};
use crate::parallel::{Interrupt, Segments, map_groups};

fn check_window(window: usize) -> Result<()> {
    if window == 0 {
        return Err(Error::Argument { name: "window", expected: "at least 1", found: "0".into() });
    }
    Ok(())
}

/// Mean of the last `window` values up to each position; fewer at the start of a segment.
///
/// # Errors
/// Bad offsets, `window == 0`, or an interrupt.
pub fn trailing_mean(values: &[f64], offsets: &[usize], window: usize, interrupt: &Interrupt) -> Result<Vec<f64>> {
    check_window(window)?;
    let segments = Segments::new(offsets, values.len())?;
    let parts = map_groups(segments.len(), interrupt, |group| {
        let series = segments.slice(values, group);
        Ok((1..=series.len())
            .map(|end| {
                let recent = &series[end.saturating_sub(window)..end];
                recent.iter().sum::<f64>() / recent.len() as f64
            })
            .collect::<Vec<_>>())
    })?;
    Ok(parts.concat())
}

/// Exponential moving average with weight 2 / (window + 1) on the newest value.
///
/// # Errors
/// Bad offsets, `window == 0`, or an interrupt.
pub fn trailing_ema(values: &[f64], offsets: &[usize], window: usize, interrupt: &Interrupt) -> Result<Vec<f64>> {
    check_window(window)?;
    let segments = Segments::new(offsets, values.len())?;
    let weight = 2.0 / (window as f64 + 1.0);
    let parts = map_groups(segments.len(), interrupt, |group| {
        let mut smoothed = None;
        Ok(segments
            .slice(values, group)
            .iter()
            .map(|&x| *smoothed.insert(smoothed.map_or(x, |y: f64| (1.0 - weight) * y + weight * x)))
            .collect::<Vec<_>>())
    })?;
    Ok(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_restart_in_each_segment() {
        let (values, offsets) = ([1.0, 2.0, 3.0, 10.0, 20.0], [0, 3, 5]);
        let interrupt = Interrupt::new();
        assert_eq!(trailing_mean(&values, &offsets, 2, &interrupt), Ok(vec![1.0, 1.5, 2.5, 10.0, 15.0]));
        assert_eq!(trailing_ema(&values, &offsets, 1, &interrupt), Ok(values.to_vec()));
        assert!(trailing_mean(&values, &offsets, 0, &interrupt).is_err());
    }
}
