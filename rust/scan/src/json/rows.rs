//! The rows of one file: lines, or the objects of an array, in blocks of bounded memory.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use fearless_simd::Simd;
use memchr::{memchr, memchr_iter, memchr2};
use signoise_core::Interrupt;

use super::Options;
use super::index::{BLOCK, Lists, Tokens};
use super::keys::{Keys, MAX_FIELDS};
use super::mould::Mould;
use super::part::Part;
use super::stops::Stops;
use super::walk::{self, Entry, Fault};
use crate::error::Result;
use crate::text::Text;

/// Letters of a row that are shown.
pub(super) const EXCERPT: usize = 60;

const CUT: &str = "the line ends too early: the file was cut";
const CUT_ARRAY: &str = "the array ends too early: the file was cut";
const NOT_AN_OBJECT: &str = "not a JSON object: each row must be one, {...}";
const NOT_AN_ARRAY: &str = "an array of objects has something else here: the rest of the file was not read";
const AFTER_ARRAY: &str = "something follows the end of the array: it was not read";
const DAMAGED: &str = "the compressed data are damaged or cut: rows up to there were kept";

/// Reads a file behind what `part` holds. `simd` is the level of the machine: it decides about speed and nothing else.
pub(super) fn read_file<S: Simd>(
    simd: S,
    path: &Path,
    part: &mut Part,
    options: &Options,
    scratch: &mut Scratch,
    interrupt: &Interrupt,
) -> Result<()> {
    read_text(simd, Text::open(path), false, part, options, scratch, interrupt)
}

/// Reads a file that was opened, or a segment of a file of lines: `segment`.
pub(super) fn read_text<S: Simd>(
    simd: S,
    text: io::Result<Text>,
    segment: bool,
    part: &mut Part,
    options: &Options,
    scratch: &mut Scratch,
    interrupt: &Interrupt,
) -> Result<()> {
    scratch.mould.clear();
    let keys = Keys::new(&options.selection);
    let mut rows = Rows { simd, keys, columns: Vec::new(), options, scratch, line: 1, part };
    match text {
        Ok(text) => {
            let mut source = Source::new(text, options.block_bytes, std::mem::take(&mut rows.scratch.block));
            rows.read(&mut source, segment, interrupt)?;
            rows.scratch.block = source.buffer;
        }
        Err(error) => rows.part.problem(0, unreadable(&error), &[]),
    }
    rows.part.line_ends = rows.line - 1;
    Ok(())
}

/// Memory that is used again for the next file.
pub(super) struct Scratch {
    lists: Lists,
    mould: Mould,
    stops: Stops,
    entries: Vec<Entry>,
    stack: Vec<u8>,
    block: Vec<u8>,
}

impl Scratch {
    pub(super) fn new(max_depth: usize) -> Self {
        Self {
            lists: Lists::new(),
            mould: Mould::default(),
            stops: Stops::default(),
            entries: Vec::new(),
            stack: vec![0; max_depth],
            block: Vec::new(),
        }
    }
}

struct Rows<'a, S: Simd> {
    simd: S,
    keys: Keys<'a>,
    /// The field of the part that each column of this file is.
    columns: Vec<usize>,
    options: &'a Options,
    scratch: &'a mut Scratch,
    /// Number of the line at hand, from 1.
    line: u32,
    part: &'a mut Part,
}

