//! JSON Lines of which few fields are wanted: every row is checked whole, only the wanted fields are stored.
//!
//! A row is an object; a file holds one a line, or is one array of them. A row is sound if it is UTF-8 and JSON
//! (RFC 8259, with the bare words `NaN`, `Infinity`, `-Infinity` that Python writes). Of a key that occurs twice the
//! last value counts. A row that is not sound is left out and told with its line; the others are kept.
//!
//! Twin: `python/signoise/reference/_json.py`. Cost: O(bytes) time, memory for one row and a bit for each of its bytes,
//! the index of 48 kB, and the wanted values.

mod columns;
mod index;
mod keys;
mod mould;
mod part;
mod rows;
mod scalar;
mod stops;
mod walk;

use std::path::{Path, PathBuf};

use fearless_simd::{Level, dispatch};
use rayon::prelude::*;
use signoise_core::{Error as CoreError, Interrupt};

pub use columns::{Field, Texts};
pub use keys::{MAX_FIELDS, Selection};
pub use walk::kind;

use crate::error::Result;
use crate::text::{self, Text};
use part::Part;
use rows::{Scratch, read_file, read_text};

/// Bytes read at a time: small enough to stay in a core's cache until they are scanned.
pub const BLOCK_BYTES: usize = 1 << 18;

/// Longer files of lines are read by several threads, each a segment of at least so many bytes.
pub const SEGMENT_BYTES: u64 = 1 << 25;

/// How to read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Fields to keep.
    pub selection: Selection,
    /// Longer rows are left out.
    pub max_line_bytes: usize,
    /// Rows with more levels of arrays and objects are left out.
    pub max_depth: usize,
    /// Bytes read at a time. The result does not depend on it.
    pub block_bytes: usize,
    /// Bytes of a file that one thread reads at least. The result does not depend on it.
    pub segment_bytes: u64,
}

impl Options {
    fn too_long(&self) -> String {
        format!("longer than {} bytes: raise max_line_bytes if the row is right", self.max_line_bytes)
    }

    fn check(&self) -> Result<()> {
        let argument = |name, expected, found: usize| CoreError::Argument { name, expected, found: found.to_string() };
        if self.max_line_bytes == 0 || self.max_line_bytes > 1 << 31 {
            return Err(argument("max_line_bytes", "from 1 to 2147483648", self.max_line_bytes).into());
        }
        if self.max_depth == 0 || self.max_depth > 1 << 20 {
            return Err(argument("max_depth", "from 1 to 1048576", self.max_depth).into());
        }
        if self.block_bytes == 0 {
            return Err(argument("block_bytes", "at least 1", self.block_bytes).into());
        }
        Ok(())
    }
}

/// A row that was left out; line 0 is the rest of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the row starts, from 1.
    pub line: u32,
    /// What is wrong, and what to do about it.
    pub reason: String,
    /// How the row starts.
    pub excerpt: String,
}

/// Rows of several files, in their order.
#[derive(Debug, Default, PartialEq)]
pub struct Rows {
    /// Index of the file, a row each.
    pub file: Vec<u32>,
    /// Line where the row starts, a row each.
    pub line: Vec<u32>,
    /// The fields, in the order in which they were met.
    pub fields: Vec<Field>,
    /// What was left out, with the index of the file: the first ones.
    pub problems: Vec<(u32, Problem)>,
    /// How much was left out.
    pub n_problems: u64,
}

/// Reads files; several at a time on the current thread pool.
///
/// # Errors
/// Options out of range, or an interrupt. What is wrong with a file is told in the result.
pub fn read_json_lines(paths: &[PathBuf], options: &Options, interrupt: &Interrupt) -> Result<Rows> {
    options.check()?;
    read_at(Level::new(), paths, options, interrupt)
}

/// The same with the instructions of a level, of which no bit of the result depends.
fn read_at(level: Level, paths: &[PathBuf], options: &Options, interrupt: &Interrupt) -> Result<Rows> {
    let begin = || (Part::default(), Scratch::new(options.max_depth));
    let parts: Vec<Part> = paths
        .par_iter()
        .enumerate()
        .try_fold(begin, |(mut part, mut scratch), (file, path)| {
            interrupt.check()?;
            part.begin(file as u32);
            match in_segments(level, path, part.file, options, interrupt)? {
                Some(segments) => part.append(segments),
                None => {
                    dispatch!(level, simd => read_file(simd, path, &mut part, options, &mut scratch, interrupt))?;
                }
            }
            Ok((part, scratch))
        })
        .map(|read| read.map(|(part, _)| part))
        .collect::<Result<_>>()?;
    let joined = parts.into_iter().reduce(|mut all, part| {
        all.append(part);
        all
    });
    Ok(joined.unwrap_or_default().finish())
}

