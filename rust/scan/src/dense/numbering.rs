//! Labels, checkpoints and units, numbered in order of appearance.

use std::collections::HashMap;
use std::hash::Hash;

use super::Request;
use crate::parquet::Label;

/// A column that may be kept beside the checkpoints.
#[derive(Debug, Default)]
pub struct Extra {
    /// Its values.
    pub labels: Vec<Label>,
    /// For each file whether it has several values for some checkpoint.
    pub varies: Vec<bool>,
    /// For each pair of `Scan::seen` its value; nothing in particular where it varies.
    pub codes: Vec<u32>,
}

/// Things numbered in order of appearance.
struct Numbers<T>(HashMap<T, u32>);

impl<T: Hash + Eq + Clone> Numbers<T> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn number(&mut self, thing: &T) -> u32 {
        if let Some(&number) = self.0.get(thing) {
            return number;
        }
        let next = self.0.len() as u32;
        self.0.insert(thing.clone(), next);
        next
    }

    fn list(self) -> Vec<T> {
        let mut pairs: Vec<(T, u32)> = self.0.into_iter().collect();
        pairs.sort_unstable_by_key(|&(_, number)| number);
        pairs.into_iter().map(|(thing, _)| thing).collect()
    }
}

/// Everything seen so far.
pub(super) struct Numbering<'a> {
    request: &'a Request,
    labels: Vec<Numbers<Label>>,
    outers: Numbers<Vec<u32>>,
    inners: Numbers<Vec<u32>>,
    seen: Numbers<(u32, u32)>,
    /// For each extra column its labels, and the value of each pair.
    extras: Vec<(Numbers<Label>, HashMap<u32, u32>)>,
    varies: Vec<Vec<bool>>,
}

/// Everything there is.
pub(super) struct Numbered {
    pub(super) labels: Vec<Vec<Label>>,
    pub(super) checkpoints: Vec<Vec<u32>>,
    pub(super) units: Vec<Vec<u32>>,
    pub(super) seen: Vec<(u32, u32)>,
    pub(super) extras: Vec<Extra>,
}

impl<'a> Numbering<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        Self {
            request,
            labels: (0..request.outer.len() + request.inner.len()).map(|_| Numbers::new()).collect(),
            outers: Numbers::new(),
            inners: Numbers::new(),
            seen: Numbers::new(),
            extras: request.extras.iter().map(|_| (Numbers::new(), HashMap::new())).collect(),
            varies: vec![vec![false; request.files.len()]; request.extras.len()],
        }
    }

    /// Numbers of the labels of a row group, key by key.
    pub(super) fn labels(&mut self, labels: &[Vec<Label>]) -> Vec<Vec<u32>> {
        let number = |(labels, known): (&Vec<Label>, &mut Numbers<Label>)| {
            labels.iter().map(|label| known.number(label)).collect()
        };
        labels.iter().zip(&mut self.labels).map(number).collect()
    }

    /// Numbers of a row group's checkpoints, which have these values in the extra columns.
    pub(super) fn checkpoints(
        &mut self,
        file: usize,
        labels: &[Vec<u32>],
        tuples: &[Vec<u32>],
        extras: &[Option<Vec<Label>>],
    ) -> Vec<u32> {
        let outer: Vec<u32> = tuples.iter().map(|tuple| self.outers.number(&joined(tuple, labels))).collect();
        for (local, &checkpoint) in outer.iter().enumerate() {
            let pair = self.seen.number(&(file as u32, checkpoint));
            for (extra, ((known, codes), varies)) in self.extras.iter_mut().zip(&mut self.varies).enumerate() {
                let value = extras.get(extra).and_then(Option::as_ref).and_then(|values| values.get(local));
                let same = value.is_some_and(|value| {
                    let code = known.number(value);
                    *codes.entry(pair).or_insert(code) == code
                });
                if let Some(varies) = varies.get_mut(file) {
                    *varies |= !same;
                }
            }
        }
        outer
    }

    /// Number of a unit.
    pub(super) fn unit(&mut self, labels: &[Vec<u32>], tuple: &[u32]) -> u32 {
        let inner = labels.get(self.request.outer.len()..).unwrap_or_default();
        self.inners.number(&joined(tuple, inner))
    }

    /// Whether an extra column is known to vary in a file.
    pub(super) fn varies(&self, extra: usize, file: usize) -> bool {
        self.varies.get(extra).and_then(|files| files.get(file)).copied().unwrap_or(false)
    }

    pub(super) fn n_checkpoints(&self) -> usize {
        self.outers.0.len()
    }

    pub(super) fn finish(self) -> Numbered {
        let seen = self.seen.list();
        let extras = self.extras.into_iter().zip(self.varies).map(|((known, codes), varies)| Extra {
            labels: known.list(),
            varies,
            codes: (0..seen.len() as u32).map(|pair| codes.get(&pair).copied().unwrap_or(0)).collect(),
        });
        Numbered {
            extras: extras.collect(),
            labels: self.labels.into_iter().map(Numbers::list).collect(),
            checkpoints: self.outers.list(),
            units: self.inners.list(),
            seen,
        }
    }
}

fn joined(tuple: &[u32], numbers: &[Vec<u32>]) -> Vec<u32> {
    let number = |(&code, numbers): (&u32, &Vec<u32>)| numbers.get(code as usize).copied().unwrap_or(0);
    tuple.iter().zip(numbers).map(number).collect()
}
