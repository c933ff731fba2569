//! Where a string ends that begins somewhere: one bit a byte of a whole buffer, for rows that are not indexed.
//!
//! Bits of quotes that are not escaped, of control characters and of wrong escapes. The first of them after the start of
//! a string is its closing quote if the string is sound; what else it is shows in the byte there. So in rows of one
//! layout the n-th stop of a row is always the same quote, and where it is needs no look at what stands before it.

use fearless_simd::{Simd, mask8x64, prelude::*, u8x64, u16x32};

use super::index::{BLOCK, Carry, LANES, four_digits, ones, presses, short_escapes};

/// Blocks that a list reaches over: as many as two bytes can count.
const REACH: usize = (1 << 16) / BLOCK;
/// Places listed at a time, past the end of those that count.
const STEP: usize = 8;
const HALF: usize = BLOCK / 2;

/// The stops of a buffer; memory that is used again for the next.
#[derive(Default)]
pub(super) struct Stops {
    bits: Vec<u64>,
    /// Whether the buffer has bytes beyond ASCII.
    pub(super) beyond_ascii: bool,
}

impl Stops {
    /// Finds those of `data` from `from`, where a line starts, to `filled`. Behind that there is at least a block more.
    pub(super) fn find<S: Simd>(&mut self, simd: S, data: &[u8], from: usize, filled: usize) {
        let (first, end) = (from / BLOCK, filled.div_ceil(BLOCK));
        let Some(blocks) = data.as_chunks::<BLOCK>().0.get(first..end) else { return self.bits.clear() };
        self.bits.resize(end + 1, 0);
        let bits = self.bits.get_mut(first..).unwrap_or_default();
        let beyond_ascii = &mut self.beyond_ascii;
        simd.vectorize(
            #[inline(always)]
            || {
                let mut carry = Carry::default();
                let mut seen = u8x64::splat(simd, 0);
                for (index, (to, block)) in bits.iter_mut().zip(blocks).enumerate() {
                    let bytes = u8x64::load_array_ref(simd, block);
                    seen |= bytes;
                    let stops = (bytes.simd_eq(b'"') | bytes.simd_lt(b' ')).to_bitmask();
                    let escaped = carry.escaped(bytes.simd_eq(b'\\').to_bitmask());
                    *to = stops;
                    if escaped != 0 {
                        let mut wrong = escaped & !short_escapes(bytes);
                        for bit in ones(wrong) {
                            if four_digits(data, (first + index) * BLOCK + bit) {
                                wrong ^= 1 << bit;
                            }
                        }
                        *to = stops & !escaped | wrong;
                    }
                }
                *beyond_ascii = seen.simd_ge(0x80).to_bitmask() != 0;
            },
        );
        if let Some(last) = self.bits.last_mut() {
            *last = 0;
        }
    }

    /// Lists the first `count` of them from `at` on, as distances from the block of `at`; None where they are fewer, or
    /// too far away for such a list.
    #[inline(always)]
    pub(super) fn list<S: Simd>(&self, simd: S, at: usize, count: usize, to: &mut Vec<u16>) -> Option<()> {
        let room = count + 2 * BLOCK;
        if to.len() < room {
            to.resize(room, 0);
        }
        let mut listed = 0;
        let mut counts = u64::MAX << (at % BLOCK);
        for (block, bits) in self.bits.get(at / BLOCK..)?.iter().take(REACH).enumerate() {
            let bits = bits & counts;
            counts = u64::MAX;
            list_block(simd, block * BLOCK, bits, to.get_mut(listed..)?.first_chunk_mut()?)?;
            listed += bits.count_ones() as usize;
            if listed >= count {
                return Some(());
            }
        }
        None
    }
}

/// From bits to places: eight a step, or by pressing bytes together, as in the index.
#[inline(always)]
fn list_block<S: Simd>(simd: S, base: usize, mut bits: u64, to: &mut [u16; BLOCK]) -> Option<()> {
    if presses(simd.level()) {
        let places = u8x64::load_array_ref(simd, &LANES).compress(mask8x64::from_bitmask(simd, bits));
        let base = u16x32::splat(simd, base as u16);
        let (first, second) = places.widen();
        (first + base).store_array(to.first_chunk_mut()?);
        if bits.count_ones() as usize > HALF {
            (second + base).store_array(to.last_chunk_mut()?);
        }
        return Some(());
    }
    let mut at = 0;
    while bits != 0 {
        for place in to.get_mut(at..)?.first_chunk_mut::<STEP>()? {
            *place = (base + (bits | 1 << 63).trailing_zeros() as usize) as u16;
            bits &= bits.wrapping_sub(1);
        }
        at += STEP;
    }
    Some(())
}