impl<S: Simd> Rows<'_, S> {
    fn read(&mut self, source: &mut Source, segment: bool, interrupt: &Interrupt) -> Result<()> {
        let first = self.skip_blanks(source, interrupt)?;
        match first {
            None => {}
            // In the midst of a file of lines it is a row like any other.
            Some(b'[') if !segment => self.array(source, interrupt)?,
            Some(_) => self.lines(source, interrupt)?,
        }
        if let Some(reason) = source.failure.take() {
            self.part.problem(0, reason, &[]);
        }
        Ok(())
    }

    /// JSON Lines. What a failed source left without a line end is not a row.
    fn lines(&mut self, source: &mut Source, interrupt: &Interrupt) -> Result<()> {
        let max = self.options.max_line_bytes;
        loop {
            interrupt.check()?;
            let buffer = std::mem::take(&mut source.buffer);
            let data = buffer.get(..source.filled).unwrap_or_default();
            let (mut start, mut stops_found) = (source.start, false);
            loop {
                while stops_found && let Some(line_end) = self.alike(&buffer, start, source.filled) {
                    start = line_end + 1;
                }
                let from = start.max(source.searched);
                let Some(length) = memchr(b'\n', data.get(from..).unwrap_or_default()) else { break };
                if !stops_found && self.scratch.mould.is_cast() {
                    self.scratch.stops.find(self.simd, &buffer, start, source.filled);
                    stops_found = true;
                    continue;
                }
                self.row(data.get(start..from + length).unwrap_or_default());
                self.line = self.line.saturating_add(1);
                start = from + length + 1;
            }
            source.start = start;
            source.searched = source.filled;
            let rest = data.get(start..).unwrap_or_default();
            let (over, ended) = (rest.len() > max, source.ended);
            if ended && source.failure.is_none() {
                self.row(rest);
            }
            source.buffer = buffer;
            if ended {
                return Ok(());
            }
            if over {
                self.pass_over(source, interrupt)?;
            }
            source.fill();
        }
    }

    /// Takes the line that starts at `start` if it is like the one before, whole and sound; where its line end is.
    #[inline(always)]
    fn alike(&mut self, buffer: &[u8], start: usize, filled: usize) -> Option<usize> {
        let Scratch { mould, stops, entries, .. } = &mut *self.scratch;
        let end = mould.fit(self.simd, buffer, stops, start, filled, entries)?;
        let line_end = end + usize::from(buffer.get(end) == Some(&b'\r'));
        if line_end >= filled || buffer.get(line_end) != Some(&b'\n') || line_end - start > self.options.max_line_bytes
        {
            return None;
        }
        self.take(buffer.get(start..end)?);
        self.line = self.line.saturating_add(1);
        Some(line_end)
    }

    /// Reads to the end of a line that is too long without holding it.
    #[cold]
    fn pass_over(&mut self, source: &mut Source, interrupt: &Interrupt) -> Result<()> {
        let mut head = Vec::new();
        loop {
            let newline = memchr(b'\n', source.rest());
            let end = newline.unwrap_or(source.rest().len());
            extend_head(&mut head, source.rest().get(..end).unwrap_or_default());
            source.start += end;
            if newline.is_some() || source.ended {
                self.part.problem(self.line, self.options.too_long(), &head);
                if newline.is_some() {
                    source.start += 1;
                    self.line = self.line.saturating_add(1);
                }
                source.searched = source.start;
                return Ok(());
            }
            interrupt.check()?;
            source.fill();
        }
    }

    /// An array of objects over any number of lines.
    fn array(&mut self, source: &mut Source, interrupt: &Interrupt) -> Result<()> {
        source.start += 1;
        let mut first = true;
        loop {
            match self.skip_blanks(source, interrupt)? {
                Some(b'{') => {}
                Some(b']') if first => break,
                found => {
                    self.array_ends(source, found);
                    return Ok(());
                }
            }
            first = false;
            if !self.element(source, interrupt)? {
                return Ok(());
            }
            match self.skip_blanks(source, interrupt)? {
                Some(b',') => source.start += 1,
                Some(b']') => break,
                found => {
                    self.array_ends(source, found);
                    return Ok(());
                }
            }
        }
        source.start += 1;
        if self.skip_blanks(source, interrupt)?.is_some() {
            self.part.problem(self.line, AFTER_ARRAY.into(), source.head());
        }
        Ok(())
    }

    /// The array has no more objects, but does not close either.
    fn array_ends(&mut self, source: &mut Source, found: Option<u8>) {
        if found.is_some() {
            self.part.problem(self.line, NOT_AN_ARRAY.into(), source.head());
        } else if source.failure.is_none() {
            self.part.problem(self.line, CUT_ARRAY.into(), &[]);
        }
    }

    /// One object of an array; false if the file ends in it.
    fn element(&mut self, source: &mut Source, interrupt: &Interrupt) -> Result<bool> {
        let (mut extent, mut at, start_line) = (Extent::default(), 0, self.line);
        let mut held: Option<Vec<u8>> = None; // the start of an element that is too long to be held
        let end = loop {
            if let Some(end) = extent.find_end(source.rest(), at) {
                break end;
            }
            at = source.rest().len();
            if at > self.options.max_line_bytes || held.is_some() {
                self.line = self.line.saturating_add(newlines(source.rest()));
                extend_head(held.get_or_insert_default(), source.rest());
                source.start = source.filled;
                at = 0;
            }
            if source.ended {
                if source.failure.is_none() {
                    let head = held.as_deref().unwrap_or(source.rest());
                    self.part.problem(start_line, CUT_ARRAY.into(), head);
                }
                return Ok(false);
            }
            interrupt.check()?;
            source.fill();
        };
        let buffer = std::mem::take(&mut source.buffer);
        let element = buffer.get(source.start..source.start + end).unwrap_or_default();
        let passed = newlines(element);
        match held {
            Some(mut head) => {
                extend_head(&mut head, element);
                self.part.problem(start_line, self.options.too_long(), &head);
            }
            None => self.row(element),
        }
        self.line = self.line.saturating_add(passed);
        source.buffer = buffer;
        source.start += end;
        Ok(true)
    }

    /// Moves to the first byte that is not blank.
    fn skip_blanks(&mut self, source: &mut Source, interrupt: &Interrupt) -> Result<Option<u8>> {
        loop {
            let rest = source.rest();
            let blanks = rest.iter().position(|byte| !is_blank(*byte));
            let passed = rest.get(..blanks.unwrap_or(rest.len())).unwrap_or_default();
            self.line = self.line.saturating_add(newlines(passed));
            let found = blanks.and_then(|at| rest.get(at)).copied();
            source.start += passed.len();
            source.searched = source.start;
            if found.is_some() || source.ended {
                return Ok(found);
            }
            interrupt.check()?;
            source.fill();
        }
    }

    /// One row, whole: takes its values or notes what is wrong with it.
    #[inline(always)]
    fn row(&mut self, row: &[u8]) {
        if row.len() > self.options.max_line_bytes {
            return self.too_long(row);
        }
        let row = trim(row);
        if row.is_empty() {
            return;
        }
        let mark = self.keys.mark();
        let mut tokens = Tokens::new(self.simd, row, &mut self.scratch.lists);
        let entries = &mut self.scratch.entries;
        let outcome = walk::walk(&mut tokens, row, &mut self.keys, entries, &mut self.scratch.stack);
        match outcome {
            Ok(()) if !tokens.beyond_ascii || simdutf8::basic::from_utf8(row).is_ok() => {
                if let Some(wanted) = self.keys.row.wanted() {
                    self.scratch.mould.cast(&mut tokens, row, wanted);
                }
                self.take(row);
            }
            Ok(()) => self.reject(row, Fault::Cut, mark),
            Err(fault) => self.reject(row, fault, mark),
        }
    }

    #[inline(always)]
    fn take(&mut self, row: &[u8]) {
        for name in self.keys.names().skip(self.columns.len()) {
            self.columns.push(self.part.field(name, &self.options.selection));
        }
        let number = self.part.lines.len();
        for &entry in &self.scratch.entries {
            if let Some(&column) = self.columns.get(entry.column)
                && let Some(field) = self.part.fields.get_mut(column)
            {
                field.set(number, row, entry);
            }
        }
        self.part.lines.push(self.line);
    }

    #[cold]
    fn reject(&mut self, row: &[u8], fault: Fault, mark: (usize, usize)) {
        self.keys.forget(mark);
        self.part.too_many |= fault == Fault::Fields;
        let reason = diagnose(row, fault, self.scratch.stack.len());
        self.part.problem(self.line, reason, row);
    }

    #[cold]
    fn too_long(&mut self, row: &[u8]) {
        self.part.problem(self.line, self.options.too_long(), row);
    }
}

