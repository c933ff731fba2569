//! Keys of a row group: read and folded, or known from one whose key columns are written with the same bytes.
//!
//! Checkpoints of one run are scored on the same instances in the same order, so one row group after the other has
//! the same bytes in the columns of tasks and instances.

use std::sync::{Arc, Mutex, PoisonError};

use super::Request;
use super::identity::{codes_differ, hashes_differ};
use super::layout::{Folder, Layout};
use crate::error::Result;
use crate::parquet::{Label, RowGroup, Written, constant, read_identities, read_keys};

/// Labels of each key of a row group, and which rows have which.
pub(crate) struct Keyed {
    pub(crate) labels: Vec<Arc<[Label]>>,
    pub(crate) layout: Arc<Layout>,
}

impl Keyed {
    /// The labels of an outer tuple.
    pub(crate) fn checkpoint(&self, tuple: &[u32], inner: &[bool]) -> Vec<Label> {
        let outer = self.labels.iter().zip(inner).filter(|(_, inner)| !**inner);
        outer.zip(tuple).filter_map(|((labels, _), &code)| labels.get(code as usize).cloned()).collect()
    }
}

/// What was read last, for whoever comes to a row group with the same bytes.
#[derive(Default)]
pub(crate) struct Known {
    keys: Mutex<Option<Arc<Keys>>>,
    instances: Mutex<Option<Arc<Instances>>>,
}

struct Keys {
    rows: usize,
    /// None where the column is constant by its statistics: whatever its label, it has one.
    written: Vec<Option<Written>>,
    labels: Vec<Arc<[Label]>>,
    layout: Arc<Layout>,
}

struct Instances {
    written: Option<Written>,
    layout: Arc<Layout>,
    differ: Arc<[bool]>,
}

fn get<T>(slot: &Mutex<Option<Arc<T>>>) -> Option<Arc<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set<T>(slot: &Mutex<Option<Arc<T>>>, known: T) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(known));
}

impl Known {
    /// Keys of a row group.
    pub(crate) fn keys(&self, group: &RowGroup, request: &Request) -> Result<Keyed> {
        let constants = request.keys.iter().map(|key| constant(group, key)).collect::<Result<Vec<_>>>()?;
        let written = request
            .keys
            .iter()
            .zip(&constants)
            .map(|(key, constant)| if constant.is_some() { Ok(None) } else { group.written(key) })
            .collect::<Result<Vec<_>>>()?;
        if let Some(known) = get(&self.keys)
            && known.rows == group.rows
            && known.written == written
        {
            let labels = constants.into_iter().zip(&known.labels).map(|(constant, known)| match constant {
                Some(label) => Arc::from([label]),
                None => Arc::clone(known),
            });
            return Ok(Keyed { labels: labels.collect(), layout: Arc::clone(&known.layout) });
        }
        let mut labels: Vec<Arc<[Label]>> = Vec::with_capacity(request.keys.len());
        let mut folder = Folder::new(&request.inner, group.rows);
        for (key, column) in request.keys.iter().enumerate() {
            let keys = read_keys(group, column)?;
            folder.push(key, keys.codes, keys.labels.len());
            labels.push(keys.labels.into());
        }
        let layout = Arc::new(folder.finish());
        // Rows in any order do not come twice.
        if layout.lengths.is_some() {
            set(&self.keys, Keys { rows: group.rows, written, labels: labels.clone(), layout: Arc::clone(&layout) });
        }
        Ok(Keyed { labels, layout })
    }

    /// For each run (first row, length) of a row group whether its instances are known to differ.
    pub(crate) fn differ(
        &self,
        group: &RowGroup,
        column: &str,
        layout: &Arc<Layout>,
        runs: &[(u32, u32)],
    ) -> Result<Arc<[bool]>> {
        let written = group.written(column)?;
        if let Some(known) = get(&self.instances)
            && written.is_some()
            && Arc::ptr_eq(&known.layout, layout)
            && known.written == written
        {
            return Ok(Arc::clone(&known.differ));
        }
        let mut hashes = Vec::new();
        let codes = read_identities(group, column, false, &mut |piece| hashes.extend_from_slice(piece))?;
        let mut differ = match codes {
            Some(codes) => codes_differ(&codes, runs),
            None => hashes_differ(&hashes, runs),
        };
        // Two runs of one group may share instances.
        for (differ, repeated) in differ.iter_mut().zip(&layout.repeated) {
            *differ &= !repeated;
        }
        let differ: Arc<[bool]> = differ.into();
        set(&self.instances, Instances { written, layout: Arc::clone(layout), differ: Arc::clone(&differ) });
        Ok(differ)
    }
}
