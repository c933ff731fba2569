//! Where the tokens of a JSON text are: 64 bytes at a time, with one bit a byte.
//!
//! For each block: bitmaps of quotes, backslashes, the six operators and blanks; which quotes are escaped (carries of
//! a subtraction run along each series of backslashes); what lies in strings (a running exclusive or over the quotes).
//! What is left are the starts of tokens: operators, opening quotes, first bytes of numbers and words. The walker
//! goes from start to start and never looks into strings. The idea is that of Langdale & Lemire, "Parsing gigabytes
//! of JSON per second", VLDB Journal 28 (2019). Results are integers: the same on every machine.

use fearless_simd::{Level, Simd, mask8x64, prelude::*, u8x64};

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 64;
/// Blocks listed at a time: as many as a byte can count.
const PORTION: usize = 256;
/// Tokens are listed so many at a time, past the end of those that count.
const STEP: usize = 8;
/// How numbers and words are listed, whatever they begin with.
pub(super) const WORD: u8 = b'w';

/// Memory for the tokens of one portion; reused from row to row.
pub(super) struct Lists {
    /// First byte of each token, [`WORD`] for numbers and words.
    bytes: Vec<u8>,
    /// The block of the portion where it is.
    blocks: Vec<u8>,
    /// Where in the block.
    offsets: Vec<u8>,
}

impl Lists {
    pub(super) fn new() -> Self {
        let room = vec![0; (PORTION + 1) * BLOCK];
        Self { bytes: room.clone(), blocks: room.clone(), offsets: room }
    }

    /// Room for the tokens of a block from `at` on.
    #[inline(always)]
    fn room<const N: usize>(&mut self, at: usize) -> Option<(&mut [u8; N], &mut [u8; N], &mut [u8; N])> {
        Some((
            self.bytes.get_mut(at..)?.first_chunk_mut()?,
            self.blocks.get_mut(at..)?.first_chunk_mut()?,
            self.offsets.get_mut(at..)?.first_chunk_mut()?,
        ))
    }
}

/// What one block hands to the next.
#[derive(Clone, Copy, Default)]
pub(super) struct Carry {
    /// 1 if the first byte of the next block is escaped.
    escaped: u64,
    /// All ones if the next block begins in a string.
    in_string: u64,
    /// 1 if the last byte belonged to a number or a word.
    word: u64,
}

/// The tokens of one row.
pub(super) struct Tokens<'a, S: Simd> {
    simd: S,
    text: &'a [u8],
    lists: &'a mut Lists,
    /// Tokens listed.
    count: usize,
    /// Bytes before the portion at hand, and up to its end.
    base: usize,
    indexed: usize,
    /// The block at hand of the portion.
    block: usize,
    carry: Carry,
    /// The first byte that cannot stand where it stands: a control character, a wrong escape.
    pub(super) bad: Option<usize>,
    /// True once a byte beyond ASCII was seen.
    pub(super) beyond_ascii: bool,
}

impl<'a, S: Simd> Tokens<'a, S> {
    pub(super) fn new(simd: S, text: &'a [u8], lists: &'a mut Lists) -> Self {
        Self {
            simd,
            text,
            lists,
            count: 0,
            base: 0,
            indexed: 0,
            block: 0,
            carry: Carry::default(),
            bad: None,
            beyond_ascii: false,
        }
    }

    /// Position and first byte of the next token; `at` counts the tokens of the portion.
    #[inline(always)]
    pub(super) fn next(&mut self, at: &mut usize) -> Option<(usize, u8)> {
        while *at >= self.count {
            if self.indexed >= self.text.len() {
                return None;
            }
            self.refill();
            *at = 0;
        }
        let token = self.at(*at)?;
        *at += 1;
        Some(token)
    }

    /// Position and first byte of a token of the portion at hand.
    #[inline(always)]
    pub(super) fn at(&self, at: usize) -> Option<(usize, u8)> {
        Some((self.position(at)?, *self.lists.bytes.get(at)?))
    }

    /// Where a token of the portion at hand is.
    #[inline(always)]
    pub(super) fn position(&self, at: usize) -> Option<usize> {
        let (block, offset) = (*self.lists.blocks.get(at)?, *self.lists.offsets.get(at)?);
        Some(self.base + usize::from(block) * BLOCK + usize::from(offset))
    }

