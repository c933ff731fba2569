//! Parameters of the items and one iteration of them: Newton steps, standard abilities, means of the priors.
//!
//! With w_jk the posteriors, n_k = sum_j w_jk over those who answered: Q_i = a R1 + d R0 - sum_k n_k log(1 + exp(a x_k + d)),
//! R0 = number right, R1 = sum of the posterior means of these. Newton works on (log a, d) under priors and in a 1PL, on
//! (a, d) without, where a may be negative; a step that turns the slope along it by more than it was is halved.

use fearless_simd::{Level, dispatch};

use super::Options;
use super::lattice::{BLOCK, Posterior};
use super::patterns::{Patterns, each_one};
use crate::error::Result;
use crate::laws::elementary::{exp, log};
use crate::parallel::{Interrupt, map_groups};

/// Bounds of a and d that have no prior.
const STEEPEST: f64 = 20.0;
const FARTHEST: f64 = 60.0;
/// Largest steps of log a (or a) and of d.
const LONGEST: [f64; 2] = [1.0, 3.0];
/// Newton steps of an iteration.
const STEPS: usize = 2;
const HALVINGS: usize = 10;
/// Precision of log s and m in units of those of the items.
const CENTRE: f64 = 0.25;

/// a and d of every pattern, and where their priors stand.
#[derive(Debug)]
pub(super) struct Items {
    slopes: Vec<f64>,
    intercepts: Vec<f64>,
    pub(super) common: bool,
    /// 1 / sa^2 and 1 / sb^2; 0 without priors.
    pub(super) precisions: [f64; 2],
    /// log s.
    pub(super) log_scale: f64,
    /// m.
    centre: f64,
}

/// Gradient and information of two parameters.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Normal {
    pub(super) gradient: [f64; 2],
    /// First, mixed, second.
    pub(super) information: [f64; 3],
}

impl Items {
    pub(super) fn new(patterns: &Patterns, options: &Options) -> Self {
        let start = |p: usize| {
            let count = |words: &[u64]| f64::from(words.iter().map(|word| word.count_ones()).sum::<u32>());
            let share = (count(patterns.right(p)) + 0.5) / (count(patterns.there(p)) + 1.0);
            libm::log(share / (1.0 - share))
        };
        let precision = |sd: f64| if sd.is_finite() { 1.0 / (sd * sd) } else { 0.0 };
        Self {
            slopes: vec![1.0; patterns.len()],
            intercepts: (0..patterns.len()).map(start).collect(),
            common: options.common,
            precisions: [precision(options.discrimination_sd), precision(options.difficulty_sd)],
            log_scale: 0.0,
            centre: 0.0,
        }
    }