/// The reason why a row is not sound, by definitions that do not depend on how it was read.
fn diagnose(row: &[u8], fault: Fault, max_depth: usize) -> String {
    if let Err(error) = simdutf8::compat::from_utf8(row) {
        let byte = error.valid_up_to() + 1;
        return match error.error_len() {
            None => CUT.into(),
            Some(_) => format!("not UTF-8 (byte {byte} of the row): convert the file"),
        };
    }
    if row.first() != Some(&b'{') {
        return NOT_AN_OBJECT.into();
    }
    let mut extent = Extent::default();
    let (mut at, mut deepest) = (0, 0);
    while at < row.len() {
        at = extent.step(row, at);
        deepest = deepest.max(extent.depth);
    }
    match fault {
        _ if deepest > max_depth => format!("nested deeper than {max_depth} levels: raise max_depth if that is right"),
        _ if extent.in_string || extent.depth > 0 => CUT.into(),
        Fault::Fields => format!("more than {MAX_FIELDS} different fields in one file: name those to keep with only"),
        Fault::Syntax(at) => format!("not valid JSON (byte {} of the row)", at + 1),
        Fault::Cut | Fault::Deep => "not valid JSON".into(),
    }
}

/// How deep a byte lies, counting brackets outside strings.
#[derive(Default)]
struct Extent {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Extent {
    /// Takes the byte at `at`, or the rest of a string; where to go on.
    fn step(&mut self, text: &[u8], at: usize) -> usize {
        let rest = text.get(at..).unwrap_or_default();
        if self.escaped {
            self.escaped = false;
            return at + 1;
        }
        if self.in_string {
            let Some(found) = memchr2(b'"', b'\\', rest) else { return text.len() };
            if rest.get(found) == Some(&b'"') {
                self.in_string = false;
            } else {
                self.escaped = true;
            }
            return at + found + 1;
        }
        match rest.first() {
            Some(b'"') => self.in_string = true,
            Some(b'{' | b'[') => self.depth += 1,
            Some(b'}' | b']') => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        at + 1
    }

    /// The end of the object that starts `text`, looking from `at` on.
    fn find_end(&mut self, text: &[u8], mut at: usize) -> Option<usize> {
        while at < text.len() {
            at = self.step(text, at);
            if self.depth == 0 {
                return Some(at);
            }
        }
        None
    }
}

/// A text and the part of it that is in memory.
struct Source {
    text: Text,
    block: usize,
    buffer: Vec<u8>,
    /// First byte not used up.
    start: usize,
    /// First byte that was not searched for a line end.
    searched: usize,
    filled: usize,
    ended: bool,
    failure: Option<String>,
}

impl Source {
    fn new(text: Text, block: usize, buffer: Vec<u8>) -> Self {
        let mut source = Self { text, block, buffer, start: 0, searched: 0, filled: 0, ended: false, failure: None };
        source.fill();
        source
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.filled).unwrap_or_default()
    }