/// A long file of lines, cut between lines and read by several threads. None where it is not long, or where what one
/// segment holds changes how the next ones must be read: a file that fails, too many different fields.
fn in_segments(level: Level, path: &Path, file: u32, options: &Options, interrupt: &Interrupt) -> Result<Option<Part>> {
    let Ok(cuts) = text::cuts(path, options.segment_bytes) else { return Ok(None) };
    if cuts.is_empty() {
        return Ok(None);
    }
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let segments: Vec<(u64, u64)> = starts.zip(cuts.iter().copied().chain([u64::MAX])).collect();
    let parts: Vec<Part> = segments
        .par_iter()
        .map_init(
            || Scratch::new(options.max_depth),
            |scratch, &(start, end)| {
                let mut part = Part::default();
                part.begin(file);
                let text = Text::open_between(path, start, end);
                dispatch!(level, simd => read_text(simd, text, true, &mut part, options, scratch, interrupt))?;
                Ok(part)
            },
        )
        .collect::<Result<_>>()?;
    let unlike = |part: &Part| part.too_many || part.problems.iter().any(|(_, problem)| problem.line == 0);
    if parts.iter().any(unlike) {
        return Ok(None);
    }
    let joined = parts.into_iter().reduce(|mut whole, segment| {
        whole.append_segment(segment);
        whole
    });
    Ok(joined.filter(|whole| whole.fields.len() <= MAX_FIELDS))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn levels() -> Vec<Level> {
        let best = Level::new();
        #[cfg(target_arch = "x86_64")]
        let lower = [best.as_sse4_2().map(Level::Sse4_2), best.as_avx2().map(Level::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let lower = [None];
        lower.into_iter().flatten().chain([Level::baseline(), best]).collect()
    }

    fn options(block_bytes: usize, max_line_bytes: usize) -> Options {
        Options { selection: Selection::default(), max_line_bytes, max_depth: 6, block_bytes, segment_bytes: 0 }
    }

    /// What every level and every size of block makes of a file, once.
    fn read(name: &str, content: &[u8], max_line_bytes: usize) -> Rows {
        let path = std::env::temp_dir().join(format!("signoise-{}-{name}.jsonl", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let paths = [path.clone(), path.clone()];
        let at = |level, block| read_at(level, &paths, &options(block, max_line_bytes), &Interrupt::new()).unwrap();
        let expected = at(Level::new(), BLOCK_BYTES);
        for level in levels() {
            for block in [1, 7, 64, 1000] {
                assert_eq!(format!("{:?}", at(level, block)), format!("{expected:?}"), "{level:?}, {block}");
            }
        }
        for segment_bytes in [1, 2, 5, 23, 64, 200] {
            let options = Options { segment_bytes, ..options(BLOCK_BYTES, max_line_bytes) };
            let found = read_json_lines(&paths, &options, &Interrupt::new()).unwrap();
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "segments of {segment_bytes}");
        }
        std::fs::remove_file(path).unwrap();
        expected
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("NaN".to_owned()),
            any::<f64>().prop_filter("JSON has no inf", |x| x.is_finite()).prop_map(|x| format!("{x:e}")),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
            "[\\\\\"a ]{0,70}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::vec(inner, 0..4).prop_map(|items| {
                    let pairs: Vec<_> = items.iter().enumerate().map(|(i, item)| format!("\"k{i}\": {item}")).collect();
                    format!("{{{}}}", pairs.join(" ,"))
                }),
            ]
        })
    }

    fn row() -> impl Strategy<Value = String> {
        prop::collection::vec(value(), 0..4).prop_map(|values| {
            let pairs: Vec<_> = values.iter().enumerate().map(|(i, value)| format!("\"f{i}\": {value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn sound_rows_are_all_kept(rows in prop::collection::vec(row(), 0..6), array: bool) {
            let content = if array { format!("[{}]", rows.join(",\n")) } else { rows.join("\r\n") };
            let found = read("sound", content.as_bytes(), 1 << 20);
            prop_assert_eq!(found.n_problems, 0);
            prop_assert_eq!(found.line.len(), 2 * rows.len());
        }

        #[test]
        fn damage_is_the_same_damage(
            rows in prop::collection::vec(row(), 1..6),
            array: bool,
            at: prop::sample::Index,
            with in prop::sample::select(&b"\"\\{}[],:\n\x00\xff1w "[..]),
            long in prop::sample::select(&[50_usize, 1 << 20][..]),
        ) {
            let mut content = if array { format!("[{}]", rows.join(",\n")) } else { rows.join("\n") }.into_bytes();
            let at = at.index(content.len());
            content[at] = with;
            read("damage", &content, long);
        }
    }

    /// A row of a layout that all rows have, as of one program.
    fn alike() -> impl Strategy<Value = String> {
        let text = prop_oneof![any::<String>(), "[\\\\\"a\\n ]{0,150}", "[a-z]{60,70}", Just(String::new())];
        let word =
            prop_oneof![Just("true".to_owned()), Just("-0.5e3".to_owned()), (0..2000_i32).prop_map(|x| x.to_string())];
        (word.clone(), prop::collection::vec(text, 5), word).prop_map(|(id, texts, score)| {
            let texts: Vec<_> = texts.iter().map(|text| serde_json::to_string(text).unwrap()).collect();
            let [a, b, c, d, e] = texts.as_slice() else { unreachable!() };
            format!(
                "{{\"id\": {id}, \"doc\": {{\"q\": {a}, \"a key that is longer than thirty-two bytes\": [{b}, {{}}]}}, \
                 \"e\": [], \"p\": [[{c}, {d}]], \"t\": {e}, \"acc\": {score}}}"
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Rows are read alike whether they look like the ones before or stand alone.
        #[test]
        fn rows_that_look_alike(
            rows in prop::collection::vec(alike(), 1..12),
            at: prop::sample::Index,
            with in prop::sample::select(&b"\"\\{}]],:\n\x00\xff1w "[..]),
            damage: bool,
            carriage: bool,
        ) {
            let mut content = rows.join(if carriage { "\r\n" } else { "\n" }).into_bytes();
            if damage {
                let at = at.index(content.len());
                content[at] = with;
            }
            let found = read("alike", &content, 1 << 20);
            let lines: Vec<_> = content.split(|byte| *byte == b'\n').collect();
            let paths: Vec<PathBuf> = (0..2 * lines.len())
                .map(|index| std::env::temp_dir().join(format!("signoise-{}-alone-{index}.jsonl", std::process::id())))
                .collect();
            for (path, line) in paths.iter().zip(lines.iter().chain(&lines)) {
                std::fs::write(path, line).unwrap();
            }
            let mut alone = read_json_lines(&paths, &options(BLOCK_BYTES, 1 << 20), &Interrupt::new()).unwrap();
            paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
            let count = lines.len() as u32;
            for (file, line) in alone.file.iter_mut().zip(&mut alone.line) {
                (*file, *line) = (*file / count, *file % count + 1);
            }
            for (file, problem) in &mut alone.problems {
                (*file, problem.line) = (*file / count, *file % count + 1);
            }
            prop_assert_eq!(format!("{found:?}"), format!("{alone:?}"));
        }
    }

    #[test]
    fn a_row_in_brackets_begins_no_array() {
        let found = read("brackets", b"{\"a\": 1}\n[{\"a\": 2}]\n\xef\xbb\xbf{\"a\": 3}\n{\"a\": 4}\n", 1 << 20);
        assert_eq!((found.n_problems, found.line), (4, vec![1, 4, 1, 4]));
    }

    #[test]
    fn rows_longer_than_a_portion_of_the_index() {
        let long = format!("{{\"a\": [{}], \"b\": 1}}", vec!["[1, \"\\\\\", {\"x\": null}]"; 5000].join(","));
        let found = read("long", [long.as_str(), &long].join("\n").as_bytes(), 1 << 20);
        assert_eq!((found.n_problems, found.line.len()), (0, 4));
    }

    #[test]
    fn an_interrupt_stops_the_reading() {
        let interrupt = Interrupt::new();
        interrupt.raise();
        let paths = [PathBuf::from("nowhere")];
        assert!(read_json_lines(&paths, &options(1, 1), &interrupt).is_err());
    }
}
