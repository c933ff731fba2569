//! Moments of groups of rows over Parquet files of any size, in one pass and bounded memory.
//!
//! Row groups are read ahead by a thread of their own (unless there is to be one alone) and worked on in rounds: keys and scores are decoded in
//! parallel, then added to the groups in row-group order, each thread taking its share of the groups. So the bits do
//! not depend on how many threads there are.
//!
//! Twin: python/signoise/reference/_scan.py

mod cells;
mod identity;
mod keyed;
pub(crate) mod layout;
mod share;
mod sums;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use rayon::prelude::*;
use signoise_core::parallel::Interrupt;

use self::cells::{Cells, Numbers};
use self::keyed::{Keyed, Known};
use self::share::Share;
pub use self::sums::Moments;
use crate::error::Result;
use crate::parquet::{Label, Needed, RowGroup, RowGroups};

/// What to aggregate.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Parquet files, in order.
    pub files: Vec<PathBuf>,
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
    /// For each score column the moments of each group.
    pub scores: Vec<Moments>,
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

/// Rows of a round, at least, for each thread: enough to keep it busy, and little memory.
const ROUND_ROWS: usize = 1 << 19;

/// Moments of the groups of a request.
///
/// # Errors
/// A file that is missing, damaged or of types that cannot be scanned; an interrupt.
pub fn aggregate(request: &Request, progress: &Progress, interrupt: &Interrupt) -> Result<Groups> {
    let needed = Needed {
        keys: request.keys.clone(),
        values: request.values.clone(),
        identity: request.identity.clone(),
        constant: request.constant.clone(),
    };
    let threads = rayon::current_num_threads();
    let mut groups = RowGroups::new(request.files.clone(), needed);
    let mut cells = Cells::new(request);
    let known = Known::default();
    let mut add = |round: &[RowGroup]| add_round(round, request, &known, &mut cells, progress, interrupt);
    if threads == 1 {
        loop {
            let round = next_round(&mut groups, threads)?;
            if round.is_empty() {
                break;
            }
            add(&round)?;
        }
    } else {
        std::thread::scope(|scope| {
            // One round waits while another is worked on.
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
            rounds.into_iter().try_for_each(|round| add(&round?))
        })?;
    }
    Ok(cells.finish(request, progress.rows.load(Ordering::Relaxed)))
}

fn next_round(groups: &mut RowGroups, threads: usize) -> Result<Vec<RowGroup>> {
    let (mut round, mut rows) = (Vec::new(), 0);
    while rows < threads * ROUND_ROWS || round.len() < threads {
        let Some(group) = groups.next()? else { break };
        rows += group.rows;
        if group.rows > 0 {
            round.push(group);
        }
    }
    Ok(round)
}

fn add_round(
    round: &[RowGroup],
    request: &Request,
    known: &Known,
    cells: &mut Cells,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let keyed: Vec<Keyed> = round
        .par_iter()
        .with_max_len(1)
        .map(|group| {
            interrupt.check()?;
            known.keys(group, request)
        })
        .collect::<Result<_>>()?;
    // In row-group order, so that the numbers do not depend on threads.
    let placed: Vec<Numbers> = keyed.iter().map(|keyed| cells.place(keyed)).collect();
    cells.grow();
    let shares: Vec<Share> = round
        .par_iter()
        .zip(keyed)
        .zip(&placed)
        .with_max_len(1)
        .map(|((group, keyed), numbers)| {
            interrupt.check()?;
            let mut share = cells.share(keyed.layout, numbers);
            if let Some(column) = &request.identity {
                share.read_identities(group, column, known)?;
            }
            for column in &request.values {
                share.read_scores(group, column)?;
            }
            progress.rows.fetch_add(group.rows as u64, Ordering::Relaxed);
            progress.bytes.fetch_add(group.fetched() as u64, Ordering::Relaxed);
            Ok(share)
        })
        .collect::<Result<_>>()?;
    cells.add(&shares);
    Ok(())
}
