//! Real numbers as integers on one power of two, with the error of it.

/// Bits of the largest value where 32 of them are added up in 32 bits.
pub(super) const SAMPLED_BITS: i32 = 26;

/// Bits of the largest value where sums need to be exact in doubles.
pub(super) const ENUMERATED_BITS: i32 = 46;

/// Share of the largest possible statistic within which two of them are equal.
const TIE: f64 = 1e-12;

/// A power of two, by which values below it in size become integers of at most `bits` bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    factor: f64,
    largest: f64,
}

impl Scale {
    /// The scale of finite values.
    pub(super) fn of(values: impl Iterator<Item = f64>, bits: i32) -> Self {
        let largest = values.fold(0.0, |most: f64, x| most.max(x.abs()));
        let exponent = (largest.to_bits() >> 52) as i32 - 1023;
        // Kept within the normal powers of two: values of 1e-300 lose digits, and their error says so.
        let power = (bits - 1 - exponent).clamp(-1022, 1023);
        Self { factor: f64::from_bits(((1023 + power) as u64) << 52), largest: 2.0_f64.powi(bits) - 1.0 }
    }

    /// A value in units.
    pub(super) fn apply(self, x: f64) -> f64 {
        x * self.factor
    }

    /// The nearest integer, and how far off it is.
    #[inline(always)]
    pub(super) fn round(self, x: f64) -> (i64, f64) {
        let scaled = x * self.factor;
        let rounded = scaled.round_ties_even().clamp(-self.largest, self.largest);
        (rounded as i64, (rounded - scaled).abs())
    }
}

/// Values on a scale.
#[derive(Debug, Clone, Default)]
pub(super) struct Fixed {
    pub(super) units: Vec<i64>,
    /// Sum of the distances between units and scaled values.
    pub(super) error: f64,
    /// Sum of their squares.
    pub(super) squared_error: f64,
}

impl Fixed {
    pub(super) fn on(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let mut fixed = Self::default();
        for x in values {
            let (unit, error) = scale.round(x);
            fixed.units.push(unit);
            fixed.error += error;
            fixed.squared_error += error * error;
        }
        fixed
    }

    pub(super) fn new(values: &[f64], bits: i32) -> Self {
        Self::on(Scale::of(values.iter().copied(), bits), values.iter().copied())
    }

    /// Sum of absolute units.
    pub(super) fn size(&self) -> i64 {
        self.units.iter().map(|unit| unit.abs()).sum()
    }
}

/// How far below the observed statistic a permuted one still counts as equal to it.
pub(super) fn slack(error: f64, size: f64) -> f64 {
    (2.0 * error).ceil() + (TIE * size).floor()
}
