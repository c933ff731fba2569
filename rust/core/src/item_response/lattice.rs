//! Posteriors of abilities on a lattice: theta_k = k h for whole k, h a power of 2.
//!
//! w_jk ~ exp(theta_k A_j + D_j - G_jk - theta_k^2 / 2),  A_j = sum of a over what j got right,  D_j the same of d,
//! G_jk = sum_i log(1 + exp(a_i theta_k + d_i)) over what j answered: without gaps the same for all subjects.
//! The sums over a lattice are integrals to about 2 exp(-2 pi^2 (sd / h)^2), 5e-9 at h = sd, so h is halved until it is
//! no more than any posterior's sd: with thousands of items a grid of fixed step would snap abilities to its nodes.
//! A posterior is log-concave and narrow; only a window of nodes around its mode is computed, out to exp(-TAIL).

use fearless_simd::{Level, dispatch};

use super::items::{Items, curves};
use super::patterns::{Patterns, each_one};
use crate::error::Result;
use crate::parallel::{Interrupt, map_groups};

/// Logarithm, below that of the mode, at which a window may end.
const TAIL: f64 = 27.0;
/// h at first, and where the windows end then.
const COARSE: f64 = 0.25;
const REACH: i64 = 48;
/// Patterns that one task sums over.
pub(super) const BLOCK: usize = 64;

/// The lattice and the window of each subject; carried from one iteration to the next.
#[derive(Debug)]
pub(super) struct Lattice {
    step: f64,
    windows: Vec<Window>,
}

/// Nodes `low..=high`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Window {
    low: i64,
    high: i64,
}

impl Window {
    const fn len(self) -> usize {
        (self.high - self.low + 1) as usize
    }

    fn around(centre: f64, reach: f64, step: f64) -> Self {
        Self { low: ((centre - reach) / step).floor() as i64, high: ((centre + reach) / step).ceil() as i64 }
    }
}

/// Weights of each subject on its nodes.
#[derive(Debug)]
pub(super) struct Posterior {
    /// Abilities at the nodes that any window holds.
    pub(super) nodes: Vec<f64>,
    /// Where the window of each subject starts among the nodes.
    starts: Vec<usize>,
    /// Where its weights start, with the end of the last.
    offsets: Vec<usize>,
    weights: Vec<f64>,
    /// Mean of each subject.
    pub(super) means: Vec<f64>,
    /// Variance of each subject.
    pub(super) variances: Vec<f64>,
    /// Logarithm of the marginal likelihood of each subject.
    pub(super) logs: Vec<f64>,
}

impl Posterior {
    /// First node and weights of a subject.
    pub(super) fn of(&self, subject: usize) -> (usize, &[f64]) {
        let bounds = self.offsets.get(subject).zip(self.offsets.get(subject + 1));
        let weights = bounds.and_then(|(&start, &end)| self.weights.get(start..end));
        (self.starts.get(subject).copied().unwrap_or(0), weights.unwrap_or(&[]))
    }

    /// Adds the weights of a subject to those of all nodes.
    #[inline(always)]
    pub(super) fn add_to(&self, subject: usize, total: &mut [f64]) {
        let (start, weights) = self.of(subject);
        for (total, weight) in total.iter_mut().skip(start).zip(weights) {
            *total += weight;
        }
    }
}

impl Lattice {
    pub(super) fn new(subjects: usize) -> Self {
        Self { step: COARSE, windows: vec![Window { low: -REACH, high: REACH }; subjects] }
    }

    /// Posteriors of all subjects; moves the windows and refines the lattice until they hold them.
    pub(super) fn posterior(&mut self, patterns: &Patterns, items: &Items, interrupt: &Interrupt) -> Result<Posterior> {
        loop {
            let (nodes, starts) = self.nodes();
            let mut found = Posterior {
                nodes,
                starts,
                offsets: Vec::with_capacity(self.windows.len() + 1),
                weights: Vec::new(),
                means: Vec::new(),
                variances: Vec::new(),
                logs: Vec::new(),
            };
            found.offsets.push(0);
            for window in &self.windows {
                found.offsets.push(found.offsets.last().map_or(0, |end| end + window.len()));
            }
            found.weights = log_posteriors(patterns, items, &found, interrupt)?;
            if self.follow(&found) {
                self.normalise(&mut found);
                return Ok(found);
            }
        }
    }