    pub(super) fn slope(&self, pattern: usize) -> f64 {
        self.slopes.get(pattern).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn intercept(&self, pattern: usize) -> f64 {
        self.intercepts.get(pattern).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn priors(&self) -> bool {
        self.precisions != [0.0; 2]
    }

    /// Whether the estimate of an item without a prior went as far as it may.
    pub(super) fn at_bound(&self, pattern: usize) -> bool {
        let near = |value: f64, bound: f64| value.abs() >= 0.999 * bound;
        !self.priors() && (near(self.slope(pattern), STEEPEST) || near(self.intercept(pattern), FARTHEST))
    }

    /// One iteration; the largest change of an a or d.
    pub(super) fn improve(&mut self, patterns: &Patterns, posterior: &Posterior, interrupt: &Interrupt) -> Result<f64> {
        let before = (self.slopes.clone(), self.intercepts.clone());
        if self.common {
            for _ in 0..STEPS {
                self.step_together(patterns, posterior, interrupt)?;
            }
        } else {
            self.step_each(patterns, posterior, interrupt)?;
        }
        self.standardise(posterior);
        self.move_priors(patterns);
        let change = |now: &[f64], then: &[f64]| now.iter().zip(then).fold(0.0, |most, (x, y)| (x - y).abs().max(most));
        Ok(f64::max(change(&self.slopes, &before.0), change(&self.intercepts, &before.1)))
    }

    /// Newton steps of each pattern alone.
    fn step_each(&mut self, patterns: &Patterns, posterior: &Posterior, interrupt: &Interrupt) -> Result<()> {
        let level = Level::new();
        let moved = Data::of_each(patterns, posterior, interrupt, |p, data| {
            let mut at = [self.slope(p), self.intercept(p)];
            let mut normal = self.normal(at, data, level);
            for left in (0..STEPS).rev() {
                let mut step = solve(&normal);
                let mut trial = self.moved(at, step);
                if left > 0 {
                    let mut there = self.normal(trial, data, level);
                    for _ in 0..HALVINGS {
                        if along(&there, step).abs() <= along(&normal, step) {
                            break;
                        }
                        step = step.map(|x| x / 2.0);
                        trial = self.moved(at, step);
                        there = self.normal(trial, data, level);
                    }
                    normal = there;
                }
                at = trial;
            }
            at
        })?;
        for ((slope, intercept), [a, d]) in self.slopes.iter_mut().zip(&mut self.intercepts).zip(moved) {
            (*slope, *intercept) = (a, d);
        }
        Ok(())
    }

    /// One Newton step of the common log a and every d: the information is an arrow.
    fn step_together(&mut self, patterns: &Patterns, posterior: &Posterior, interrupt: &Interrupt) -> Result<()> {
        let level = Level::new();
        let normals = Data::of_each(patterns, posterior, interrupt, |p, data| {
            self.normal([self.slope(p), self.intercept(p)], data, level)
        })?;
        let precision = CENTRE * self.precisions[0];
        let (mut gradient, mut information) = (-precision * self.log_scale, precision);
        for (Normal { gradient: [ga, gd], information: [aa, ad, dd] }, count) in normals.iter().zip(&patterns.counts) {
            gradient += count * (ga - ad * gd / dd);
            information += count * (aa - ad * ad / dd);
        }
        let step = bounded(gradient / information, LONGEST[0]);
        self.log_scale += step;
        self.slopes.fill(libm::exp(self.log_scale));
        for (d, Normal { gradient: [_, gd], information: [_, ad, dd] }) in self.intercepts.iter_mut().zip(&normals) {
            *d += bounded((gd - ad * step) / dd, LONGEST[1]);
        }
        Ok(())
    }

    /// Gradient and expected information of Q with its priors at some parameters.
    fn normal(&self, at: [f64; 2], data: &mut Data<'_>, level: Level) -> Normal {
        let likelihood = data.likelihood(at, level);
        let [a, d] = at;
        let [pa, pb] = self.precisions;
        if !self.common && !self.priors() {
            return likelihood;
        }
        let ([ga, gd], [aa, ad, dd]) = (likelihood.gradient, likelihood.information);
        let (ga, aa, ad) = (a * ga, a * a * aa, a * ad);
        if self.common {
            return Normal { gradient: [ga, gd - (d - self.centre) * pb], information: [aa, ad, dd + pb] };
        }
        // The residual m + s b = m - s d / a, and its slopes in log a and d.
        let ratio = libm::exp(self.log_scale) / a;
        let (residual, by_a, by_d) = (self.centre - ratio * d, ratio * d, -ratio);
        Normal {
            gradient: [ga - (libm::log(a) - self.log_scale) * pa - residual * by_a * pb, gd - residual * by_d * pb],
            information: [aa + pa + by_a * by_a * pb, ad + by_a * by_d * pb, dd + by_d * by_d * pb],
        }
    }

    fn moved(&self, [a, d]: [f64; 2], [by_a, by_d]: [f64; 2]) -> [f64; 2] {
        if self.priors() {
            [a * libm::exp(by_a), d + by_d]
        } else {
            [(a + by_a).clamp(-STEEPEST, STEEPEST), (d + by_d).clamp(-FARTHEST, FARTHEST)]
        }
    }

    /// The items for (theta - shift) / exp(stretch), of which the posteriors say that it is standard.
    fn standardise(&mut self, posterior: &Posterior) {
        let n = posterior.means.len() as f64;
        let [pa, pb] = self.precisions.map(|precision| CENTRE * precision);
        let scale = libm::exp(self.log_scale);
        let sum: f64 = posterior.means.iter().sum();
        let shift = (sum - scale * self.centre * pb) / (n + scale * scale * pb);
        let squares = posterior.means.iter().zip(&posterior.variances);
        let squares: f64 = squares.map(|(mean, variance)| variance + (mean - shift) * (mean - shift)).sum();
        // The root of -n + squares exp(-2 l) - (log s + l) pa, which falls and is convex.
        let mut stretch = 0.0;
        for _ in 0..50 {
            let part = squares * libm::exp(-2.0 * stretch);
            let step = (part - n - (self.log_scale + stretch) * pa) / (2.0 * part + pa);
            stretch += step;
            if step.abs() < 1e-14 {
                break;
            }
        }
        let factor = libm::exp(stretch);
        for (a, d) in self.slopes.iter_mut().zip(&mut self.intercepts) {
            *d += *a * shift;
            *a *= factor;
            if pa == 0.0 {
                (*a, *d) = (a.clamp(-STEEPEST, STEEPEST), d.clamp(-FARTHEST, FARTHEST));
            }
        }
        self.centre += scale * shift;
        self.log_scale += stretch;
    }

    /// The best s and m for the items.
    fn move_priors(&mut self, patterns: &Patterns) {
        if !self.priors() {
            return;
        }
        let n = patterns.counts.iter().sum::<f64>() + CENTRE;
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            let pairs = self.slopes.iter().zip(&self.intercepts).zip(&patterns.counts);
            pairs.map(|((&a, &d), count)| count * of(a, d)).sum()
        };
        if self.common {
            self.centre = sum(&|_, d| d) / n;
            return;
        }
        let [pa, pb] = self.precisions;
        let (logs, total) = (sum(&|a, _| libm::log(a)), sum(&|a, d| -d / a));
        let squares = sum(&|a, d| (d / a) * (d / a)) - total * total / n;
        let mut t = self.log_scale;
        for _ in 0..50 {
            let part = libm::exp(2.0 * t) * squares * pb;
            let step = ((logs - n * t) * pa - part) / (n * pa + 2.0 * part);
            t += step;
            if step.abs() < 1e-14 {
                break;
            }
        }
        self.log_scale = t;
        self.centre = -libm::exp(t) * total / n;
    }
}

/// What the posteriors say about one pattern.
pub(super) struct Data<'a> {
    patterns: &'a Patterns,
    posterior: &'a Posterior,
    /// n_k.
    pub(super) counts: Vec<f64>,
    /// R1 and R0.
    right: [f64; 2],
    /// P at the nodes.
    pub(super) chances: Vec<f64>,
}