    /// What is not used up, enough of it for an excerpt.
    fn head(&mut self) -> &[u8] {
        while self.rest().len() < 4 * EXCERPT && !self.ended {
            self.fill();
        }
        self.rest()
    }

    /// Reads one more block behind what is not used up.
    fn fill(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.searched = self.searched.saturating_sub(self.start);
            self.start = 0;
        }
        let goal = self.filled + self.block;
        if self.buffer.len() < goal + BLOCK {
            self.buffer.resize(goal + BLOCK, 0);
        }
        while self.filled < goal && !self.ended {
            let Some(room) = self.buffer.get_mut(self.filled..goal) else { return };
            match self.text.read(room) {
                Ok(0) => self.ended = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    self.failure = Some(match error.raw_os_error() {
                        Some(_) => unreadable(&error),
                        None => DAMAGED.into(),
                    });
                }
            }
        }
    }
}

fn unreadable(error: &io::Error) -> String {
    if error.raw_os_error().is_none() {
        return DAMAGED.into();
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    format!("the file cannot be read: {text}")
}

/// Keeps as much of a row as an excerpt may need.
fn extend_head(head: &mut Vec<u8>, bytes: &[u8]) {
    let room = (4 * EXCERPT).saturating_sub(head.len());
    head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

pub(super) fn trim(mut row: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = row
        && is_blank(*first)
    {
        row = rest;
    }
    while let [rest @ .., last] = row
        && is_blank(*last)
    {
        row = rest;
    }
    row
}

fn newlines(text: &[u8]) -> u32 {
    u32::try_from(memchr_iter(b'\n', text).count()).unwrap_or(u32::MAX)
}
