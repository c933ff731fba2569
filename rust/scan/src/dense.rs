//! Tables of instances in Parquet as dense matrices, checkpoints x instances, one for each unit and metric.
//!
//! Two passes over the row groups: the first reads keys and instance ids and finds out who sits where, the second reads
//! scores into their places. What makes it fast are runs: rows sorted by unit within a checkpoint are copied run by run.
//! Row groups of one dump often hold the same instances in the same order; their column of ids is then the same bytes,
//! is decoded once, and its rows are looked up once. Where rows come in no order each is put into its cell by itself,
//! and the matrices are made some checkpoints at a time. Instances that occur twice and rows without any score are
//! `Unsupported`: the caller has a slower way that knows what to do with them.

mod numbering;
mod place;
mod scatter;
mod shuffled;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use signoise_core::Interrupt;
use twox_hash::XxHash3_64;

pub use self::numbering::Extra;
use self::numbering::Numbering;
use self::place::Unit;
pub use self::scatter::{Matrix, Scores};
use self::shuffled::Shuffled;
use crate::aggregate::layout::{Folder, Layout};
use crate::error::{Error, Result};
use crate::parquet::{Codes, Files, Label, NULL, Needed, RowGroup, Written, differs, read_keys, read_values};

/// Which columns mean what.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Parquet files, in order.
    pub files: Vec<PathBuf>,
    /// Columns that name a checkpoint.
    pub outer: Vec<String>,
    /// Columns that name a unit: a task, its subtask and config.
    pub inner: Vec<String>,
    /// Column that names an instance within its unit.
    pub identity: String,
    /// Columns of scores.
    pub values: Vec<String>,
    /// Columns to keep beside the checkpoints, where they have one value for each.
    pub extras: Vec<String>,
    /// Cells of all metrics to lay out at a time where rows come in no order; at least one checkpoint is.
    pub cells: usize,
}

/// Who sits where; no scores yet.
pub struct Scan {
    files: Files,
    request: Request,
    /// File, number in it and rows of each row group.
    groups: Vec<(usize, usize, usize)>,
    rows_in: RowsIn,
    /// Labels of the outer keys, then of the inner ones.
    pub labels: Vec<Vec<Label>>,
    /// For each checkpoint the label of each outer key.
    pub checkpoints: Vec<Vec<u32>>,
    /// For each unit the label of each inner key.
    pub unit_labels: Vec<Vec<u32>>,
    /// Each pair of a file and a checkpoint in it once, files in order.
    pub seen: Vec<(u32, u32)>,
    /// What is kept beside the checkpoints.
    pub extras: Vec<Extra>,
    /// Rows of all files.
    pub rows: usize,
}

/// In what order the rows come.
enum RowsIn {
    /// Runs of one checkpoint and unit.
    Runs(Vec<Unit>),
    /// None.
    Disorder(Shuffled),
}

/// Instance ids of a row group.
struct Ids {
    labels: Vec<Box<str>>,
    codes: Vec<u32>,
}

/// What the first pass learns of a row group.
struct Keyed {
    labels: Vec<Vec<Label>>,
    layout: Layout,
    lengths: Vec<u32>,
    ids: Arc<Ids>,
    /// For each extra column its value for each checkpoint of the row group; None where one has several.
    extras: Vec<Option<Vec<Label>>>,
}