    /// True if the tokens from `at` on are these, all in the portion at hand.
    #[inline(always)]
    pub(super) fn are(&self, at: usize, bytes: &[u8]) -> bool {
        let end = at + bytes.len();
        end <= self.count && self.lists.bytes.get(at..end) == Some(bytes)
    }

    /// All tokens of a text that is no longer than a portion.
    #[inline(always)]
    pub(super) fn of_one_portion(&mut self) -> Option<&[u8]> {
        if self.text.len() > PORTION * BLOCK {
            return None;
        }
        if self.indexed == 0 {
            self.refill();
        }
        self.lists.bytes.get(..self.count)
    }

    #[inline(never)]
    fn refill(&mut self) {
        let portion = self.text.get(self.indexed..).unwrap_or_default();
        let portion = portion.get(..PORTION * BLOCK).unwrap_or(portion);
        let (blocks, rest) = portion.as_chunks::<BLOCK>();
        self.base = self.indexed;
        self.block = 0;
        self.count = 0;
        let simd = self.simd;
        simd.vectorize(
            #[inline(always)]
            || {
                let mut carry = self.carry;
                for block in blocks {
                    self.index_block(block, &mut carry);
                }
                if !rest.is_empty() {
                    let mut last = [b' '; BLOCK];
                    for (to, from) in last.iter_mut().zip(rest) {
                        *to = *from;
                    }
                    self.index_block(&last, &mut carry);
                }
                self.carry = carry;
            },
        );
        self.indexed = self.base + portion.len();
    }

    #[inline(always)]
    fn index_block(&mut self, block: &[u8; BLOCK], carry: &mut Carry) {
        let bytes = u8x64::load_array_ref(self.simd, block);
        let backslash = bytes.simd_eq(b'\\').to_bitmask();
        let quote = bytes.simd_eq(b'"').to_bitmask();
        // 0x20 is what tells [ from { and ] from }.
        let folded = bytes | u8x64::splat(self.simd, 0x20);
        let operator =
            (folded.simd_eq(b'{') | folded.simd_eq(b'}') | bytes.simd_eq(b',') | bytes.simd_eq(b':')).to_bitmask();
        let blank = bytes.simd_le(b' ').to_bitmask();
        let control = bytes.simd_lt(b' ').to_bitmask();
        let high = bytes.simd_ge(0x80).to_bitmask();
        self.beyond_ascii |= high != 0;

        let escaped = carry.escaped(backslash);
        let quote = quote & !escaped;
        let in_string = running_xor(quote) ^ carry.in_string;
        carry.in_string = 0u64.wrapping_sub(in_string >> 63);
        let word = !(operator | blank | quote);
        let follows_word = (word << 1) | carry.word;
        carry.word = word >> 63;
        let inside = in_string ^ quote; // a string without its opening quote
        let starts = (operator | (!blank & !follows_word)) & !inside;
        self.list(block, bytes, starts, starts & !(operator | quote));
        if control != 0 {
            self.check_controls(block, control, in_string);
        }
        let escaped = escaped & in_string;
        if escaped != 0 {
            let others = escaped & !short_escapes(bytes);
            if others != 0 {
                self.check_escapes(others);
            }
        }
        self.block += 1;
    }

    /// From bits to lists: all tokens of a block at once where the machine can press bytes together, else eight a
    /// step, whether there are as many or not: no processor foresees where a loop over the bits ends.
    #[inline(always)]
    fn list(&mut self, block: &[u8; BLOCK], bytes: u8x64<S>, starts: u64, words: u64) {
        let end = self.count + starts.count_ones() as usize;
        if presses(self.simd.level()) {
            if let Some((kinds, blocks, offsets)) = self.lists.room(self.count) {
                let mask = mask8x64::from_bitmask(self.simd, starts);
                let words = mask8x64::from_bitmask(self.simd, words);
                let bytes = words.select(u8x64::splat(self.simd, WORD), bytes);
                bytes.compress(mask).store_array(kinds);
                u8x64::load_array_ref(self.simd, &LANES).compress(mask).store_array(offsets);
                u8x64::splat(self.simd, self.block as u8).store_array(blocks);
            }
        } else {
            let (mut bits, mut at) = (starts, self.count);
            while at < end {
                let Some((kinds, blocks, offsets)) = self.lists.room::<STEP>(at) else { return };
                for ((kind, to), offset) in kinds.iter_mut().zip(blocks).zip(offsets) {
                    let bit = (bits | 1 << 63).trailing_zeros();
                    bits &= bits.wrapping_sub(1);
                    *kind = KINDS[block[bit as usize & (BLOCK - 1)] as usize];
                    *offset = bit as u8;
                    *to = self.block as u8;
                }
                at += STEP;
            }
        }
        self.count = end;
    }