impl<'a> Data<'a> {
    /// What `ask` makes of the data of each pattern, blocks of them on all threads.
    pub(super) fn of_each<T: Send>(
        patterns: &'a Patterns,
        posterior: &'a Posterior,
        interrupt: &Interrupt,
        ask: impl Fn(usize, &mut Self) -> T + Sync + Send,
    ) -> Result<Vec<T>> {
        let blocks = map_groups(patterns.len().div_ceil(BLOCK), interrupt, |block| {
            let mut data = Self::new(patterns, posterior);
            let block = block * BLOCK..((block + 1) * BLOCK).min(patterns.len());
            Ok(block
                .map(|pattern| {
                    data.load(pattern);
                    ask(pattern, &mut data)
                })
                .collect::<Vec<_>>())
        })?;
        Ok(blocks.into_iter().flatten().collect())
    }

    fn new(patterns: &'a Patterns, posterior: &'a Posterior) -> Self {
        let mut counts = vec![0.0; posterior.nodes.len()];
        if patterns.complete {
            (0..patterns.rows).for_each(|j| posterior.add_to(j, &mut counts));
        }
        let chances = vec![0.0; counts.len()];
        Self { patterns, posterior, counts, right: [0.0; 2], chances }
    }

    fn load(&mut self, pattern: usize) {
        if !self.patterns.complete {
            self.counts.fill(0.0);
            each_one(self.patterns.there(pattern), |j| self.posterior.add_to(j, &mut self.counts));
        }
        self.right = [0.0; 2];
        each_one(self.patterns.right(pattern), |j| {
            self.right[0] += self.posterior.means.get(j).copied().unwrap_or(0.0);
            self.right[1] += 1.0;
        });
    }

