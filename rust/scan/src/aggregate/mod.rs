//! Moments of groups of rows over Parquet files of any size, in one pass and bounded memory.
//!
//! Row groups are read ahead by a thread of their own (unless there is to be one alone) and worked on in rounds: keys
//! and scores are decoded in parallel, then added to the groups in row-group order, each thread taking its share of the
//! groups. So the bits do not depend on how many threads there are; nor on how many machines, as rows are added up by
//! units (`parquet::units`), which [`map_units`] does for some of them and [`Merger`] brings together.
//!
//! Twin: python/signoise/reference/_scan.py

mod buckets;
mod cells;
mod finish;
mod identity;
mod keyed;
pub(crate) mod layout;
mod merge;
mod share;
mod spare;
mod state;
mod sums;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use rayon::prelude::*;
use signoise_core::parallel::Interrupt;

use self::buckets::Buckets;
use self::cells::{Cells, Checkpoint, Numbers};
use self::finish::finish;
use self::keyed::{Keyed, Known};
pub use self::merge::{Merger, Plan, map_units, plan};
use self::share::Share;
use self::spare::Spare;
pub use self::sums::Moments;
use crate::error::{Error, Result};
use crate::parquet::{Label, Needed, Piece, RowGroup, RowGroups, Unread};

/// What to aggregate.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Parquet files or parts of them, in order.
    pub pieces: Vec<Piece>,
    /// Columns whose values name a group.
    pub keys: Vec<String>,
    /// For each key whether it names the score (task, metric) rather than the checkpoint; a matter of speed.
    pub inner: Vec<bool>,
    /// How many of the keys, from the first, name the groups of the result; the others part them while rows are
    /// counted, so that an instance may occur once in each part.
    pub by: usize,
    /// Columns of scores.
    pub values: Vec<String>,
    /// Column that identifies the instances of a group, to find those that occur twice.
    pub identity: Option<String>,
    /// Columns that must have one value in each row group, so that they need not be read.
    pub constant: Vec<String>,
}

/// Groups in the order of their labels, and their moments.
#[derive(Debug, Default)]
pub struct Groups {
    /// Labels of each `by` column, in order.
    pub labels: Vec<Vec<Label>>,
    /// For each `by` column the label of each group.
    pub codes: Vec<Vec<u32>>,
    /// Moments of each group, one score column after the other.
    pub moments: Moments,
    /// For each group whether an instance may occur in it more than once.
    pub doubtful: Vec<bool>,
    /// Rows read.
    pub rows: u64,
}

/// How far a scan is; read by another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows done.
    pub rows: AtomicU64,
    /// Bytes of the needed columns done.
    pub bytes: AtomicU64,
}