    /// Tabs and line breaks may stand between tokens; nothing else, and nothing in strings.
    #[inline(never)]
    fn check_controls(&mut self, block: &[u8; BLOCK], control: u64, in_string: u64) {
        for bit in ones(control) {
            let between = matches!(block.get(bit), Some(b'\t' | b'\n' | b'\r'));
            if !between || (in_string >> bit) & 1 == 1 {
                self.bad.get_or_insert(self.base + self.block * BLOCK + bit);
                return;
            }
        }
    }

    /// What is no escape of one letter must be `u` with four hexadecimal digits.
    #[inline(always)]
    fn check_escapes(&mut self, escaped: u64) {
        for bit in ones(escaped) {
            let at = self.base + self.block * BLOCK + bit;
            if !four_digits(self.text, at) {
                self.bad.get_or_insert(at);
                return;
            }
        }
    }
}

impl Carry {
    /// Bits of the bytes that a backslash escapes: those at odd distance from the start of a series.
    #[inline(always)]
    pub(super) fn escaped(&mut self, backslash: u64) -> u64 {
        const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;
        if backslash == 0 {
            return std::mem::take(&mut self.escaped);
        }
        let escapes = backslash & !self.escaped;
        let marked = ((escapes << 1) | ODD).wrapping_sub(escapes) ^ ODD;
        let escaped = marked ^ (backslash | self.escaped);
        self.escaped = (marked & backslash) >> 63;
        escaped
    }
}

/// True where `compress` is an instruction.
#[inline(always)]
pub(super) fn presses(level: Level) -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return matches!(level, Level::Avx512(_));
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    return matches!(level, _ if false);
}

/// `0, 1, .. 63`
pub(super) static LANES: [u8; BLOCK] = {
    let mut lanes = [0; BLOCK];
    let mut lane = 0;
    while lane < BLOCK {
        lanes[lane] = lane as u8;
        lane += 1;
    }
    lanes
};

/// How a token is listed that begins with a byte.
static KINDS: [u8; 256] = {
    let mut kinds = [WORD; 256];
    let others = b"{}[],:\"";
    let mut index = 0;
    while index < others.len() {
        kinds[others[index] as usize] = others[index];
        index += 1;
    }
    kinds
};

/// Bit `i` of the result is the exclusive or of bits `0..=i`.
#[inline(always)]
const fn running_xor(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ (bits << 32)
}

/// Bits of the letters that make an escape with nothing but a backslash before them.
#[inline(always)]
pub(super) fn short_escapes<S: Simd>(bytes: u8x64<S>) -> u64 {
    let letters = bytes.simd_eq(b'"')
        | bytes.simd_eq(b'\\')
        | bytes.simd_eq(b'/')
        | bytes.simd_eq(b'b')
        | bytes.simd_eq(b'f')
        | bytes.simd_eq(b'n')
        | bytes.simd_eq(b'r')
        | bytes.simd_eq(b't');
    letters.to_bitmask()
}

/// Whether at `at` there is `u` with four hexadecimal digits.
#[inline(always)]
pub(super) fn four_digits(text: &[u8], at: usize) -> bool {
    matches!(text.get(at..at + 5), Some([b'u', digits @ ..]) if digits.iter().all(u8::is_ascii_hexdigit))
}

/// Positions of the bits that are set.
#[inline(always)]
pub(super) fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let bit = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        Some(bit)
    })
}
