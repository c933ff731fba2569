//! Sums of rows under counts from tables: what three instances add to a sum, for each of the counts they may have.
//!
//! A table of 125 sums serves all replicates, so a triple costs one addition a replicate and row; the order is that of
//! `spans`, and eight rows go side by side. A few rows are multiplied (`few`), zeros and ones are counted (`bits`).
//! Cost O(n rows (125 / 3 + B / 3)).

use fearless_simd::{Level, Simd, dispatch, f64x8, prelude::*, u8x64, u16x32};

use super::bits::BitRows;
use super::draw::Sampler;
use super::few::FewRows;
use super::spans::{BLOCK, Beyond, MOST, QUAD, QUADS, SPAN, TRIPLE, WIDTH, cut, each_replicate};
use crate::error::Result;
use crate::parallel::{Interrupt, map_groups};
use crate::random::wide::Address;

/// Counts that a triple knows.
const BASE: usize = MOST as usize + 1;
/// Entries of a table: more than there are, so that every byte has one.
const ENTRIES: usize = 256;
/// Quads whose tables are read together. This and what follows is of no influence on the values.
const TOGETHER: usize = 2;
/// Rows side by side in registers.
const LANES: usize = 8;

/// Replicates whose counts are drawn together.
const DRAWN_TOGETHER: usize = 64;
/// Parts that share tables, at most and at least.
const MOST_PARTS: usize = 16;
const FEWEST_PARTS: usize = 4;
/// Pieces of work that keep several threads busy.
const PIECES: usize = 8;

/// Where the triples of a quad are in their tables.
type Places = [u8; QUAD];
type Table<S> = [f64x8<S>; ENTRIES];
type Column = [f64; LANES];
/// Columns of a quad: its triples, instance by instance.
type QuadColumns = [[Column; TRIPLE]; QUAD];

/// Counts of one stratum in a few replicates, as places in the tables.
#[derive(Debug)]
struct Drawn {
    /// Quad by quad, those of all replicates.
    places: Vec<Places>,
    /// Counts that tables do not know, replicate by replicate.
    beyond: Vec<Vec<Beyond>>,
    /// Instances that each replicate holds.
    held: Vec<u64>,
}

impl Drawn {
    #[inline(always)]
    fn new<S: Simd>(simd: S, sampler: &Sampler, addresses: &[Address]) -> Self {
        let spans = sampler.n().div_ceil(SPAN);
        let mut places = vec![[0; QUAD]; spans * QUADS * addresses.len()];
        let mut beyond = Vec::with_capacity(addresses.len());
        let mut held = Vec::with_capacity(addresses.len());
        each_replicate(simd, sampler, addresses, |replicate, counts, total| {
            let mut more = Vec::new();
            cut(simd, counts, &mut more);
            for (span, cells) in counts.as_chunks::<SPAN>().0.iter().enumerate() {
                for (quad, found) in quads(simd, cells).into_iter().enumerate() {
                    if let Some(place) = places.get_mut(position(span, quad, spans) * addresses.len() + replicate) {
                        *place = found;
                    }
                }
            }
            beyond.push(more);
            held.push(total);
        });
        Self { places, beyond, held }
    }

    /// Places of one quad in all replicates.
    fn of(&self, quad: usize) -> &[Places] {
        let replicates = self.held.len();
        self.places.get(quad * replicates..(quad + 1) * replicates).unwrap_or(&[])
    }
}

/// Where a quad stands: in a block the quads q of all spans stand together, in the order in which they are added up.
#[inline(always)]
fn position(span: usize, quad: usize, spans: usize) -> usize {
    let start = span / BLOCK * BLOCK;
    start * QUADS + quad * BLOCK.min(spans - start) + (span - start)
}

/// Places of a span's quads: entry c0 + 5 c1 + 25 c2 of a triple's table.
#[inline(always)]
fn quads<S: Simd>(simd: S, cells: &[u16; SPAN]) -> [Places; QUADS] {
    let base = u16x32::splat(simd, BASE as u16);
    let thirds = cells.as_chunks::<WIDTH>().0.iter().rev();
    let triples = thirds.fold(u16x32::splat(simd, 0), |place, &counts| place * base + u16x32::simd_from(simd, counts));
    let bytes: u8x64<S> = triples.narrow(triples);
    // Triples q, q + 8, q + 16 and q + 24 side by side.
    let (low, high) = bytes.split().0.split();
    let (even, odd) = (low.zip_low(high), low.zip_high(high));
    let mut places = [[0; QUAD]; QUADS];
    let found: [[u8; QUAD * QUADS / 2]; 2] = [even.zip_low(odd).into(), even.zip_high(odd).into()];
    places.as_flattened_mut().iter_mut().zip(found.as_flattened()).for_each(|(place, &found)| *place = found);
    places
}