    /// Nodes of all windows in order, and where each window starts among them.
    fn nodes(&self) -> (Vec<f64>, Vec<usize>) {
        let mut order: Vec<(Window, usize)> = self.windows.iter().copied().zip(0..).collect();
        order.sort_by_key(|(window, _)| window.low);
        let (mut nodes, mut starts) = (Vec::new(), vec![0; order.len()]);
        let mut next = i64::MIN;
        for (window, subject) in order {
            next = next.max(window.low);
            if let Some(start) = starts.get_mut(subject) {
                // Windows are sorted by their start: what lies between it and `next` has been pushed.
                *start = nodes.len() - (next - window.low) as usize;
            }
            nodes.extend((next..=window.high).map(|k| k as f64 * self.step));
            next = next.max(window.high + 1);
        }
        (nodes, starts)
    }

    /// Fits windows and step to logarithms of posteriors; true where these may be used as they are.
    fn follow(&mut self, found: &Posterior) -> bool {
        let mut narrowest = f64::INFINITY;
        let mut cut = false;
        let mut next = Vec::with_capacity(self.windows.len());
        for (subject, window) in self.windows.iter().enumerate() {
            let (_, logs) = found.of(subject);
            let shape = Shape::of(logs, *window, self.step);
            cut |= shape.cut;
            narrowest = narrowest.min(shape.sd);
            next.push(shape);
        }
        let coarse = self.step > narrowest && narrowest > 0.0;
        while self.step > narrowest && narrowest > 0.0 {
            self.step /= 2.0;
        }
        self.windows = next.iter().map(|shape| shape.window(self.step)).collect();
        !coarse && !cut
    }

    /// Weights, moments and marginal likelihoods from logarithms.
    fn normalise(&self, found: &mut Posterior) {
        let scale = self.step * std::f64::consts::FRAC_2_PI.sqrt() / 2.0;
        let mut rest = found.weights.as_mut_slice();
        for (pair, &start) in found.offsets.windows(2).zip(&found.starts) {
            let len = pair.last().zip(pair.first()).map_or(0, |(end, start)| end - start);
            let weights = rest.split_off_mut(..len).unwrap_or_default();
            let nodes = found.nodes.get(start..start + len).unwrap_or(&[]);
            let top = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            weights.iter_mut().for_each(|w| *w = libm::exp(*w - top));
            let total: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|w| *w /= total);
            let mean: f64 = weights.iter().zip(nodes).map(|(w, x)| w * x).sum();
            let variance = weights.iter().zip(nodes).map(|(w, x)| w * (x - mean) * (x - mean)).sum();
            found.means.push(mean);
            found.variances.push(variance);
            found.logs.push(top + libm::log(total * scale));
        }
    }
}

/// Where a log-concave posterior lies.
struct Shape {
    mode: f64,
    sd: f64,
    /// Distance from the mode at which it has fallen by TAIL, at least.
    below: f64,
    above: f64,
    /// Whether its window ends before that.
    cut: bool,
}

impl Shape {
    fn of(logs: &[f64], window: Window, step: f64) -> Self {
        let top = logs
            .iter()
            .enumerate()
            .fold((0, f64::NEG_INFINITY), |best, (k, &l)| if l > best.1 { (k, l) } else { best });
        let (k, peak) = top;
        let at = |k: usize| logs.get(k).copied();
        let mode = (window.low + k as i64) as f64 * step;
        let first = logs.iter().position(|&l| l >= peak - TAIL).unwrap_or(0);
        let last = logs.iter().rposition(|&l| l >= peak - TAIL).unwrap_or(0);
        // Were there no number among the logarithms, looking farther would not end.
        let cut = peak.is_finite() && (first == 0 || last + 1 >= logs.len());
        let sides = if k == 0 { None } else { at(k - 1).zip(at(k + 1)) };
        let curvature = sides.map(|(left, right)| (2.0 * peak - left - right) / (step * step));
        // At an end of the window nothing is known: look around, as far as the window was.
        let sd = curvature.map_or(f64::INFINITY, |c| 1.0 / c.max(0.1).sqrt());
        let shift =
            sides.map_or(0.0, |(left, right)| step * (right - left) / (2.0 * (2.0 * peak - left - right)).max(1e-300));
        let reach = |nodes: usize| nodes as f64 * step;
        Self {
            mode: mode + shift.clamp(-step, step),
            sd,
            below: if first == 0 { 2.0 * reach(k).max(step * 4.0) } else { reach(k - first + 1) },
            above: if last + 1 >= logs.len() { 2.0 * reach(last - k).max(step * 4.0) } else { reach(last - k + 1) },
            cut,
        }
    }

