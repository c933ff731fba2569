//! Where a string ends that begins somewhere: one bit a byte of a whole buffer, for rows that are not indexed.
//!
//! Bits of quotes that are not escaped, of control characters and of wrong escapes. The first of them after the start of
//! a string is its closing quote if the string is sound; what else it is shows in the byte there.

use fearless_simd::{Simd, prelude::*, u8x64};

use super::index::{BLOCK, Carry, four_digits, ones, short_escapes};

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

    /// The first one at `at` or behind it.
    #[inline(always)]
    pub(super) fn next(&self, at: usize) -> Option<usize> {
        let (mut word, shift) = (at / BLOCK, at % BLOCK);
        let [low, high] = *self.bits.get(word..)?.first_chunk()?;
        // 64 bits from `at` on, so that no processor has to foresee which strings reach into the next block.
        let found = (low >> shift) | ((high << 1) << (BLOCK - 1 - shift));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize);
        }
        word += 1;
        loop {
            let bits = *self.bits.get(word)?;
            if bits != 0 {
                return Some(word * BLOCK + bits.trailing_zeros() as usize);
            }
            word += 1;
        }
    }
}