/// Sums of rows and the instances held, replicate by replicate.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// One a row.
    pub(super) sums: Vec<f64>,
    /// Instances that each replicate holds.
    pub(super) held: Vec<u64>,
}

impl Sums {
    fn joined(parts: &[Self]) -> Self {
        let sums = parts.iter().flat_map(|part| part.sums.iter().copied()).collect();
        Self { sums, held: parts.iter().flat_map(|part| part.held.iter().copied()).collect() }
    }
}

/// Rows of one stratum.
#[derive(Debug)]
pub(super) enum Rows<'a> {
    One(FewRows<1>),
    Two(FewRows<2>),
    Three(FewRows<3>),
    /// Zeros and ones, enough of them for that to pay.
    Bits(BitRows),
    Many(Vec<&'a [f64]>),
}

impl<'a> Rows<'a> {
    pub(super) fn new(level: Level, rows: Vec<&'a [f64]>, interrupt: &Interrupt) -> Result<Self> {
        if let Some(bits) = BitRows::new(level, &rows, interrupt)? {
            return Ok(Self::Bits(bits));
        }
        Ok(match *rows.as_slice() {
            [a] => Self::One(FewRows::new([a])),
            [a, b] => Self::Two(FewRows::new([a, b])),
            [a, b, c] => Self::Three(FewRows::new([a, b, c])),
            _ => Self::Many(rows),
        })
    }

    /// Sums under the counts drawn at some addresses.
    pub(super) fn sums(
        &self,
        level: Level,
        sampler: &Sampler,
        addresses: &[Address],
        interrupt: &Interrupt,
    ) -> Result<Sums> {
        let parts: Vec<&[Address]> = addresses.chunks(DRAWN_TOGETHER).collect();
        let part = |at: usize| parts.get(at).copied().unwrap_or_default();
        let apart = |at| {
            Ok(dispatch!(level, simd => match self {
                Self::One(rows) => rows.sums(simd, sampler, part(at)),
                Self::Two(rows) => rows.sums(simd, sampler, part(at)),
                Self::Three(rows) => rows.sums(simd, sampler, part(at)),
                Self::Bits(rows) => rows.sums(simd, sampler, part(at)),
                Self::Many(_) => Sums::default(),
            }))
        };
        let Self::Many(rows) = self else {
            return Ok(Sums::joined(&map_groups(parts.len(), interrupt, apart)?));
        };
        let drawn =
            map_groups(parts.len(), interrupt, |at| Ok(dispatch!(level, simd => Drawn::new(simd, sampler, part(at)))))?;
        let sums = by_tables(level, rows, &drawn, interrupt)?;
        Ok(Sums { sums, held: drawn.into_iter().flat_map(|part| part.held).collect() })
    }
}

/// Replicate by replicate, one sum a row.
fn by_tables(level: Level, rows: &[&[f64]], drawn: &[Drawn], interrupt: &Interrupt) -> Result<Vec<f64>> {
    let tiles: Vec<&[&[f64]]> = rows.chunks(LANES).collect();
    let together = (drawn.len() * tiles.len() / PIECES).clamp(FEWEST_PARTS, MOST_PARTS);
    let parts: Vec<&[Drawn]> = drawn.chunks(together).collect();
    let found = map_groups(tiles.len() * parts.len(), interrupt, |piece| {
        let (part, tile) = (piece / tiles.len(), piece % tiles.len());
        let (Some(&drawn), Some(&rows)) = (parts.get(part), tiles.get(tile)) else { return Ok(Vec::new()) };
        Ok(dispatch!(level, simd => tile_sums(simd, rows, drawn)))
    })?;
    // Of every part the rows of one tile after the other, each replicate by replicate.
    let mut sums = vec![0.0; rows.len() * replicates(drawn)];
    let mut rest = sums.as_mut_slice();
    for (found, part) in found.chunks(tiles.len().max(1)).zip(&parts) {
        let (own, later) = rest.split_at_mut(rows.len() * replicates(part));
        rest = later;
        for (tile, found) in found.iter().enumerate() {
            for (found, place) in found.iter().zip(own.chunks_mut(rows.len())) {
                let place = place.get_mut(tile * LANES..).unwrap_or(&mut []);
                place.iter_mut().zip(found).for_each(|(place, &sum)| *place = sum);
            }
        }
    }
    Ok(sums)
}

fn replicates(drawn: &[Drawn]) -> usize {
    drawn.iter().map(|part| part.held.len()).sum()
}