/// Why a row group was not read run by run.
enum Stop {
    Disorder,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Scan {
    /// The first pass.
    ///
    /// # Errors
    /// A file that is missing or damaged; a type that needs another way, or an instance that occurs twice; an interrupt.
    pub fn new(request: Request, interrupt: &Interrupt) -> Result<Self> {
        let keys: Vec<String> = request.outer.iter().chain(&request.inner).cloned().collect();
        let statistics = Needed { keys: keys.iter().chain(&request.extras).cloned().collect(), ..Needed::default() };
        let files = Files::open(&request.files, &statistics)?;
        let groups = files.groups();
        let needed = Needed { keys, values: vec![request.identity.clone()], ..Needed::default() };
        let known = KnownIds::default();
        let keyed = groups
            .par_iter()
            .map(|&(file, index, _)| {
                interrupt.check().map_err(Error::from)?;
                let group = files.read(file, index, &needed)?.ok_or_else(|| vanished(&request, file))?;
                read_group(&group, &request, &needed, &known)?.ok_or(Stop::Disorder)
            })
            .collect::<std::result::Result<Vec<Keyed>, Stop>>();
        let rows = groups.iter().map(|&(_, _, rows)| rows).sum();
        let mut numbering = Numbering::new(&request);
        let rows_in = match keyed {
            Ok(keyed) => {
                RowsIn::Runs(settled(deal(&keyed, &groups, &mut numbering), &keyed, rows, &request, interrupt)?)
            }
            Err(Stop::Disorder) => {
                RowsIn::Disorder(Shuffled::new(&files, &groups, &request, &needed, &mut numbering, interrupt)?)
            }
            Err(Stop::Failed(error)) => return Err(error),
        };
        let found = numbering.finish();
        Ok(Self {
            files,
            labels: found.labels,
            checkpoints: found.checkpoints,
            unit_labels: found.units,
            seen: found.seen,
            extras: found.extras,
            rows_in,
            groups,
            request,
            rows,
        })
    }

    /// For each unit the file that has it first.
    #[must_use]
    pub fn first_files(&self) -> Vec<u32> {
        match &self.rows_in {
            RowsIn::Runs(units) => units.iter().map(Unit::first_file).collect(),
            RowsIn::Disorder(shuffled) => shuffled.first_files(),
        }
    }

    /// How many checkpoints a call of `matrices` lays out: memory is bounded by it.
    #[must_use]
    pub fn at_once(&self) -> usize {
        match &self.rows_in {
            RowsIn::Runs(_) => self.checkpoints.len(),
            RowsIn::Disorder(shuffled) => shuffled.at_once(&self.request),
        }
    }
}

impl Request {
    fn unsupported(&self, found: &str) -> Error {
        let file = self.files.first().map(|file| file.display().to_string()).unwrap_or_default();
        Error::Unsupported { file, column: self.identity.clone(), found: found.to_owned() }
    }
}

/// Numbers what there is in order of appearance, and deals the runs to the units.
fn deal(keyed: &[Keyed], groups: &[(usize, usize, usize)], numbering: &mut Numbering<'_>) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (at, (group, &(file, _, _))) in keyed.iter().zip(groups).enumerate() {
        let labels = numbering.labels(&group.labels);
        let outer = numbering.checkpoints(file, &labels, &group.layout.outer.tuples, &group.extras);
        let inner: Vec<u32> = group.layout.inner.tuples.iter().map(|tuple| numbering.unit(&labels, tuple)).collect();
        let mut first = 0;
        let codes = group.layout.outer.codes.iter().zip(&group.layout.inner.codes);
        for (&length, (&o, &i)) in group.lengths.iter().zip(codes) {
            let (Some(&checkpoint), Some(&unit)) = (outer.get(o as usize), inner.get(i as usize)) else { continue };
            if units.len() <= unit as usize {
                units.resize_with(unit as usize + 1, Unit::default);
            }
            if let Some(unit) = units.get_mut(unit as usize) {
                unit.push(at as u32, file as u32, first, length, checkpoint);
            }
            first += length;
        }
    }
    units
}

/// Finds the column of every instance.
fn settled(
    mut units: Vec<Unit>,
    keyed: &[Keyed],
    rows: usize,
    request: &Request,
    interrupt: &Interrupt,
) -> Result<Vec<Unit>> {
    let ids: Vec<&Arc<Ids>> = keyed.iter().map(|group| &group.ids).collect();
    let sound = units
        .par_iter_mut()
        .map(|unit| {
            interrupt.check()?;
            Ok(unit.settle(&ids))
        })
        .collect::<Result<Vec<bool>>>()?;
    if sound.contains(&false) {
        return Err(request.unsupported(TWICE));
    }
    check_cells(units.iter().map(Unit::cells).sum(), rows, request)?;
    Ok(units)
}

/// What is said where an instance has several rows of one checkpoint.
const TWICE: &str = "an instance that occurs twice";

/// Checkpoints that share few instances are no matrix.
fn check_cells(cells: usize, rows: usize, request: &Request) -> Result<()> {
    if cells > rows.saturating_mul(4).saturating_add(1 << 20) {
        return Err(request.unsupported("instances that few checkpoints share"));
    }
    Ok(())
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("rows", &self.rows).field("units", &self.unit_labels.len()).finish_non_exhaustive()
    }
}

fn vanished(request: &Request, file: usize) -> Error {
    let file = request.files.get(file).map(|file| file.display().to_string()).unwrap_or_default();
    Error::Damaged { file, reason: "a row group has gone".into() }
}

/// Shorter runs on average are no order, except in a small row group.
const SHORTEST: usize = 8;
const SLACK: usize = 4096;

/// None where rows come in no order.
fn read_group(group: &RowGroup, request: &Request, needed: &Needed, known: &KnownIds) -> Result<Option<Keyed>> {
    let inner: Vec<bool> = (0..needed.keys.len()).map(|key| key >= request.outer.len()).collect();
    let mut folder = Folder::new(&inner, group.rows);
    let mut labels = Vec::with_capacity(needed.keys.len());
    for (key, column) in needed.keys.iter().enumerate() {
        let keys = read_keys(group, column)?;
        folder.push(key, keys.codes, keys.labels.len());
        labels.push(keys.labels);
    }
    let mut layout = folder.finish();
    let Some(lengths) = layout.lengths.take().filter(|lengths| lengths.len() * SHORTEST <= group.rows + SLACK) else {
        return Ok(None);
    };
    let extras =
        request.extras.iter().map(|column| read_extra(group, column, &layout, &lengths)).collect::<Result<_>>()?;
    let ids = known.read(group, &request.identity)?;
    Ok(Some(Keyed { labels, layout, lengths, ids, extras }))
}

