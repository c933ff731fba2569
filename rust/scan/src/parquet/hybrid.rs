//! The run-length / bit-packed hybrid of Parquet, which dictionary codes and definition levels are written in.
//!
//! A run is `varint(length << 1)` and one value of ceil(width/8) bytes; a packed stretch is
//! `varint(groups << 1 | 1)` and groups of eight values of `width` bits, least significant bit first.

/// Takes what is decoded, in order.
pub(crate) trait Sink {
    /// `length` times the same code.
    fn run(&mut self, code: u32, length: usize);
    /// `n` codes of one bit, packed; false to get them through `codes`.
    fn bits(&mut self, _bytes: &[u8], _n: usize) -> bool {
        false
    }
    /// Codes one by one.
    fn codes(&mut self, codes: &[u32]);
}

const BLOCK: usize = 512;

/// Decodes `n` codes of `width` bits into `sink`; None where the bytes end early or a width is impossible.
pub(crate) fn decode(bytes: &[u8], width: u32, n: usize, sink: &mut impl Sink) -> Option<()> {
    if width > 32 {
        return None;
    }
    if width == 0 {
        if n > 0 {
            sink.run(0, n);
        }
        return Some(());
    }
    let mut rest = bytes;
    let mut left = n;
    let mut block = [0u32; BLOCK];
    while left > 0 {
        let header = varint(&mut rest)?;
        let count = usize::try_from(header >> 1).ok()?;
        if header & 1 == 0 {
            let size = width.div_ceil(8) as usize;
            let mut value = [0u8; 4];
            value.get_mut(..size)?.copy_from_slice(rest.get(..size)?);
            rest = rest.get(size..)?;
            let length = count.min(left);
            if length == 0 {
                return None;
            }
            sink.run(u32::from_le_bytes(value), length);
            left -= length;
        } else {
            if count == 0 {
                return None;
            }
            let size = count.checked_mul(width as usize)?;
            // A last stretch may be cut to the bytes its values need.
            let packed = rest.get(..size.min(rest.len()))?;
            rest = rest.get(packed.len()..)?;
            let length = count.saturating_mul(8).min(left);
            if packed.len() < (length * width as usize).div_ceil(8) {
                return None;
            }
            let mut done = if width == 1 && sink.bits(packed, length) { length } else { 0 };
            while done < length {
                let take = (length - done).min(BLOCK);
                let from = done / 8 * width as usize;
                unpack(packed.get(from..)?, width, block.get_mut(..take)?);
                sink.codes(block.get(..take)?);
                done += take;
            }
            left -= length;
        }
    }
    Some(())
}

/// Unpacks codes of `width` bits (1..=32) from the start of `bytes`.
fn unpack(bytes: &[u8], width: u32, out: &mut [u32]) {
    // A width that the compiler knows makes every shift a constant.
    macro_rules! known {
        ($($width:literal)*) => {
            match width {
                $($width => unpack_known::<$width>(bytes, out),)*
                _ => unpack_any(bytes, width as usize, 0, out),
            }
        };
    }
    known!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20)
}

/// Eight codes at a time, out of `WIDTH` bytes.
fn unpack_known<const WIDTH: usize>(bytes: &[u8], out: &mut [u32]) {
    let mask = (1u64 << WIDTH) - 1;
    let (eights, _) = out.as_chunks_mut::<8>();
    let whole = eights.len().min(bytes.len() / WIDTH);
    for (codes, packed) in eights.iter_mut().zip(bytes.chunks_exact(WIDTH)) {
        let mut words = [0u64; 4];
        for (at, byte) in packed.iter().enumerate() {
            words[at / 8] |= u64::from(*byte) << (at % 8 * 8);
        }
        for (i, code) in codes.iter_mut().enumerate() {
            let (word, bit) = (i * WIDTH / 64, i * WIDTH % 64);
            let mut value = words[word] >> bit;
            if bit + WIDTH > 64 {
                value |= words[word + 1] << (64 - bit);
            }
            *code = (value & mask) as u32;
        }
    }
    unpack_any(bytes, WIDTH, 8 * whole, out);
}

/// Codes from the `first` on, one by one.
fn unpack_any(bytes: &[u8], width: usize, first: usize, out: &mut [u32]) {
    let mask = (1u64 << width) - 1;
    for (i, code) in out.iter_mut().enumerate().skip(first) {
        let bit = i * width;
        let at = bit / 8;
        let word = match bytes.get(at..at + 8) {
            Some(eight) => <[u8; 8]>::try_from(eight).map_or(0, u64::from_le_bytes),
            None => last_word(bytes, at),
        };
        *code = (word >> (bit % 8) & mask) as u32;
    }
}

#[cold]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0u8; 8];
    for (to, from) in word.iter_mut().zip(bytes.get(at..).unwrap_or_default()) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct All(Vec<u32>);

    impl Sink for All {
        fn run(&mut self, code: u32, length: usize) {
            self.0.extend(std::iter::repeat_n(code, length));
        }
        fn codes(&mut self, codes: &[u32]) {
            self.0.extend_from_slice(codes);
        }
    }

    fn packed(codes: &[u32], width: u32) -> Vec<u8> {
        let groups = codes.len().div_ceil(8);
        let mut bits = vec![0u8; groups * width as usize];
        for (i, code) in codes.iter().enumerate() {
            for bit in 0..width as usize {
                let at = i * width as usize + bit;
                bits[at / 8] |= ((code >> bit & 1) as u8) << (at % 8);
            }
        }
        let mut out = vec![];
        let mut header = (groups as u64) << 1 | 1;
        while header >= 0x80 {
            out.push(header as u8 | 0x80);
            header >>= 7;
        }
        out.push(header as u8);
        out.extend(bits);
        out
    }

    proptest! {
        #[test]
        fn packed_codes_come_back(width in 1u32..=32, raw in prop::collection::vec(any::<u32>(), 1..1500)) {
            let codes: Vec<u32> = raw.iter().map(|x| (u64::from(*x) & ((1u64 << width) - 1)) as u32).collect();
            let mut all = All::default();
            prop_assert!(decode(&packed(&codes, width), width, codes.len(), &mut all).is_some());
            prop_assert_eq!(all.0, codes);
        }

        #[test]
        fn damaged_bytes_do_no_harm(width in 0u32..=40, n in 0usize..3000, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut all = All::default();
            if decode(&bytes, width, n, &mut all).is_some() {
                prop_assert_eq!(all.0.len(), n);
            }
        }
    }

    #[test]
    fn runs_are_kept_whole() {
        let mut all = All::default();
        assert!(decode(&[20 << 1, 3], 2, 20, &mut all).is_some());
        assert_eq!(all.0, vec![3; 20]);
    }
}