/// Sums of at most eight rows, replicate by replicate.
#[inline(always)]
fn tile_sums<S: Simd>(simd: S, rows: &[&[f64]], drawn: &[Drawn]) -> Vec<Column> {
    let x = columns(rows);
    let zero = f64x8::splat(simd, 0.0);
    let mut sums = vec![zero; replicates(drawn)];
    let mut block_sums = sums.clone();
    let mut tables = [[[zero; ENTRIES]; QUAD]; TOGETHER];
    let mut at = 0;
    for block in x.chunks(BLOCK * QUADS) {
        for spans in block.chunks(block.len() / QUADS) {
            for pair in spans.chunks(TOGETHER) {
                tables.iter_mut().zip(pair).for_each(|(tables, x)| fill(simd, x, tables));
                let mut rest = block_sums.as_mut_slice();
                for part in drawn {
                    let (own, later) = rest.split_at_mut(part.held.len());
                    rest = later;
                    match pair {
                        [_, _] => add_two(&tables, part.of(at), part.of(at + 1), own),
                        _ => add_one(&tables, part.of(at), own),
                    }
                }
                at += pair.len();
            }
            for (sum, block_sum) in sums.iter_mut().zip(&mut block_sums) {
                *sum += *block_sum;
                *block_sum = zero;
            }
        }
    }
    for (sum, beyond) in sums.iter_mut().zip(drawn.iter().flat_map(|part| &part.beyond)) {
        *sum += beyond.iter().fold(zero, |rest, &(at, more)| {
            let (span, at) = (at as usize / SPAN, at as usize % SPAN);
            let [quad, triple, third] = within(at);
            let columns = x.get(position(span, quad, x.len() / QUADS));
            let x = columns.map_or([0.0; LANES], |columns| columns[triple][third]);
            rest + f64x8::simd_from(simd, x) * f64x8::splat(simd, f64::from(more))
        });
    }
    sums.into_iter().map(Into::into).collect()
}

/// Quad of an instance of a span, its triple in the quad and its place in the triple.
#[inline(always)]
const fn within(at: usize) -> [usize; 3] {
    let (third, triple) = (at / WIDTH % TRIPLE, at % WIDTH);
    [triple % QUADS, triple / QUADS % QUAD, third]
}

/// The rows side by side, quad by quad, zeros beyond them to the end of the span.
fn columns(rows: &[&[f64]]) -> Vec<QuadColumns> {
    let spans = rows.first().map_or(0, |row| row.len()).div_ceil(SPAN);
    let mut columns = vec![QuadColumns::default(); spans * QUADS];
    for (place, row) in rows.iter().take(LANES).enumerate() {
        for (span, x) in row.chunks(SPAN).enumerate() {
            for (at, &x) in x.iter().enumerate() {
                let [quad, triple, third] = within(at);
                if let Some(quad) = columns.get_mut(position(span, quad, spans)) {
                    quad[triple][third][place] = x;
                }
            }
        }
    }
    columns
}

/// Tables of a quad of one span. Twice a number is exact, so three times is rounded once, and four times is exact again.
#[inline(always)]
fn fill<S: Simd>(simd: S, x: &QuadColumns, tables: &mut [Table<S>; QUAD]) {
    for (x, table) in x.iter().zip(tables) {
        let [x0, x1, x2] = x.map(|x| {
            let once = f64x8::simd_from(simd, x);
            let twice = once + once;
            [f64x8::splat(simd, 0.0), once, twice, twice + once, twice + twice]
        });
        let pairs = x1.map(|x1| x0.map(|x0| x0 + x1));
        for (entries, x2) in table.as_chunks_mut::<{ BASE * BASE }>().0.iter_mut().zip(x2) {
            entries.iter_mut().zip(pairs.as_flattened()).for_each(|(entry, pair)| *entry = *pair + x2);
        }
    }
}

/// Adds one quad to the sum of each replicate.
#[inline(always)]
fn add_one<S: Simd>([tables, _]: &[[Table<S>; QUAD]; TOGETHER], places: &[Places], sums: &mut [f64x8<S>]) {
    for (sum, places) in sums.iter_mut().zip(places) {
        *sum += of_quad(tables, places);
    }
}

/// Adds two quads, one after the other.
#[inline(always)]
fn add_two<S: Simd>(
    [first, second]: &[[Table<S>; QUAD]; TOGETHER],
    places: &[Places],
    next: &[Places],
    sums: &mut [f64x8<S>],
) {
    for (sum, (places, next)) in sums.iter_mut().zip(places.iter().zip(next)) {
        *sum = (*sum + of_quad(first, places)) + of_quad(second, next);
    }
}

#[inline(always)]
fn of_quad<S: Simd>([t0, t1, t2, t3]: &[Table<S>; QUAD], places: &Places) -> f64x8<S> {
    let [a, b, c, d] = places.map(usize::from);
    (t0[a] + t1[b]) + (t2[c] + t3[d])
}