    /// Nodes to look at next: somewhat more than were needed, as the next posterior lies elsewhere.
    fn window(&self, step: f64) -> Window {
        let gaussian = 8.5 * self.sd.min(1.0);
        let (below, above) = (self.below * 1.25, self.above * 1.25);
        // What was found on far too coarse a lattice is wide for that alone.
        let bound = |reach: f64| if self.cut { reach.max(gaussian) } else { reach.min(gaussian * 4.0).max(step * 4.0) };
        let (low, high) =
            (Window::around(self.mode, bound(below), step), Window::around(self.mode, bound(above), step));
        Window { low: low.low, high: high.high }
    }
}

/// What a block of patterns adds to A, D and G.
struct Sums {
    slopes: Vec<f64>,
    intercepts: Vec<f64>,
    /// By node where there are no gaps, else by weight.
    curves: Vec<f64>,
}

/// Logarithms of the posteriors on their windows, up to a constant.
fn log_posteriors(patterns: &Patterns, items: &Items, frame: &Posterior, interrupt: &Interrupt) -> Result<Vec<f64>> {
    let subjects = patterns.rows;
    let cells = frame.offsets.last().copied().unwrap_or(0);
    let size = if patterns.complete { frame.nodes.len() } else { cells };
    let level = Level::new();
    let blocks = map_groups(patterns.len().div_ceil(BLOCK), interrupt, |block| {
        let mut sums = Sums { slopes: vec![0.0; subjects], intercepts: vec![0.0; subjects], curves: vec![0.0; size] };
        let mut curve = vec![0.0; frame.nodes.len()];
        for p in block * BLOCK..((block + 1) * BLOCK).min(patterns.len()) {
            let count = patterns.counts.get(p).copied().unwrap_or(0.0);
            let (a, d) = (items.slope(p), items.intercept(p));
            each_one(patterns.right(p), |j| {
                if let Some((slope, intercept)) = sums.slopes.get_mut(j).zip(sums.intercepts.get_mut(j)) {
                    *slope += count * a;
                    *intercept += count * d;
                }
            });
            dispatch!(level, _simd => curves(a, d, &frame.nodes, &mut curve));
            if patterns.complete {
                add(&mut sums.curves, &curve, count);
            } else {
                each_one(patterns.there(p), |j| {
                    let (start, window) = frame.of_cells(j);
                    add(sums.curves.get_mut(window).unwrap_or_default(), curve.get(start..).unwrap_or(&[]), count);
                });
            }
        }
        Ok(sums)
    })?;
    let mut total = Sums { slopes: vec![0.0; subjects], intercepts: vec![0.0; subjects], curves: vec![0.0; size] };
    for block in &blocks {
        add(&mut total.slopes, &block.slopes, 1.0);
        add(&mut total.intercepts, &block.intercepts, 1.0);
        add(&mut total.curves, &block.curves, 1.0);
    }
    let mut logs = Vec::with_capacity(cells);
    for (j, (slope, intercept)) in total.slopes.iter().zip(&total.intercepts).enumerate() {
        let (start, window) = frame.of_cells(j);
        let len = window.len();
        let place = if patterns.complete { start..start + len } else { window };
        let curves = total.curves.get(place).unwrap_or(&[]);
        let nodes = frame.nodes.get(start..start + len).unwrap_or(&[]);
        logs.extend(nodes.iter().zip(curves).map(|(x, g)| x * slope + intercept - g - 0.5 * x * x));
    }
    Ok(logs)
}

impl Posterior {
    /// First node of a subject, and the places of its weights.
    fn of_cells(&self, subject: usize) -> (usize, std::ops::Range<usize>) {
        let bounds = self.offsets.get(subject).zip(self.offsets.get(subject + 1));
        (self.starts.get(subject).copied().unwrap_or(0), bounds.map_or(0..0, |(&start, &end)| start..end))
    }
}

#[inline(always)]
fn add(total: &mut [f64], values: &[f64], factor: f64) {
    for (total, value) in total.iter_mut().zip(values) {
        *total += factor * value;
    }
}
