//! Thrift's compact protocol, as far as page headers and the head of a footer use it.

pub(super) const TRUE: u8 = 1;
pub(super) const FALSE: u8 = 2;
pub(super) const INT: u8 = 5;
pub(super) const INT64: u8 = 6;
pub(super) const STRUCT: u8 = 12;

/// A reader of bytes.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Thrift<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A signed integer.
    pub(super) fn int(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// An integer that is a size.
    pub(super) fn size(&mut self) -> Option<usize> {
        usize::try_from(self.int()?).ok()
    }

    /// Type of the next field, its number in `id`; None at the end of the struct.
    #[expect(clippy::option_option, reason = "the outer one says that the bytes end")]
    pub(super) fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *id = match head >> 4 {
            0 => self.int()?,
            step => id.checked_add(i64::from(step))?,
        };
        Some(Some(head & 0x0f))
    }

    /// Passes over a value; None where the bytes end early or it is nested too deep.
    pub(super) fn skip(&mut self, field: u8, depth: usize) -> Option<()> {
        if depth > 8 {
            return None;
        }
        match field {
            TRUE | FALSE => {}
            3 => self.at += 1,
            4..=6 => {
                self.varint()?;
            }
            7 => self.at += 8,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.at = self.at.checked_add(length)?;
            }
            9 | 10 => {
                let head = self.byte()?;
                let n = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                for _ in 0..n {
                    if self.at > self.bytes.len() {
                        return None;
                    }
                    match head & 0x0f {
                        TRUE | FALSE => self.at += 1,
                        kind => self.skip(kind, depth + 1)?,
                    }
                }
            }
            STRUCT => {
                let mut id = 0;
                while let Some(field) = self.field(&mut id)? {
                    self.skip(field, depth + 1)?;
                }
            }
            _ => return None,
        }
        (self.at <= self.bytes.len()).then_some(())
    }
}
