//! What each target does with its bytes: what the Python package does with those of a file. The first bytes choose
//! options, so that one target sees all of them. Errors are fine; anything else that ends the process is a finding.
//!
//! The targets of `targets/` call these, and so do the tests of `signoise-scan` with the cases that are kept.

use std::backtrace::Backtrace;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;
use signoise_core::Interrupt;
use signoise_core::laws::{Loss, Measure, Program, Task, fit_laws, law_derivatives, law_values};
use signoise_scan::aggregate::{Progress, aggregate};
use signoise_scan::archive::{archive_names, archive_read};
use signoise_scan::checksum::file_checksums;
use signoise_scan::json::{self, Options, Selection, read_json_lines};
use signoise_scan::store::{Cells, Column, Dtype, Kind, write_part};
use signoise_scan::text::{Packing, Text, cuts};
use signoise_scan::{Piece, dense, parquet_footers as footers};

/// Panics of the `parquet` library that `parquet/library.rs` turns into errors; any other one ends the process.
pub fn forgive_the_library() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !Backtrace::force_capture().to_string().contains("library::guarded") {
            abort(panic);
        }
    }));
}

/// Calls with the path of a file that has these bytes. `TMPDIR` should be in memory.
fn with_file<T>(content: &[u8], call: impl FnOnce(&Path) -> T) -> T {
    let thread = std::thread::current().id();
    let path = std::env::temp_dir().join(format!("signoise-fuzz-{}-{thread:?}", std::process::id()));
    std::fs::write(&path, content).expect("TMPDIR can be written");
    let result = call(&path);
    std::fs::remove_file(&path).expect("nobody else removes it");
    result
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// JSON Lines and arrays, packed or not; small blocks and segments read the same.
pub fn json_lines(data: &[u8]) {
    let [how, content @ ..] = data else { return };
    let names = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let selection = match how & 3 {
        0 => Selection::default(),
        1 => Selection { only: Some(names(&["doc_id", "acc", "a"])), ..Selection::default() },
        2 => Selection { skip: names(&["doc", "arguments", "a"]), ..Selection::default() },
        _ => Selection { odd: names(&["acc", "a", "b"]), ..Selection::default() },
    };
    let options = |block_bytes, segment_bytes| Options {
        selection: selection.clone(),
        max_line_bytes: if how & 4 == 0 { 1 << 20 } else { 64 },
        max_depth: if how & 8 == 0 { 64 } else { 3 },
        block_bytes,
        segment_bytes,
    };
    with_file(content, |path| {
        let read =
            |options| read_json_lines(&[path.to_owned()], &options, &Interrupt::new()).expect("options are sound");
        let whole = read(options(json::BLOCK_BYTES, json::SEGMENT_BYTES));
        if Packing::of(content) == Packing::Plain {
            let block = [1, 7, 64, 1000][usize::from(how >> 4 & 3)];
            let pieces = read(options(block, [1 << 40, 23, 100, 5][usize::from(how >> 6)]));
            if whole != pieces {
                // NaN differs from itself, and not as text.
                assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
            }
        }
    });
}

/// Packed text, cuts between lines, checksums.
pub fn text(data: &[u8]) {
    let [size, content @ ..] = data else { return };
    with_file(content, |path| {
        if let Ok(text) = Text::open(path) {
            // Memory is the window of the decoder alone, however much comes out.
            let _ = std::io::copy(&mut text.take(1 << 24), &mut std::io::sink());
        }
        let places = cuts(path, u64::from(*size)).expect("the file can be read");
        assert!(places.is_sorted_by(|a, b| a < b));
        for &place in &places {
            assert_eq!(content[place as usize - 1], b'\n');
        }
        checksums(path, content.len());
    });
}

fn checksums(path: &Path, size: usize) {
    for whole in [false, true] {
        let found = file_checksums(&[path.display().to_string()], whole, &Interrupt::new()).expect("it can be read");
        assert_eq!(found[0].size, size as u64);
    }
}

/// Every member of a zip archive.
pub fn archive(data: &[u8]) {
    const MOST: u64 = 1 << 20;
    with_file(data, |path| {
        let interrupt = Interrupt::new();
        let Ok(members) = archive_names(path, &interrupt) else { return };
        for member in members.into_iter().take(16) {
            if let Ok(read) = archive_read(path, &[member.name], MOST, &interrupt) {
                assert!(read[0].len() as u64 <= MOST);
            }
        }
    });
}

/// Rows and layouts of footers, and the checksums of files that have one.
pub fn parquet_footers(data: &[u8]) {
    with_file(data, |path| {
        let found = footers(&[path.to_owned()]);
        assert_eq!((found.rows.len(), found.layouts.len()), (1, 1));
        checksums(path, data.len());
    });
}

/// A Parquet file of instances, summed up by groups.
pub fn parquet_aggregate(data: &[u8]) {
    let [how, content @ ..] = data else { return };
    let values = [&["acc"][..], &["loss", "small"], &["count", "long"], &["acc", "loss", "part"]];
    let keys: &[&str] = if how & 4 == 0 { &["run", "step", "task"] } else { &["seed", "task"] };
    with_file(content, |path| {
        sum_up(signoise_scan::aggregate::Request {
            pieces: vec![Piece::whole(path.to_owned())],
            keys: strings(keys),
            inner: keys.iter().map(|&key| key == "task").collect(),
            by: if how & 8 == 0 { keys.len() } else { 1 },
            values: strings(values[usize::from(how & 3)]),
            identity: [None, Some("id"), Some("number"), None][usize::from(how >> 4 & 3)].map(Into::into),
            constant: if how & 64 == 0 { Vec::new() } else { strings(&["metric"]) },
        });
    });
}

fn sum_up(request: signoise_scan::aggregate::Request) {
    let (progress, interrupt) = (Progress::default(), Interrupt::new());
    let Ok(found) = aggregate(&request, &progress, &interrupt) else { return };
    let groups = found.doubtful.len();
    assert!(found.codes.len() == request.by && found.labels.len() == request.by);
    assert!(found.codes.iter().all(|codes| codes.len() == groups));
    assert_eq!(found.moments.n.len(), groups * request.values.len());
    for (codes, labels) in found.codes.iter().zip(&found.labels) {
        assert!(codes.iter().all(|&code| (code as usize) < labels.len()));
    }
    let rows: u64 = found.moments.n.iter().sum();
    assert!(rows <= found.rows * request.values.len() as u64);
}

/// The same file as dense matrices.
pub fn parquet_dense(data: &[u8]) {
    let [how, content @ ..] = data else { return };
    with_file(content, |path| {
        lay_out(dense::Request {
            files: vec![path.to_owned()],
            outer: strings(if how & 1 == 0 { &["run", "step"] } else { &["seed"] }),
            inner: strings(&["task"]),
            identity: if how & 2 == 0 { "id" } else { "number" }.into(),
            values: strings(if how & 4 == 0 { &["acc"] } else { &["acc", "loss", "count"] }),
            extras: strings(if how & 8 == 0 { &[] } else { &["metric", "part"] }),
            cells: if how & 16 == 0 { 1 << 20 } else { 10 },
        });
    });
}

fn lay_out(request: dense::Request) {
    let (interrupt, metrics) = (Interrupt::new(), request.values.len());
    let Ok(scan) = dense::Scan::new(request, &interrupt) else { return };
    let number: Vec<u32> = (0..scan.checkpoints.len() as u32).collect();
    for first in (0..number.len()).step_by(scan.at_once().max(1)) {
        let Ok(matrices) = scan.matrices(&number, first, &interrupt) else { return };
        for matrix in matrices {
            assert!(matrix.unit < scan.unit_labels.len() && matrix.scores.len() == metrics);
        }
    }
}

/// One column chunk in an otherwise sound Parquet file: its bytes are pages, all of them at the mercy of the fuzzer.
pub fn parquet_pages(data: &[u8]) {
    let Some((&[how, codec, rows, more], pages)) = data.split_first_chunk() else { return };
    let Some(file) = one_column(how, codec, i64::from(rows) << (more & 31), pages) else { return };
    with_file(&file, |path| {
        let x = || strings(&["x"]);
        let base =
            || signoise_scan::aggregate::Request { pieces: vec![Piece::whole(path.to_owned())], ..Default::default() };
        match how >> 4 & 3 {
            0 => sum_up(signoise_scan::aggregate::Request { values: x(), ..base() }),
            1 => sum_up(signoise_scan::aggregate::Request { keys: x(), inner: vec![codec & 64 == 0], by: 1, ..base() }),
            2 => sum_up(signoise_scan::aggregate::Request { values: x(), identity: Some("x".into()), ..base() }),
            _ => lay_out(dense::Request {
                files: vec![path.to_owned()],
                identity: "x".into(),
                values: x(),
                cells: 100,
                ..Default::default()
            }),
        }
    });
}

/// A file of one row group and one column `x`.
fn one_column(how: u8, codec: u8, rows: i64, pages: &[u8]) -> Option<Vec<u8>> {
    let kinds = ["boolean", "int32", "int64", "float", "double", "binary", "fixed_len_byte_array(2)", "int96"];
    let (kind, logical) = match (how & 7, codec & 128) {
        (5, 0) => ("binary", " (UTF8)"),
        (6, 0) => ("fixed_len_byte_array(2)", " (FLOAT16)"),
        (1, 0) => ("int32", " (INTEGER(8, true))"),
        (at, _) => (kinds[usize::from(at)], ""),
    };
    let presence = if how & 8 == 0 { "required" } else { "optional" };
    let schema = parse_message_type(&format!("message m {{ {presence} {kind} x{logical}; }}")).ok()?;
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
    let codec = match codec & 7 {
        0 | 1 => Compression::UNCOMPRESSED,
        2 => Compression::SNAPPY,
        3 => Compression::ZSTD(ZstdLevel::default()),
        4 => Compression::LZ4_RAW,
        5 => Compression::GZIP(Default::default()),
        6 => Compression::BROTLI(Default::default()),
        _ => Compression::LZ4,
    };
    let chunk = ColumnChunkMetaData::builder(schema.column(0))
        .set_compression(codec)
        .set_num_values(rows)
        .set_total_compressed_size(pages.len() as i64)
        .set_total_uncompressed_size(pages.len() as i64)
        .set_data_page_offset(4)
        .build()
        .ok()?;
    let group = RowGroupMetaData::builder(Arc::clone(&schema))
        .set_num_rows(rows)
        .set_total_byte_size(pages.len() as i64)
        .set_column_metadata(vec![chunk])
        .build()
        .ok()?;
    let about = ParquetMetaData::new(FileMetaData::new(1, rows, None, None, schema, None), vec![group]);
    let mut file = [b"PAR1", pages].concat();
    ParquetMetaDataWriter::new(&mut file, &about).finish().ok()?;
    Some(file)
}

/// Scores of any bits in a part of a store, and where the file has them.
pub fn store_part(data: &[u8]) {
    let Some((&[how, width], cells)) = data.split_first_chunk() else { return };
    let width = usize::from(width) % 70 + 1;
    let doubles: Vec<f64> = if how & 4 == 0 {
        cells.chunks_exact(8).map(|x| f64::from_le_bytes(x.try_into().expect("8 bytes"))).collect()
    } else {
        cells.iter().map(|&x| if x < 200 { f64::from(x & 1) } else { f64::from(x) / 3.0 }).collect()
    };
    let n = doubles.len() / width * width;
    let singles: Vec<f32> = doubles.iter().map(|&x| x as f32).collect();
    let flags: Vec<bool> = doubles.iter().map(|&x| x > 0.5).collect();
    let there: Vec<bool> = doubles.iter().map(|x| x.to_bits() % 5 != 0).collect();
    let values = match how & 3 {
        0 => Cells::F32(&singles[..n]),
        1 => Cells::Bool(&flags[..n]),
        _ => Cells::F64(&doubles[..n]),
    };
    let dtype = [Dtype::Auto, Dtype::Float32, Dtype::Float64, Dtype::Auto][usize::from(how >> 4 & 3)];
    let there = (how & 8 != 0).then_some(&there[..n]);
    let checkpoints: Vec<u32> = (0..(n / width) as u32).collect();
    with_file(&[], |path| {
        let column = Column { name: "acc", values, there, dtype };
        let name = path.display().to_string();
        let Ok(written) = write_part(&name, &checkpoints, width, &[column], &Interrupt::new()) else { return };
        let bytes = std::fs::read(path).expect("it was just written");
        assert_eq!(written.bytes, bytes.len() as u64);
        let found = written.columns[0];
        let size = match found.kind {
            Kind::Bit => n.div_ceil(8),
            Kind::Float32 => 4 * n,
            Kind::Float64 => 8 * n,
        };
        assert!(found.values.length as usize == size && written.checkpoints.length as usize == 4 * checkpoints.len());
        assert!(found.values.offset + found.values.length <= written.bytes);
        if there.is_none() && found.kind == Kind::Float64 && how & 3 > 1 {
            let expected: Vec<u8> = doubles[..n].iter().flat_map(|x| x.to_le_bytes()).collect();
            let start = found.values.offset as usize;
            assert!(bytes[start..start + size] == expected);
        }
    });
}

/// Programs of laws: steps, then numbers for columns, parameters, bounds.
pub fn laws(data: &[u8]) {
    let Some((&[n_steps, n_parameters, n_columns, how], rest)) = data.split_first_chunk() else { return };
    let (p, n_columns) = (usize::from(n_parameters & 7), usize::from(n_columns & 3));
    let (steps, numbers) = rest.split_at(rest.len().min(3 * usize::from(n_steps)));
    let steps: Vec<[u8; 3]> = steps.as_chunks().0.to_vec();
    let mut numbers = numbers.as_chunks().0.iter().map(|&x| f64::from_le_bytes(x)).cycle();
    let mut take = |n: usize| -> Vec<f64> { (0..n).map(|_| numbers.next().unwrap_or(1.5)).collect() };
    let kinds = [0, 1, 2, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24];
    let ops: Vec<u8> =
        steps.iter().map(|step| kinds.get(usize::from(step[0]) % 16).copied().unwrap_or(step[0])).collect();
    let left: Vec<u32> = steps.iter().map(|step| u32::from(step[1])).collect();
    let right: Vec<u32> = steps.iter().map(|step| u32::from(step[2])).collect();
    let Ok(program) = Program::new(&ops, &left, &right, &take(ops.len()), p, n_columns) else { return };
    let (points, interrupt) = (7, Interrupt::new());
    let (columns, starts) = (take(n_columns * points), take(2 * p));
    let values = law_values(&program, &columns, points, &starts, &interrupt).expect("lengths agree");
    assert_eq!(values.len(), if p == 0 { 0 } else { 2 * points });
    let slopes = law_derivatives(&program, &columns, points, &starts, &interrupt).expect("lengths agree");
    assert_eq!(slopes.len(), 2 * points * p);
    let loss = ["huber", "absolute", "square", "huber"][usize::from(how & 3)];
    let task = Task {
        program: &program,
        columns: &columns,
        observed: &take(points),
        weights: &take(points),
        offsets: &[0, points],
        starts: &starts,
        start_offsets: &[0, if p == 0 { 0 } else { 2 }],
        lower: &take(p),
        upper: &take(p),
        linear: &vec![how & 4 != 0; p],
        measure: Measure {
            loss: Loss::new(loss, 1e-3).expect("a known one"),
            log: how & 8 != 0,
            overestimate_penalty: 1.0,
        },
        max_steps: usize::from(how >> 4),
        polish: how & 4 != 0,
    };
    if let Ok(found) = fit_laws(task, &interrupt) {
        assert_eq!(found.parameters.len(), p);
    }
}

/// What a target does with bytes.
pub type Entry = fn(&[u8]);

/// By name.
pub const ENTRIES: [(&str, Entry); 9] = [
    ("json_lines", json_lines),
    ("text", text),
    ("archive", archive),
    ("parquet_footers", parquet_footers),
    ("parquet_aggregate", parquet_aggregate),
    ("parquet_dense", parquet_dense),
    ("parquet_pages", parquet_pages),
    ("store_part", store_part),
    ("laws", laws),
];