/// The value of a column for each checkpoint of a row group; None where one has several.
fn read_extra(group: &RowGroup, column: &str, layout: &Layout, lengths: &[u32]) -> Result<Option<Vec<Label>>> {
    let n = layout.outer.tuples.len();
    if n == 1 && differs(group, column)? || n > 1 && values_vary(group, column, layout, lengths)? {
        return Ok(None);
    }
    let keys = read_keys(group, column)?;
    let runs = match keys.codes {
        Codes::Runs(runs) => runs,
        Codes::Dense(codes) => codes.into_iter().map(|code| (1, code)).collect(),
    };
    let mut of: Vec<Option<u32>> = vec![None; n];
    let mut ours = lengths.iter().zip(&layout.outer.codes).map(|(&length, &code)| (length, code));
    let (mut left, mut checkpoint) = ours.next().unwrap_or((0, 0));
    for (mut length, code) in runs {
        while length > 0 {
            if left == 0 {
                let Some(next) = ours.next() else { break };
                (left, checkpoint) = next;
                continue;
            }
            let Some(value) = of.get_mut(checkpoint as usize) else { return Ok(None) };
            if *value.get_or_insert(code) != code {
                return Ok(None);
            }
            let step = length.min(left);
            length -= step;
            left -= step;
        }
    }
    let label = |code: Option<u32>| code.and_then(|code| keys.labels.get(code as usize).cloned());
    Ok(of.into_iter().map(label).collect())
}

/// Whether a column of numbers has several values for some checkpoint, found out without numbering them all; false:
/// perhaps not.
fn values_vary(group: &RowGroup, column: &str, layout: &Layout, lengths: &[u32]) -> Result<bool> {
    let mut of: Vec<Option<u64>> = vec![None; layout.outer.tuples.len()];
    let runs = lengths.iter().zip(&layout.outer.codes);
    let mut rows = runs.flat_map(|(&length, &code)| std::iter::repeat_n(code, length as usize));
    let mut vary = false;
    let read = read_values(group, column, &mut |values| {
        for (&x, code) in values.iter().zip(&mut rows) {
            let bits = match x.to_bits() {
                NULL => NULL,
                _ if x.is_nan() => f64::NAN.to_bits(),
                _ => (x + 0.0).to_bits(),
            };
            vary |= of.get_mut(code as usize).is_some_and(|value| *value.get_or_insert(bits) != bits);
        }
    });
    match read {
        Ok(()) => Ok(vary),
        Err(Error::Unsupported { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Columns of ids by the bytes they were read from.
#[derive(Default)]
struct KnownIds(Mutex<(HashMap<u64, Vec<Known>>, usize)>);

#[derive(Clone)]
struct Known {
    written: Written,
    ids: Arc<Ids>,
}

/// Bytes of columns to remember, at most; beyond, row groups do not repeat each other.
const REMEMBERED: usize = 64 << 20;

impl KnownIds {
    fn read(&self, group: &RowGroup, column: &str) -> Result<Arc<Ids>> {
        let written = group.written(column)?.map(|written| (XxHash3_64::oneshot(&written.bytes), written));
        if let Some((hash, written)) = &written
            && let Some(ids) = self.find(*hash, written)
        {
            return Ok(ids);
        }
        let keys = read_keys(group, column)?;
        let labels = keys
            .labels
            .into_iter()
            .map(|label| match label {
                Label::Text(text) => Ok(text),
                Label::Int(number) => Ok(number.to_string().into()),
                Label::Null => Err(group.unsupported(column, "a missing instance")),
                Label::Real(_) => Err(group.unsupported(column, "a real number")),
            })
            .collect::<Result<_>>()?;
        let codes = match keys.codes {
            Codes::Dense(codes) => codes,
            Codes::Runs(runs) => {
                runs.into_iter().flat_map(|(length, code)| std::iter::repeat_n(code, length as usize)).collect()
            }
        };
        let ids = Arc::new(Ids { labels, codes });
        if let Some((hash, written)) = written {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.1 + written.bytes.len() <= REMEMBERED {
                known.1 += written.bytes.len();
                let one = Known { written, ids: Arc::clone(&ids) };
                match known.0.entry(hash) {
                    Entry::Occupied(mut entry) => entry.get_mut().push(one),
                    Entry::Vacant(entry) => {
                        entry.insert(vec![one]);
                    }
                }
            }
        }
        Ok(ids)
    }

    fn find(&self, hash: u64, written: &Written) -> Option<Arc<Ids>> {
        // Compared outside of the lock.
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).0.get(&hash)?.clone();
        found.into_iter().find(|known| known.written == *written).map(|known| known.ids)
    }
}