    /// Gradient and expected information of the log-likelihood for a and d; leaves P in `chances`.
    pub(super) fn likelihood(&mut self, [a, d]: [f64; 2], level: Level) -> Normal {
        let nodes = &self.posterior.nodes;
        let [p, px, w, wx, wxx] = dispatch!(level, _simd => sums(a, d, nodes, &self.counts, &mut self.chances));
        Normal { gradient: [self.right[0] - px, self.right[1] - p], information: [wxx, wx, w] }
    }
}

/// Change of Q, to first order, along a step.
fn along(normal: &Normal, step: [f64; 2]) -> f64 {
    normal.gradient[0] * step[0] + normal.gradient[1] * step[1]
}

/// The Newton step, no longer than it may be; none where the information is singular.
fn solve(normal: &Normal) -> [f64; 2] {
    let ([ga, gd], [aa, ad, dd]) = (normal.gradient, normal.information);
    let determinant = aa * dd - ad * ad;
    if determinant > 0.0 {
        [bounded((dd * ga - ad * gd) / determinant, LONGEST[0]), bounded((aa * gd - ad * ga) / determinant, LONGEST[1])]
    } else {
        [0.0; 2]
    }
}

fn bounded(step: f64, longest: f64) -> f64 {
    if step.is_nan() { 0.0 } else { step.clamp(-longest, longest) }
}

/// log(1 + exp(a x + d)) at the nodes.
#[inline(always)]
pub(super) fn curves(a: f64, d: f64, nodes: &[f64], out: &mut [f64]) {
    for (out, x) in out.iter_mut().zip(nodes) {
        let eta = a * x + d;
        *out = eta.max(0.0) + log(1.0 + exp(-eta.abs()));
    }
}

const LANES: usize = 8;

/// Sums over nodes of n P, n P x, n P (1 - P), the same times x and x^2; in lanes of 8, so that they have the same bits
/// whatever the width of vectors. Leaves P in `chances`.
#[inline(always)]
fn sums(a: f64, d: f64, nodes: &[f64], counts: &[f64], chances: &mut [f64]) -> [f64; 5] {
    for (p, x) in chances.iter_mut().zip(nodes) {
        let eta = a * x + d;
        let small = exp(-eta.abs());
        let upper = 1.0 / (1.0 + small);
        *p = if eta >= 0.0 { upper } else { small * upper };
    }
    let mut lanes = [[0.0; LANES]; 5];
    let mut take = |i: usize, x: f64, n: f64, p: f64| {
        let np = n * p;
        let w = np * (1.0 - p);
        let terms = [np, np * x, w, w * x, w * x * x];
        for (lane, term) in lanes.iter_mut().zip(terms) {
            lane[i] += term;
        }
    };
    let ((nodes, last_nodes), (counts, last_counts)) = (nodes.as_chunks::<LANES>(), counts.as_chunks::<LANES>());
    let (chances, last_chances) = chances.as_chunks::<LANES>();
    for ((x, n), p) in nodes.iter().zip(counts).zip(chances.iter()) {
        for i in 0..LANES {
            take(i, x[i], n[i], p[i]);
        }
    }
    for (i, ((&x, &n), &p)) in last_nodes.iter().zip(last_counts).zip(last_chances.iter()).enumerate() {
        take(i % LANES, x, n, p);
    }
    lanes.map(|[a, b, c, d, e, f, g, h]| ((a + b) + (c + d)) + ((e + f) + (g + h)))
}
