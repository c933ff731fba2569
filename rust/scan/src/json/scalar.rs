//! Numbers and words of JSON, and the text of its strings.

/// A value that is neither string, array nor object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// The value, and whether it is a whole number that a double may not hold.
    Number(f64, bool),
}

/// Whole numbers up to here are doubles: 2^53.
const EXACT: u64 = 1 << 53;
/// Powers of ten that are doubles.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// True where a number or a word may end: at a blank, at an operator, at the end of the text.
fn ends(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|&byte| byte <= b' ' || matches!(byte, b',' | b'}' | b']' | b':' | b'{' | b'['))
}

/// End of the number or word that starts at `at`; None where it is none.
pub(super) fn end(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let words: &[&[u8]] = match rest.first()? {
        b't' => &[b"true"],
        b'f' => &[b"false"],
        b'n' => &[b"null"],
        b'N' => &[b"NaN"],
        b'I' => &[b"Infinity"],
        b'-' if rest.get(1) == Some(&b'I') => &[b"-Infinity"],
        _ => return number_end(text, at),
    };
    let end = at + words.iter().find(|word| rest.starts_with(word))?.len();
    ends(text, end).then_some(end)
}

fn digits_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
}

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
fn number_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + usize::from(text.get(start) == Some(&b'-'));
    let first = at;
    at = digits_end(text, at);
    if at == first || (text.get(first) == Some(&b'0') && at > first + 1) {
        return None;
    }
    if text.get(at) == Some(&b'.') {
        let fraction = at + 1;
        at = digits_end(text, fraction);
        if at == fraction {
            return None;
        }
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let exponent = at + 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        at = digits_end(text, exponent);
        if at == exponent {
            return None;
        }
    }
    ends(text, at).then_some(at)
}

/// The value of a number or word that [`end`] found sound.
pub(super) fn value(literal: &[u8]) -> Option<Scalar> {
    if let Some(number) = short_decimal(literal) {
        return Some(Scalar::Number(number, false));
    }
    Some(match literal {
        b"null" => Scalar::Null,
        b"true" => Scalar::Bool(true),
        b"false" => Scalar::Bool(false),
        b"NaN" => Scalar::Number(f64::NAN, false),
        b"Infinity" => Scalar::Number(f64::INFINITY, false),
        b"-Infinity" => Scalar::Number(f64::NEG_INFINITY, false),
        _ => {
            let number: f64 = std::str::from_utf8(literal).ok()?.parse().ok()?;
            let whole = literal.len() > 15 && literal.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-');
            Scalar::Number(number, whole && number.abs() >= EXACT as f64)
        }
    })
}

/// A decimal of at most 15 digits without exponent: an exact integer over an exact power of ten, so one division
/// rounds it correctly (Clinger 1990).
fn short_decimal(literal: &[u8]) -> Option<f64> {
    let (negative, digits) = match literal {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, literal),
    };
    if digits.len() > 16 {
        return None;
    }
    let (mut mantissa, mut count, mut point) = (0u64, 0, None);
    for (index, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                count += 1;
            }
            b'.' => point = Some(index),
            _ => return None,
        }
    }
    if count > 15 {
        return None;
    }
    let decimals = point.map_or(0, |index| digits.len() - 1 - index);
    let number = mantissa as f64 / TENS.get(decimals)?;
    Some(if negative { -number } else { number })
}

/// Appends the text of a sound string (without its quotes). Half a surrogate pair becomes U+FFFD.
pub(super) fn unescape(raw: &[u8], to: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        to.extend_from_slice(plain);
        let (byte, used) = match escape.get(1) {
            Some(b'b') => (8, 2),
            Some(b'f') => (12, 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'u') => {
                let (letter, used) = letter(escape);
                to.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                rest = escape.get(used..).unwrap_or_default();
                continue;
            }
            Some(&byte) => (byte, 2),
            None => return,
        };
        to.push(byte);
        rest = escape.get(used..).unwrap_or_default();
    }
    to.extend_from_slice(rest);
}

/// The letter at the start of `\uXXXX` or `\uXXXX\uXXXX`, and how many bytes it takes.
fn letter(escape: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let hex = escape.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
    };
    let first = unit(0).unwrap_or(0xfffd);
    if (0xd800..0xdc00).contains(&first)
        && let Some(second) = unit(6)
        && (0xdc00..0xe000).contains(&second)
    {
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn numbers_by_the_grammar_only() {
        for good in ["0", "-0", "10", "1.5", "0.001", "1e5", "1E+5", "-1.25e-3", "NaN", "-Infinity", "true"] {
            assert_eq!(end(good.as_bytes(), 0), Some(good.len()), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "-NaN", "nul", "truee", "1\"", "0x1", "1_0", "\\"] {
            assert_eq!(end(bad.as_bytes(), 0), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn decimals_are_rounded_correctly(text in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,18})?(e-?[0-9]{1,3})?") {
            let expected: f64 = text.parse().unwrap();
            let Some(Scalar::Number(found, _)) = value(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(found.to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn escapes() {
        let text = |raw: &str| {
            let mut to = Vec::new();
            unescape(raw.as_bytes(), &mut to);
            String::from_utf8(to).unwrap()
        };
        assert_eq!(text(r#"a\n\"\u00e9\ud83d\ude00\/"#), "a\n\"\u{e9}\u{1f600}/");
        assert_eq!(text(r"\ud83dx\ude00\ud83d\ud83d\ude00"), "\u{fffd}x\u{fffd}\u{fffd}\u{1f600}");
    }
}