impl Progress {
    fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

/// Rows of a round, at least, for each thread: enough to keep it busy, and little memory.
const ROUND_ROWS: usize = 1 << 18;

/// Moments of the groups of a request.
///
/// # Errors
/// A file that is missing, damaged or of types that cannot be scanned; an interrupt.
pub fn aggregate(request: &Request, progress: &Progress, interrupt: &Interrupt) -> Result<Groups> {
    let (cells, buckets) = scan(request, None, progress, interrupt)?;
    Ok(finish(cells, buckets, request.by, request.values.len(), progress.rows()))
}

/// Adds the rows of a request up; `kept` are the checkpoints that keep their instances, where those are known.
fn scan(
    request: &Request,
    kept: Option<Vec<Checkpoint>>,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<(Cells, Buckets)> {
    let needed = Needed {
        keys: request.keys.clone(),
        values: request.values.clone(),
        identity: request.identity.clone(),
        constant: request.constant.clone(),
    };
    let threads = rayon::current_num_threads();
    let mut groups = RowGroups::new(request.pieces.clone(), needed);
    let mut scan = Scan {
        request,
        progress,
        interrupt,
        known: Known::default(),
        cells: Cells::new(&request.inner, kept),
        spare: Spare::default(),
    };
    let mut line = Line { keyed: Round::default(), shares: Vec::new(), buckets: Buckets::new(request.values.len()) };
    if threads == 1 {
        while line.takes(next_round(&mut groups, threads)?, &mut scan)? {}
    } else {
        std::thread::scope(|scope| {
            // One round waits while others are worked on.
            let (sender, rounds) = sync_channel::<Result<Vec<RowGroup>>>(0);
            scope.spawn(move || {
                loop {
                    let round = next_round(&mut groups, threads);
                    let last = !matches!(&round, Ok(round) if !round.is_empty());
                    if sender.send(round).is_err() || last {
                        break;
                    }
                }
            });
            while line.takes(rounds.recv().unwrap_or_else(|_| Ok(Vec::new()))?, &mut scan)? {}
            Ok::<_, Error>(())
        })?;
    }
    Ok((scan.cells, line.buckets))
}

fn next_round(groups: &mut RowGroups, threads: usize) -> Result<Vec<RowGroup>> {
    let (mut round, mut rows) = (Vec::new(), 0);
    while rows < threads * ROUND_ROWS {
        let Some(group) = groups.next()? else { break };
        rows += group.rows();
        if group.rows() > 0 {
            round.push(group);
        }
    }
    if threads == 1 { round.into_iter().map(Unread::read).collect() } else { Unread::read_all(round) }
}

/// What all row groups have in common.
struct Scan<'a> {
    request: &'a Request,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
    known: Known,
    cells: Cells,
    spare: Spare,
}

/// Rounds on their way. Of one the keys are read, while the one before is decoded and the one before that is added, so
/// that threads which have nothing left to do in one help with another.
struct Line {
    keyed: Round,
    /// Of the round before.
    shares: Vec<Share>,
    buckets: Buckets,
}

/// Row groups whose keys are read, and numbers of those.
#[derive(Default)]
struct Round {
    groups: Vec<(RowGroup, Keyed, Numbers)>,
}

impl Line {
    /// Takes the next round, empty at the end; whether anything is left to be done.
    fn takes(&mut self, round: Vec<RowGroup>, scan: &mut Scan<'_>) -> Result<bool> {
        let keyed = std::mem::take(&mut self.keyed);
        let shares = std::mem::take(&mut self.shares);
        let room = scan.cells.room();
        let (decoded, (read, ())) = rayon::join(
            || scan.decode(keyed),
            || rayon::join(|| scan.read_keys(round), || self.buckets.add(&shares, &room)),
        );
        shares.into_iter().for_each(|share| scan.spare.take_share(share));
        self.shares = decoded?;
        // In row-group order, so that the numbers do not depend on threads.
        self.keyed.groups = read?
            .into_iter()
            .map(|(group, keyed)| {
                let numbers = scan.cells.place(&keyed, group.unit.early);
                (group, keyed, numbers)
            })
            .collect();
        scan.cells.grow();
        Ok(!(self.keyed.groups.is_empty() && self.shares.is_empty()))
    }
}

impl Scan<'_> {
    fn read_keys(&self, round: Vec<RowGroup>) -> Result<Vec<(RowGroup, Keyed)>> {
        let keys = |group: RowGroup| {
            self.interrupt.check()?;
            let keyed = self.known.keys(&group, self.request)?;
            Ok((group, keyed))
        };
        round.into_par_iter().with_max_len(1).map(keys).collect()
    }

    fn decode(&self, round: Round) -> Result<Vec<Share>> {
        let share = |(group, keyed, numbers): (RowGroup, Keyed, Numbers)| {
            self.interrupt.check()?;
            let cells = self.cells.of(&keyed.layout, &numbers, &self.spare);
            let share = Share::read(&group, self, &keyed.layout, cells)?;
            self.progress.rows.fetch_add(group.rows as u64, Ordering::Relaxed);
            self.progress.bytes.fetch_add(group.fetched() as u64, Ordering::Relaxed);
            Ok(share)
        };
        round.groups.into_par_iter().with_max_len(1).map(share).collect()
    }
}
